//! Feature flags: where a value comes from, who may change it, and that it ends by itself. And who may ask how requests
//! are resolved.

use jiff::Timestamp;
use rowhouse_control::catalog;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::house::{House, outcome};
use crate::platform::{PATIENCE, START_US};

async fn put(house: &House, key: &str, flag: &str, body: Value) -> (u16, Value) {
    house.platform.call(key, "PUT", &format!("/v1/features/{flag}"), Some(body)).await
}

/// Whether the directory has a flag on for a tenant.
fn is_on(house: &House, code: &str, flag: &str) -> bool {
    let directory = house.platform.control.directory.current();
    let tenant = directory.tenant_by_code(code).expect("a known tenant");
    tenant.features.iter().any(|name| &**name == flag)
}

fn at(seconds: i64) -> String {
    Timestamp::from_microsecond(START_US + seconds * 1_000_000).expect("a time").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_override_holds_over_the_tier_and_ends_by_itself() {
    let house = House::start().await;
    let tenant = house.tenant("acme", "basic").await;
    let root = house.root.as_str();
    assert!(is_on(&house, "acme", "api_access") && !is_on(&house, "acme", "advanced_analytics"));
    let trial = json!({ "value": true, "reason": "trial", "until": at(60) });
    let (status, feature) = put(&house, root, "advanced_analytics?tenant=acme", trial.clone()).await;
    assert_eq!(
        (status, &feature["value"], &feature["because"]),
        (200, &json!(true), &json!("override")),
        "{feature}"
    );
    assert_eq!((&feature["beyond_tier"], &feature["override"]["reason"]), (&json!(true), &json!("trial")));
    house.settled().await;
    assert!(is_on(&house, "acme", "advanced_analytics"), "in the directory, and so in the signed context");
    let (_, again) = put(&house, root, "advanced_analytics?tenant=acme", trial).await;
    assert_eq!(again["override"]["set_at"], feature["override"]["set_at"], "twice is once");
    let tenant_view = house.platform.get(root, "/v1/tenants/acme").await;
    let context = house.platform.get(root, "/v1/tenants/acme/context").await;
    for seen in [&tenant_view, &context] {
        assert_eq!(
            (&seen["features"]["advanced_analytics"], &seen["features"]["sla"]),
            (&json!(true), &json!(false))
        );
    }
    let explain = "/v1/features/advanced_analytics/explain?tenant=acme";
    let explained = house.platform.get(root, explain).await;
    let expected = json!({ "flag": "advanced_analytics", "value": true, "because": "override", "candidates": [
        { "source": "override", "value": true }, { "source": "rollout", "value": null },
        { "source": "tier", "value": null }, { "source": "default", "value": false }] });
    assert_eq!(explained, expected);

    let before = house.platform.control.directory.version();
    house.platform.hand.advance_us(60_000_000);
    let over = async {
        while is_on(&house, "acme", "advanced_analytics") {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, over).await.expect("it ends by itself");
    assert!(house.platform.control.directory.version() > before);
    let explained = house.platform.get(root, explain).await;
    assert_eq!((&explained["value"], &explained["because"]), (&json!(false), &json!("default")));
    let events = house.events(tenant).await;
    assert_eq!(events.iter().filter(|name| *name == "tenancy.feature_changed").count(), 1, "{events:?}");
    // A later notice is a later version still.
    put(&house, root, "sla?tenant=acme", json!({ "value": true, "reason": "contract" })).await;
    house.settled().await;
    assert!(is_on(&house, "acme", "sla"));
    let gone = house.platform.call(root, "DELETE", "/v1/features/sla?tenant=acme", None).await;
    assert_eq!(gone.0, 204);
    house.settled().await;
    assert!(!is_on(&house, "acme", "sla"));
    let (status, answer) = house.platform.call(root, "DELETE", "/v1/features/sla?tenant=acme", None).await;
    assert_eq!(outcome(status, &answer), "404 api.not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_turns_off_what_its_tier_gives_and_nothing_else() {
    let house = House::start().await;
    house.tenant("acme", "professional").await;
    house.tenant("bolt", "basic").await;
    let admin = house.member("acme", "admin").await.key;
    let viewer = house.member("acme", "viewer").await.key;
    let stranger = house.member("bolt", "admin").await.key;
    let set = |value: bool| json!({ "value": value, "reason": "ours" });
    assert_eq!(put(&house, &admin, "custom_branding", set(false)).await.0, 200);
    house.settled().await;
    assert!(!is_on(&house, "acme", "custom_branding"));
    for (flag, value) in [("custom_branding", true), ("sla", true), ("sla", false)] {
        let (status, answer) = put(&house, &admin, flag, set(value)).await;
        assert_eq!(outcome(status, &answer), "403 access.denied", "{flag} {value}");
    }
    assert_eq!(
        house.platform.call(&admin, "DELETE", "/v1/features/custom_branding", None).await.0,
        204,
        "its own"
    );
    assert_eq!(put(&house, &house.root, "custom_branding?tenant=acme", set(false)).await.0, 200);
    let (status, answer) = house.platform.call(&admin, "DELETE", "/v1/features/custom_branding", None).await;
    assert_eq!(outcome(status, &answer), "403 access.denied", "the operator's");
    let (status, answer) = put(&house, &admin, "custom_branding", set(false)).await;
    assert_eq!(outcome(status, &answer), "403 access.denied");
    for (method, path) in [
        ("GET", "/v1/features"),
        ("GET", "/v1/features/sla/explain"),
        ("PUT", "/v1/features/sla"),
        ("DELETE", "/v1/features/sla"),
    ] {
        let body = (method == "PUT").then(|| set(false));
        let (status, answer) =
            house.platform.call(&stranger, method, &format!("{path}?tenant=acme"), body.clone()).await;
        assert_eq!(outcome(status, &answer), "404 api.not_found", "{method} {path}");
        let (status, answer) = house.platform.call(&viewer, method, path, body).await;
        assert_eq!(outcome(status, &answer), "403 access.denied", "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_overrides_are_refused() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    let refused = async |flag: &str, body: Value| {
        let (status, answer) = put(&house, &house.root, &format!("{flag}?tenant=acme"), body).await;
        outcome(status, &answer)
    };
    let invalid = "422 tenancy.configuration_invalid";
    assert_eq!(
        refused("flying", json!({ "value": true, "reason": "x" })).await,
        "422 tenancy.unknown_feature"
    );
    assert_eq!(
        refused("sla", json!({ "value": "yes", "reason": " " })).await,
        format!("{invalid} /value,/reason")
    );
    assert_eq!(
        refused("sla", json!({ "value": true, "reason": "x", "until": at(0) })).await,
        format!("{invalid} /until")
    );
    assert_eq!(refused("sla", json!({ "value": [], "reason": "x" })).await, "422 api.invalid /value");
    assert_eq!(refused("sla", json!({ "value": true })).await.split(' ').nth(1), Some("api.invalid"));
    let (status, answer) =
        house.platform.call(&house.root, "GET", "/v1/features/flying/explain?tenant=acme", None).await;
    assert_eq!(outcome(status, &answer), "422 tenancy.unknown_feature");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flags_are_declared_with_values_and_rolled_out() {
    let mut own = serde_json::to_value(catalog::shipped()).expect("JSON");
    let flags = json!([
        { "name": "beta", "type": "bool", "default": false, "rollout": { "percent": "100", "salt": "s" } },
        { "name": "page_size", "type": "integer", "default": 50 },
        { "name": "theme", "type": "string", "default": "plain", "audience": "portal" },
    ]);
    own["flags"].as_array_mut().expect("a list").extend(flags.as_array().expect("a list").clone());
    let house = House::with(&serde_json::from_value(own).expect("a catalogue")).await;
    house.tenant("acme", "basic").await;
    assert!(is_on(&house, "acme", "beta"));
    let explained = house.platform.get(&house.root, "/v1/features/beta/explain?tenant=acme").await;
    assert_eq!(explained["because"], "rollout");
    assert!(
        explained["candidates"][1]["bucket"].as_u64().is_some_and(|bucket| bucket < 10_000),
        "{explained}"
    );
    let (status, _) =
        put(&house, &house.root, "page_size?tenant=acme", json!({ "value": 200, "reason": "big screens" }))
            .await;
    assert_eq!(status, 200);
    let context = house.platform.get(&house.root, "/v1/tenants/acme/context").await;
    let features = &context["features"];
    assert_eq!(
        (&features["page_size"], &features["theme"], &features["beta"]),
        (&json!(200), &json!("plain"), &json!(true))
    );
    assert_eq!(
        house.platform.get(&house.root, "/v1/flags").await["items"].as_array().map(Vec::len),
        Some(12)
    );

    let wrong = json!({ "name": "mine", "flags": [
        { "name": "n", "type": "integer", "default": true, "rollout": { "percent": "1", "salt": "" } }],
        "tiers": [{ "name": "tiny", "rank": 1, "isolation": "shared", "features": ["n"], "connection_pool_size": 1, "weight": 1, "plan": "basic" }] });
    assert_eq!(
        house.refused(&house.root, "/v1/catalog/plan", wrong).await,
        "422 api.catalog_invalid /flags/n/default,/flags/n/rollout,/tiers/tiny/features"
    );
    let far = json!({ "name": "mine", "flags": [{ "name": "n", "type": "bool", "default": true, "rollout": { "percent": "100.5", "salt": "" } }] });
    assert_eq!(
        house.refused(&house.root, "/v1/catalog/plan", far).await,
        "422 api.invalid /flags/0/rollout/percent"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_access_can_be_given_and_taken() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    let member = house.member("acme", "admin").await;
    let off = json!({ "value": false, "reason": "misuse" });
    assert_eq!(put(&house, &house.root, "api_access?tenant=acme", off).await.0, 200);
    house.settled().await;
    let directory = house.platform.control.directory.current();
    assert!(!directory.tenant_by_code("acme").expect("known").api_access);
    let key = json!({ "name": "more", "owner": { "kind": "service_account", "id": member.account }, "roles": ["viewer"] });
    assert_eq!(house.refused(&house.root, "/v1/keys?tenant=acme", key).await, "403 keys.not_in_tier");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_operator_asks_how_requests_are_resolved() {
    let house = House::start().await;
    let id = house.tenant("acme", "basic").await;
    house.tenant("bolt", "basic").await;
    let admin = house.member("bolt", "admin").await.key;
    let question =
        json!({ "path": "/t/acme/v1/x", "headers": { "X-Tenant-Code": "acme" }, "token_tenant": "bolt" });
    let seen = house.posted(&house.root, "/v1/resolution/explain", question.clone()).await;
    assert_eq!(
        (&seen["outcome"], &seen["status"], &seen["code"]),
        (&json!("refused"), &json!(401), &json!("keys.invalid"))
    );
    let kinds: Vec<_> =
        seen["signals"].as_array().expect("signals").iter().map(|signal| signal["kind"].clone()).collect();
    assert_eq!(
        (kinds, &seen["path_after"]),
        (vec![json!("header"), json!("path"), json!("token")], &json!("/v1/x"))
    );
    assert_eq!(seen["signals"][0]["tenant"], id.to_string());
    assert_eq!(seen["directory_version"], house.platform.control.directory.version());
    assert_eq!(house.refused(&admin, "/v1/resolution/explain", question).await, "404 api.not_found");
    assert!(
        house
            .refused(&house.root, "/v1/resolution/explain", json!({ "url": "x" }))
            .await
            .starts_with("422 api.invalid")
    );
    let nobody = json!({ "token_tenant": "nobody", "client_ip": "::1" });
    assert_eq!(
        house.refused(&house.root, "/v1/resolution/explain", nobody).await,
        "422 api.invalid /token_tenant"
    );
}
