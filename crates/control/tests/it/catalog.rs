//! The catalogue: planned, applied all or nothing, exported; and what it refuses.

use rowhouse_control::catalog::{self, CatalogFile};
use rowhouse_domain::id::OPERATOR_TENANT;
use serde_json::{Value, json};

use crate::house::{House, outcome};

/// A service with one route, as an operator would begin.
fn echo() -> Value {
    json!({
        "name": "mine",
        "services": [{ "name": "echo", "upstreams": ["127.0.0.1:9200"] }],
        "resource_types": [{ "name": "echo", "service": "echo", "actions": ["read", "create"], "role_defaults": "standard" }],
        "routes": [{ "name": "echo.read", "service": "echo", "methods": ["GET"], "path": "/v1/echo", "permission": "echo:read" }],
    })
}

async fn plan(house: &House, catalogue: &Value) -> Value {
    house.posted(&house.root, "/v1/catalog/plan", catalogue.clone()).await
}

async fn apply(house: &House, catalogue: &Value, prune: bool) -> (u16, Value) {
    let digest = plan(house, catalogue).await["plan"].clone();
    assert_eq!(digest, Value::Null, "the digest is named `digest`");
    let digest = plan(house, catalogue).await["digest"].clone();
    let body = json!({ "plan": digest, "catalog": catalogue, "prune": prune });
    house.platform.call(&house.root, "POST", "/v1/catalog/apply", Some(body)).await
}

/// `action kind name` of everything that does not stay.
fn moves(plan: &Value) -> Vec<String> {
    let items = plan["items"].as_array().expect("items");
    let word = |item: &Value, field: &str| item[field].as_str().expect("a word").to_owned();
    let moved = items.iter().filter(|item| item["action"] != "keep");
    moved.map(|item| ["action", "kind", "name"].map(|field| word(item, field)).join(" ")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_start_stores_the_shipped_catalogue_and_later_ones_nothing() {
    let house = House::start().await;
    let control = &house.platform.control;
    assert!(!catalog::prepare(control, catalog::shipped()).await.expect("it looks"), "nothing was missing");
    let tiers = house.platform.get(&house.root, "/v1/tiers").await;
    assert_eq!(tiers["items"].as_array().expect("items").len(), 4);
    let shipped = serde_json::to_value(catalog::shipped()).expect("JSON");
    assert_eq!(moves(&plan(&house, &shipped).await), Vec::<String>::new());
    // A type that only a newer binary knows is added to what is stored.
    house.platform.execute("DELETE FROM access.resource_types WHERE name = 'journal'").await;
    assert!(catalog::prepare(control, catalog::shipped()).await.expect("it applies"));
    let found = house.platform.get(&house.root, "/v1/access/resource_types/journal").await;
    assert_eq!(found["actions"], json!(["read"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_may_begin_with_a_catalogue_of_his_own() {
    let mut own = echo();
    own["meters"] = json!([{ "name": "calls", "unit": "call", "match": { "types": ["call"] } }]);
    own["plans"] = json!([{ "name": "free", "currency": "EUR" }]);
    own["tiers"] = json!([{ "name": "only", "rank": 1, "isolation": "schema", "features": ["api_access"],
                            "connection_pool_size": 5, "weight": 1, "plan": "free" }]);
    let own: CatalogFile = serde_json::from_value(own).expect("a catalogue");
    let house = House::with(&own).await;
    let roles = house.platform.get(&house.root, "/v1/roles").await;
    let names = roles["items"].as_array().expect("items").iter().map(|role| role["name"].clone());
    let names: Vec<Value> = names.collect();
    assert_eq!(names, ["platform_admin", "platform_auditor", "platform_billing", "platform_support"]);
    let services = house.platform.get(&house.root, "/v1/services").await;
    assert_eq!(services["items"].as_array().expect("items").len(), 1, "nothing of the shipped example");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalogue_is_planned_field_by_field_and_applied_with_its_events() {
    let house = House::start().await;
    let mut mine = echo();
    assert_eq!(
        moves(&plan(&house, &mine).await),
        ["create service echo", "create resource_type echo", "create route echo.read"]
    );
    let before = house.events(OPERATOR_TENANT).await.len();
    let (status, applied) = apply(&house, &mine, false).await;
    assert_eq!((status, &applied["created"], &applied["kept"]), (200, &json!(3), &json!(0)), "{applied}");
    assert_eq!(
        house.events(OPERATOR_TENANT).await[before..],
        [
            "routes.service_changed",
            "access.resource_type_changed",
            "routes.route_changed",
            "api.catalog_applied"
        ]
    );
    house.settled().await;
    let directory = house.platform.control.directory.current();
    assert!(directory.routes.routes().iter().any(|route| route.definition.name == "echo.read"));

    mine["services"][0]["upstreams"] = json!(["127.0.0.1:9200", "127.0.0.1:9201"]);
    mine["routes"] = json!([]);
    let changed = plan(&house, &mine).await;
    assert_eq!(moves(&changed), ["change service echo", "orphan route echo.read"]);
    let service = &changed["items"][0];
    assert_eq!(service["owner"], "mine");
    assert_eq!(
        service["fields"],
        json!([{ "field": "upstreams", "old": ["127.0.0.1:9200"], "new": ["127.0.0.1:9200", "127.0.0.1:9201"] }])
    );
    let (_, kept) = apply(&house, &mine, false).await;
    assert_eq!((&kept["changed"], &kept["deleted"]), (&json!(1), &json!(0)));
    assert_eq!(house.platform.get(&house.root, "/v1/services/echo").await["version"], 2);
    let (_, pruned) = apply(&house, &mine, true).await;
    assert_eq!(pruned["deleted"], 1);
    let gone = house.platform.call(&house.root, "GET", "/v1/routes/echo.read", None).await;
    assert_eq!(outcome(gone.0, &gone.1), "404 api.not_found");
    let stamps = house.platform.get(&house.root, "/v1/routes/stamps.read").await;
    assert_eq!(stamps["catalog"], "rowhouse", "another catalogue's things are left alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_exported_and_applied_changes_nothing() {
    let house = House::start().await;
    apply(&house, &echo(), false).await;
    let exported = house.platform.get(&house.root, "/v1/catalog/export").await;
    let (status, applied) = apply(&house, &exported, true).await;
    assert_eq!(status, 200, "{applied}");
    assert_eq!(
        [&applied["created"], &applied["changed"], &applied["deleted"]],
        [0, 0, 0].map(|n| json!(n)).each_ref()
    );
    assert_eq!(house.platform.get(&house.root, "/v1/catalog/export").await, exported);
    let read: CatalogFile = serde_json::from_value(exported).expect("an export is a catalogue");
    assert_eq!(read.definitions.routes.len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_error_is_told_at_once_and_nothing_is_changed() {
    let house = House::start().await;
    let wrong = json!({
        "name": "mine",
        "services": [{ "name": "Echo", "upstreams": [] , "protocol": "http9" }],
        "roles": [
            { "name": "a", "permissions": ["metadata_stamp:fly"], "inherits": ["nobody"] },
            { "name": "loop", "inherits": ["loop"] },
        ],
        "tiers": [{ "name": "tiny", "rank": 1, "isolation": "shared", "quotas": { "stamps_craeted": "many" },
                    "connection_pool_size": 0, "weight": 1, "plan": "free" }],
        "limits": [{ "name": "slow", "algorithm": "token_bucket", "quota": 0, "window_ms": 1000, "scope": "tenant" }],
        "routes": [
            { "name": "x", "service": "nothing", "path": "/x", "public": true },
            { "name": "y", "service": "stamping", "path": "/y" },
            { "name": "z", "service": "stamping", "path": "/v1/stamps", "methods": ["GET"], "permission": "metadata_stamp:read" },
        ],
        "plans": [{ "name": "p", "currency": "USD", "prices": [{ "name": "a", "meter": "no_meter", "model": "per_unit", "unit_price": "1" }] }],
    });
    let (status, answer) =
        house.platform.call(&house.root, "POST", "/v1/catalog/plan", Some(wrong.clone())).await;
    assert_eq!((status, &answer["code"]), (422, &json!("api.catalog_invalid")));
    let errors = answer["errors"].as_array().expect("errors");
    let mut told: Vec<String> = errors
        .iter()
        .map(|error| {
            format!(
                "{} {}",
                error["pointer"].as_str().expect("a text"),
                error["code"].as_str().expect("a text")
            )
        })
        .collect();
    told.sort();
    assert_eq!(
        told,
        [
            "/limits/slow/quota out_of_bounds",
            "/plans/p/prices/0/meter unknown",
            "/roles/a/inherits unknown",
            "/roles/a/permissions unknown",
            "/routes/x/service unknown",
            "/routes/y/permission missing",
            "/routes/z/path conflict",
            "/services/Echo/name malformed",
            "/services/Echo/protocol unknown",
            "/services/Echo/upstreams out_of_bounds",
            "/tiers/tiny/connection_pool_size out_of_bounds",
            "/tiers/tiny/plan unknown",
            "/tiers/tiny/quotas malformed",
            "/tiers/tiny/quotas unknown",
        ]
    );
    let meant = errors
        .iter()
        .any(|error| error["detail"].as_str().is_some_and(|words| words.contains("`stamps_created`")));
    assert!(meant, "{errors:?}");
    let body = json!({ "plan": "sha256:0", "catalog": wrong });
    assert_eq!(
        outcome_code(&house.refused(&house.root, "/v1/catalog/apply", body).await),
        "422 api.catalog_invalid"
    );
    assert_eq!(
        house.platform.ask("SELECT count(*) FROM access.roles WHERE name IN ('a', 'loop')").await,
        "0"
    );
    let circle = json!({ "name": "mine", "roles": [{ "name": "a", "inherits": ["b"] }, { "name": "b", "inherits": ["a"] }] });
    assert_eq!(
        house.refused(&house.root, "/v1/catalog/plan", circle).await,
        "422 api.catalog_invalid /roles/a/inherits"
    );
}

fn outcome_code(outcome: &str) -> String {
    outcome.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_holds_only_while_nothing_moves() {
    let house = House::start().await;
    let digest = plan(&house, &echo()).await["digest"].clone();
    let mut other = echo();
    other["name"] = json!("other");
    let later = plan(&house, &other).await["digest"].clone();
    let body = json!({ "plan": digest, "catalog": echo() });
    let (first, second) = tokio::join!(
        house.platform.call(&house.root, "POST", "/v1/catalog/apply", Some(body)),
        house.platform.call(
            &house.root,
            "POST",
            "/v1/catalog/apply",
            Some(json!({ "plan": later, "catalog": other }))
        ),
    );
    let mut outcomes = [outcome(first.0, &first.1), outcome(second.0, &second.1)];
    outcomes.sort();
    assert_eq!(outcomes, ["200 -", "409 api.plan_stale"], "one wins");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twice_is_once() {
    let house = House::start().await;
    let digest = plan(&house, &echo()).await["digest"].clone();
    let body = json!({ "plan": digest, "catalog": echo() });
    let first = house.repeatable(&house.root, "/v1/catalog/apply", &body, "once").await;
    let again = house.repeatable(&house.root, "/v1/catalog/apply", &body, "once").await;
    assert_eq!((first.0, &first.1), (200, &again.1));
    let applied =
        house.events(OPERATOR_TENANT).await.iter().filter(|name| *name == "api.catalog_applied").count();
    assert_eq!(applied, 2, "the shipped one and this one, once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_needed_cannot_be_pruned() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    let mut less = serde_json::to_value(catalog::shipped()).expect("JSON");
    let list = |value: &mut Value, field: &str, name: &str| {
        value[field].as_array_mut().expect("a list").retain(|own| own["name"] != name);
    };
    list(&mut less, "tiers", "basic");
    less["limits"] = json!([]);
    let (status, answer) = apply(&house, &less, true).await;
    assert_eq!(outcome(status, &answer), "409 tenancy.tier_in_use");
    assert_ne!(house.platform.ask("SELECT count(*) FROM limits.limits").await, "0", "all or nothing");

    let mut less = serde_json::to_value(catalog::shipped()).expect("JSON");
    list(&mut less, "resource_types", "catalog");
    let (status, answer) = apply(&house, &less, true).await;
    assert_eq!(outcome(status, &answer), "422 api.catalog_invalid /resource_types/catalog/actions");
    let narrowed = json!({ "name": "mine", "resource_types": [{ "name": "system", "service": "rowhouse", "actions": ["read"] }] });
    let (status, answer) = apply(&house, &narrowed, false).await;
    assert_eq!(outcome(status, &answer), "422 api.catalog_invalid /resource_types/system/actions");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_reads_what_concerns_it_and_changes_nothing() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    let admin = house.member("acme", "admin").await;
    let viewer = house.member("acme", "viewer").await;
    for path in ["/v1/tiers", "/v1/roles", "/v1/limits", "/v1/meters", "/v1/plans"] {
        assert!(!house.platform.get(&admin.key, path).await["items"].as_array().expect("items").is_empty());
        let (status, answer) = house.platform.call(&viewer.key, "GET", path, None).await;
        assert_eq!(outcome(status, &answer), "403 access.denied", "{path}");
    }
    for path in ["/v1/services", "/v1/routes/stamps.read", "/v1/catalog/export"] {
        let (status, answer) = house.platform.call(&admin.key, "GET", path, None).await;
        assert_eq!(outcome(status, &answer), "404 api.not_found", "{path}");
    }
    assert_eq!(house.refused(&admin.key, "/v1/catalog/plan", echo()).await, "404 api.not_found");
    let (status, answer) = house.platform.call(&house.root, "GET", "/v1/tiers?color=red", None).await;
    assert_eq!(outcome(status, &answer), "400 api.unknown_parameter");
    let (status, answer) = house.platform.call(&house.root, "GET", "/v1/tiers/none", None).await;
    assert_eq!(outcome(status, &answer), "404 api.not_found");
    let mistyped = json!({ "name": "mine", "tires": [] });
    assert!(house.refused(&house.root, "/v1/catalog/plan", mistyped).await.starts_with("422 api.invalid"));
}
