//! Keys and service accounts: made, rotated, ended; what is refused; and that a stranger sees nothing.

use std::time::Duration;

use rowhouse_control::keys;
use rowhouse_domain::id::{OPERATOR_TENANT, TenantId};
use rowhouse_domain::keys::KeyText;
use serde_json::{Value, json};

use crate::house::{House, outcome};

const HOUR_US: i64 = 3_600_000_000;

fn owner(account: &str) -> Value {
    json!({ "kind": "service_account", "id": account })
}

fn key_of(account: &str, role: &str) -> Value {
    json!({ "name": "k", "owner": owner(account), "roles": [role] })
}

/// What the control API answers to the key: `200 -`, or its refusal.
async fn try_key(house: &House, key: &str) -> String {
    let (status, answer) = house.platform.call(key, "GET", "/v1/tiers", None).await;
    outcome(status, &answer)
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_start_makes_the_operator_and_later_ones_nothing() {
    let house = House::start().await;
    assert_eq!(try_key(&house, &house.root).await, "200 -");
    assert_eq!(keys::bootstrap_operator(&house.platform.control).await.expect("it looks"), None);
    let made = [
        "tenancy.tenant_changed",
        "keys.service_account_created",
        "access.role_assigned",
        "keys.key_created",
    ];
    assert!(house.events(OPERATOR_TENANT).await.ends_with(&made.map(str::to_owned)));
    let another = keys::recover_operator(&house.platform.control).await.expect("another key");
    house.settled().await;
    assert_eq!(try_key(&house, &another).await, "200 -");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_shown_once_and_only_its_digest_is_kept() {
    let house = House::start().await;
    let acme = house.tenant("acme", "basic").await;
    let account = house.account("acme", "builds").await;
    let grant = json!({ "principal": owner(&account), "role": "admin" });
    house.created(&house.root, "/v1/grants?tenant=acme", grant).await;
    let body = key_of(&account, "admin");
    let (status, made) = house.repeatable(&house.root, "/v1/keys?tenant=acme", &body, "k-1").await;
    assert_eq!(status, 201, "{made}");
    let secret = text(&made["key"]).to_owned();
    assert_eq!(KeyText::parse(&secret).expect("the format").region, "eu1");
    assert!(secret.starts_with(text(&made["hint"]).trim_end_matches('…')), "{made}");
    assert_eq!((text(&made["state"]), text(&made["expires_at"])), ("active", "2027-11-21T10:00:00Z"));
    house.settled().await;
    assert_eq!(try_key(&house, &secret).await, "200 -");

    let (status, again) = house.repeatable(&house.root, "/v1/keys?tenant=acme", &body, "k-1").await;
    assert_eq!((status, &again["id"], &again["key"]), (201, &made["id"], &Value::Null));
    let other = key_of(&account, "viewer");
    let (status, answer) = house.repeatable(&house.root, "/v1/keys?tenant=acme", &other, "k-1").await;
    assert_eq!(outcome(status, &answer), "422 api.idempotency_mismatch");
    assert_eq!(house.events(acme).await.last().map(String::as_str), Some("keys.key_created"));

    let shown = house.platform.get(&house.root, &format!("/v1/keys/{}", text(&made["id"]))).await;
    assert_eq!(shown["key"], Value::Null);
    let tables = "SELECT string_agg(format('%I.%I', table_schema, table_name), ' ') FROM information_schema.tables \
                  WHERE table_schema NOT IN ('pg_catalog', 'information_schema') AND table_type = 'BASE TABLE'";
    let hidden = &secret[secret.len() - 38..];
    for table in house.platform.ask(tables).await.split(' ') {
        let found = format!("SELECT count(*) FROM {table} t WHERE t::text LIKE '%{hidden}%'");
        assert_eq!(house.platform.ask(&found).await, "0", "{table} holds the text of a key");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_keys_are_refused_each_with_its_reason() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    house.tenant("bolt", "basic").await;
    let member = house.member("acme", "developer").await;
    let stranger = house.account("bolt", "theirs").await;
    let rows = [
        (json!({ "name": "" }), "422 keys.invalid_field /name"),
        (json!({ "name": "x".repeat(101), "tags": [""] }), "422 keys.invalid_field /name,/tags"),
        (json!({ "metadata": [] }), "422 keys.invalid_field /metadata"),
        (json!({ "owner": { "kind": "user", "id": member.account } }), "422 api.invalid /owner/id"),
        (json!({ "owner": { "kind": "group", "id": "x" } }), "422 api.invalid /owner/kind"),
        (json!({ "owner": owner(&stranger) }), "404 api.not_found"),
        (json!({ "environment": "prod" }), "422 api.invalid /environment"),
        (json!({ "roles": ["emperor"] }), "422 access.unknown_role"),
        (json!({ "permissions": ["metadata_stamp:fly"] }), "422 access.unknown_permission"),
        (json!({ "roles": ["admin"] }), "403 access.escalation"),
        (json!({ "expires_at": "2026-11-21T10:00:00Z" }), "422 keys.bad_expiry /expires_at"),
        (json!({ "expires_at": "2027-11-21T10:00:01Z" }), "422 keys.bad_expiry /expires_at"),
        (json!({ "not_before": "2028-01-01T00:00:00Z" }), "422 keys.bad_expiry /expires_at"),
        (json!({ "colour": "red" }), "422 api.invalid /colour"),
    ];
    for (fields, expected) in rows {
        let mut body = key_of(&member.account, "developer");
        let fields = fields.as_object().expect("an object").clone();
        body.as_object_mut().expect("an object").extend(fields.clone());
        let told = house.refused(&house.root, "/v1/keys?tenant=acme", body).await;
        assert_eq!(told, expected, "{fields:?}");
    }
    let body = key_of(&member.account, "developer");
    assert_eq!(house.refused(&house.root, "/v1/keys", body.clone()).await, "422 api.tenant_required");
    assert_eq!(house.refused(&house.root, "/v1/keys?tenant=nobody", body.clone()).await, "404 api.not_found");
    assert_eq!(house.refused("rh_live_eu1_x", "/v1/keys", body).await, "401 keys.invalid");
    let taken = json!({ "name": "developer-acme" });
    assert_eq!(
        house.refused(&house.root, "/v1/service_accounts?tenant=acme", taken).await,
        "409 keys.name_taken"
    );
    let blank = json!({ "name": " " });
    assert_eq!(
        house.refused(&house.root, "/v1/service_accounts?tenant=acme", blank).await,
        "422 keys.invalid_field /name"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_makes_no_key_that_reaches_further_than_itself() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    let member = house.member("acme", "admin").await;
    let with = |fields: Value| {
        let mut body = key_of(&member.account, "admin");
        body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        body
    };
    let only = |services: &[&str]| with(json!({ "services": services }));
    let elsewhere = house.created(&member.key, "/v1/keys", only(&["stamping"])).await;
    let here = house.created(&member.key, "/v1/keys", only(&["rowhouse", "stamping"])).await;
    house.settled().await;
    assert_eq!(try_key(&house, text(&elsewhere["key"])).await, "403 keys.wrong_service");
    let here = text(&here["key"]);
    assert_eq!(try_key(&house, here).await, "200 -");
    for (body, expected) in [
        (with(json!({})), "403 access.escalation"),
        (only(&["rowhouse", "echo"]), "403 access.escalation"),
        (with(json!({ "services": ["rowhouse"], "environment": "test" })), "403 access.denied"),
    ] {
        assert_eq!(house.refused(here, "/v1/keys", body.clone()).await, expected, "{body}");
    }
    house.created(here, "/v1/keys", only(&["stamping"])).await;
    let rotate = format!("/v1/keys/{}/rotate", member.id);
    assert_eq!(house.refused(here, &rotate, json!({})).await, "403 access.escalation");
    // What a test key does is not billed: a tenant cannot make itself one.
    let test = with(json!({ "environment": "test" }));
    assert_eq!(house.refused(&member.key, "/v1/keys", test.clone()).await, "403 access.denied");
    house.created(&house.root, "/v1/keys?tenant=acme", test).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_database_cannot_hold_is_the_callers_fault() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    let member = house.member("acme", "admin").await;
    for fields in [
        json!({ "name": "a\u{0}b" }),
        json!({ "tags": ["\u{0}"] }),
        json!({ "metadata": { "\u{0}": 1 } }),
        json!({ "not_before": "-009999-01-02T01:59:59Z" }),
    ] {
        let mut body = key_of(&member.account, "admin");
        body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        assert_eq!(house.refused(&member.key, "/v1/keys", body).await, "422 api.invalid", "{fields}");
    }
    let (status, answer) = house.platform.call(&member.key, "GET", "/v1/roles/%00", None).await;
    assert_eq!(outcome(status, &answer), "422 api.invalid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tier_without_api_access_has_no_keys() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    let member = house.member("acme", "admin").await;
    let mut basic = house.platform.get(&house.root, "/v1/catalog/export").await["tiers"].clone();
    basic.as_array_mut().expect("tiers").retain(|tier| tier["name"] == "basic");
    basic[0]["features"] = json!(["core"]);
    let catalogue = json!({ "name": "rowhouse", "tiers": basic });
    let plan = house.posted(&house.root, "/v1/catalog/plan", catalogue.clone()).await;
    let body = json!({ "plan": plan["digest"], "catalog": catalogue });
    house.posted(&house.root, "/v1/catalog/apply", body).await;
    let key = key_of(&member.account, "admin");
    assert_eq!(house.refused(&house.root, "/v1/keys?tenant=acme", key).await, "403 keys.not_in_tier");
    house.settled().await;
    let asked = json!({ "key": member.key });
    let verdict = house.posted(&house.root, "/v1/keys/verify", asked).await;
    assert_eq!((&verdict["valid"], &verdict["code"]), (&json!(false), &json!("not_in_tier")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_key_goes_on_until_its_grace_ends_and_has_one_successor() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    let member = house.member("acme", "admin").await;
    let path = format!("/v1/keys/{}/rotate", member.id);
    let grace = json!({ "grace_seconds": 3600 });
    let (first, second) = tokio::join!(
        house.platform.call(&house.root, "POST", &path, Some(grace.clone())),
        house.platform.call(&house.root, "POST", &path, Some(grace.clone())),
    );
    let mut both = [&first, &second];
    both.sort_by_key(|answer| answer.0);
    assert_eq!(outcome(both[1].0, &both[1].1), "409 keys.wrong_state", "one rotation at a time");
    let (status, rotated) = both[0];
    assert_eq!(*status, 201, "{rotated}");
    assert_eq!(
        (text(&rotated["replaces"]), text(&rotated["family"])),
        (member.id.as_str(), member.id.as_str())
    );
    assert_eq!(text(&rotated["grace_until"]), "2026-11-21T11:00:00Z");
    let old = house.platform.get(&house.root, &format!("/v1/keys/{}", member.id)).await;
    assert_eq!((text(&old["state"]), &old["replaced_by"]), ("grace", &rotated["id"]));

    house.settled().await;
    let new = text(&rotated["key"]);
    assert_eq!(
        (try_key(&house, &member.key).await, try_key(&house, new).await),
        ("200 -".into(), "200 -".into())
    );
    house.platform.hand.advance_us(HOUR_US - 1);
    assert_eq!(try_key(&house, &member.key).await, "200 -");
    house.platform.hand.advance_us(1);
    assert_eq!(try_key(&house, &member.key).await, "401 keys.expired", "to the microsecond, without any job");
    assert_eq!(try_key(&house, new).await, "200 -");

    assert_eq!(house.refused(&house.root, &path, json!({})).await, "409 keys.wrong_state");
    let path = format!("/v1/keys/{}/rotate", text(&rotated["id"]));
    let long = json!({ "grace_seconds": 7_776_001 });
    assert_eq!(house.refused(&house.root, &path, long).await, "422 keys.invalid_field /grace_seconds");
    let at_once = house.created(&house.root, &path, json!({ "grace_seconds": 0 })).await;
    house.settled().await;
    assert_eq!(try_key(&house, new).await, "401 keys.expired");
    assert_eq!(try_key(&house, text(&at_once["key"])).await, "200 -");
    assert_eq!(at_once["family"], rotated["family"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_is_in_force_at_once_and_for_ever() {
    let house = House::start().await;
    let acme = house.tenant("acme", "basic").await;
    let member = house.member("acme", "admin").await;
    let path = |what: &str| format!("/v1/keys/{}/{what}", member.id);
    house.posted(&house.root, &path("disable"), json!({})).await;
    house.settled().await;
    assert_eq!(try_key(&house, &member.key).await, "401 keys.disabled");
    house.posted(&house.root, &path("enable"), json!({})).await;
    house.settled().await;
    assert_eq!(try_key(&house, &member.key).await, "200 -");

    assert_eq!(house.refused(&house.root, &path("revoke"), json!({})).await, "422 api.invalid");
    assert_eq!(
        house.refused(&house.root, &path("revoke"), json!({ "reason": " " })).await,
        "422 keys.invalid_field /reason"
    );
    let revoked = house.posted(&house.root, &path("revoke"), json!({ "reason": "lost" })).await;
    let waited = house.settled().await;
    assert!(waited < Duration::from_secs(1), "in force after {waited:?}");
    assert_eq!(try_key(&house, &member.key).await, "401 keys.revoked");
    assert_eq!((text(&revoked["state"]), text(&revoked["revoked_reason"])), ("revoked", "lost"));

    let again = house.posted(&house.root, &path("revoke"), json!({ "reason": "again" })).await;
    assert_eq!(
        (text(&again["revoked_reason"]), &again["version"]),
        ("lost", &revoked["version"]),
        "twice is once"
    );
    let told = house.events(acme).await;
    assert_eq!(told.iter().filter(|name| *name == "keys.key_revoked").count(), 1);
    for what in ["enable", "disable", "rotate"] {
        assert_eq!(
            house.refused(&house.root, &path(what), json!({})).await,
            "409 keys.wrong_state",
            "{what}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_makes_a_key_that_can_do_more_than_himself() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    let admin = house.member("acme", "admin").await;
    let developer = house.member("acme", "developer").await;
    // The developer may make keys, but not one that acts with the administrator's rights.
    let stolen = key_of(&admin.account, "admin");
    assert_eq!(house.refused(&developer.key, "/v1/keys", stolen).await, "403 access.escalation");
    let wildcard = json!({ "name": "k", "owner": owner(&admin.account), "permissions": ["*:*"] });
    assert_eq!(house.refused(&developer.key, "/v1/keys", wildcard).await, "403 access.escalation");
    let rotate = format!("/v1/keys/{}/rotate", admin.id);
    assert_eq!(house.refused(&developer.key, &rotate, json!({})).await, "403 access.escalation");
    house.created(&developer.key, "/v1/keys", key_of(&developer.account, "developer")).await;
    // What the owner lacks, its key cannot have, whoever makes it.
    let beyond = key_of(&developer.account, "admin");
    assert_eq!(house.refused(&admin.key, "/v1/keys", beyond).await, "403 access.escalation");
    // And what is taken from the owner is taken from its keys.
    let grant = format!("/v1/grants/{}", developer.grant);
    let (status, answer) = house.platform.call(&house.root, "DELETE", &grant, None).await;
    assert_eq!(status, 204, "{answer}");
    house.settled().await;
    let key = key_of(&developer.account, "developer");
    assert_eq!(house.refused(&developer.key, "/v1/keys", key).await, "403 access.denied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_sees_and_touches_nothing() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    house.tenant("bolt", "basic").await;
    let acme = house.member("acme", "admin").await;
    let bolt = house.member("bolt", "admin").await;
    // With all that a key can hold, the names included that a pattern does not give.
    let mut named = key_of(&bolt.account, "admin");
    named["permissions"] = json!(["api_key:update", "grant:create", "grant:delete"]);
    let named = house.created(&house.root, "/v1/keys?tenant=bolt", named).await;
    let named = text(&named["key"]).to_owned();
    house.settled().await;
    let theirs = [
        ("GET", format!("/v1/keys/{}", acme.id), None),
        ("GET", format!("/v1/service_accounts/{}", acme.account), None),
        ("GET", format!("/v1/grants/{}", acme.grant), None),
        ("DELETE", format!("/v1/grants/{}", acme.grant), None),
        ("POST", format!("/v1/keys/{}/revoke", acme.id), Some(json!({ "reason": "mine now" }))),
        ("POST", format!("/v1/keys/{}/disable", acme.id), Some(json!({}))),
        ("POST", format!("/v1/keys/{}/rotate", acme.id), Some(json!({}))),
        ("GET", "/v1/keys?tenant=acme".to_owned(), None),
        ("GET", "/v1/grants?tenant=acme".to_owned(), None),
        ("POST", "/v1/keys?tenant=acme".to_owned(), Some(key_of(&acme.account, "admin"))),
        ("POST", "/v1/keys".to_owned(), Some(key_of(&acme.account, "admin"))),
        (
            "POST",
            "/v1/grants".to_owned(),
            Some(json!({ "principal": owner(&acme.account), "role": "viewer" })),
        ),
    ];
    for (method, path, body) in theirs {
        let (status, answer) = house.platform.call(&named, method, &path, body).await;
        assert_eq!(outcome(status, &answer), "404 api.not_found", "{method} {path}");
    }
    for list in ["/v1/keys", "/v1/grants", "/v1/service_accounts"] {
        let items = house.platform.get(&bolt.key, list).await["items"].clone();
        let mut tenants: Vec<&Value> =
            items.as_array().expect("items").iter().map(|item| &item["tenant"]).collect();
        tenants.dedup();
        assert_eq!(tenants.len(), 1, "{list}");
        let own: TenantId = text(tenants[0]).parse().expect("an id");
        assert_eq!(
            house.platform.control.directory.current().tenants.get(&own).expect("known").code.as_ref(),
            "bolt"
        );
    }
    let (_, wrong_kind) =
        house.platform.call(&bolt.key, "GET", &format!("/v1/keys/{}", bolt.account), None).await;
    assert_eq!(outcome(422, &wrong_kind), "422 api.wrong_kind");
    assert_eq!(try_key(&house, &acme.key).await, "200 -", "nothing was touched");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_paged_and_a_cursor_is_worth_nothing_elsewhere() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    let member = house.member("acme", "admin").await;
    for _ in 0..4 {
        house.created(&member.key, "/v1/keys", key_of(&member.account, "admin")).await;
        house.platform.hand.advance_us(1_000);
    }
    let (mut seen, mut path) = (Vec::new(), "/v1/keys?limit=2".to_owned());
    let mut cursors = Vec::new();
    loop {
        let page = house.platform.get(&member.key, &path).await;
        seen.extend(page["items"].as_array().expect("items").iter().map(|key| text(&key["id"]).to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        cursors.push(cursor.to_owned());
        path = format!("/v1/keys?limit=2&cursor={cursor}");
    }
    assert_eq!((seen.len(), cursors.len()), (5, 2));
    assert!(seen.is_sorted(), "{seen:?}");
    let elsewhere = format!("/v1/keys?cursor={}", cursors[0]);
    let (status, answer) = house.platform.call(&house.root, "GET", &elsewhere, None).await;
    assert_eq!(outcome(status, &answer), "422 api.cursor_invalid");
    let (status, answer) = house.platform.call(&member.key, "GET", "/v1/keys?limit=201", None).await;
    assert_eq!(outcome(status, &answer), "422 api.invalid /limit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_can_ask_about_a_key_it_has_met() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    house.tenant("bolt", "basic").await;
    let acme = house.member("acme", "admin").await;
    let viewer = house.member("acme", "viewer").await;
    let bolt = house.member("bolt", "admin").await;
    let ask = async |asker: &str, key: &str, permission: Option<&str>| {
        let answer =
            house.posted(asker, "/v1/keys/verify", json!({ "key": key, "permission": permission })).await;
        assert_eq!(answer["valid"].as_bool(), Some(answer["code"] == "valid"));
        answer
    };
    let code = async |asker: &str, key: &str, permission| {
        text(&ask(asker, key, permission).await["code"]).to_owned()
    };
    let good = ask(&house.root, &viewer.key, Some("metadata_stamp:read")).await;
    assert_eq!((text(&good["code"]), text(&good["tenant"]["code"])), ("valid", "acme"));
    assert_eq!(text(&good["principal"]["id"]), viewer.account);
    assert_eq!(code(&acme.key, &viewer.key, Some("metadata_stamp:create")).await, "insufficient_permissions");
    assert_eq!(code(&acme.key, &viewer.key, Some("no:such")).await, "insufficient_permissions");
    let mut altered = viewer.key.clone().into_bytes();
    altered[30] = if altered[30] == b'a' { b'b' } else { b'a' };
    let altered = String::from_utf8(altered).expect("ASCII");
    let unknown = ask(&house.root, &altered, None).await;
    assert_eq!(unknown, json!({ "valid": false, "code": "not_found" }));
    assert_eq!(ask(&bolt.key, &viewer.key, None).await, unknown, "another tenant's key is not there");
    house.posted(&house.root, &format!("/v1/keys/{}/revoke", viewer.id), json!({ "reason": "test" })).await;
    house.settled().await;
    assert_eq!(code(&house.root, &viewer.key, None).await, "revoked");
    let (status, answer) =
        house.platform.call(&viewer.key, "POST", "/v1/keys/verify", Some(json!({ "key": "x" }))).await;
    assert_eq!(outcome(status, &answer), "401 keys.revoked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotation_makes_no_more_keys_than_twice_the_bound() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    let member = house.member("acme", "admin").await;
    let mut id = member.id.clone();
    for _ in 1..100 {
        let rotated = house.created(&house.root, &format!("/v1/keys/{id}/rotate"), json!({})).await;
        id = text(&rotated["id"]).to_owned();
    }
    let path = format!("/v1/keys/{id}/rotate");
    assert_eq!(house.refused(&house.root, &path, json!({})).await, "422 keys.too_many");
    house.platform.hand.advance_us(24 * HOUR_US);
    house.created(&house.root, &path, json!({})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_a_suspended_tenant_only_read() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    let member = house.member("acme", "admin").await;
    let blocked = json!({ "mode": "blocked", "reason": "a leak", "cause": "security" });
    let suspended = house.posted(&house.root, "/v1/tenants/acme/suspend", blocked).await;
    assert_eq!(suspended["status"], "suspended");
    house.settled().await;
    assert_eq!(try_key(&house, &member.key).await, "200 -", "they see what they owe");
    let another = key_of(&member.account, "admin");
    assert_eq!(house.refused(&member.key, "/v1/keys", another.clone()).await, "403 tenancy.suspended");
    house.created(&house.root, "/v1/keys?tenant=acme", another).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_has_a_thousand_service_accounts_and_no_more() {
    let house = House::start().await;
    let acme = house.tenant("acme", "basic").await;
    house.tenant("bolt", "basic").await;
    let fill = format!(
        "INSERT INTO keys.service_accounts (service_account_id, tenant_id, name, description, disabled, created_by, \
         created_at) SELECT gen_random_uuid(), '{}', 'n' || n, '', false, 'test', now() FROM generate_series(1, 998) n",
        acme.0
    );
    house.platform.execute(&fill).await;
    let made = futures_util::future::join_all((0..6).map(async |number| {
        let body = json!({ "name": format!("at once {number}") });
        let path = "/v1/service_accounts?tenant=acme";
        let (status, answer) = house.platform.call(&house.root, "POST", path, Some(body)).await;
        outcome(status, &answer)
    }));
    let mut made = made.await;
    made.sort();
    assert_eq!(made[..2], ["201 -", "201 -"]);
    assert!(made[2..].iter().all(|outcome| outcome == "422 keys.too_many_accounts"), "{made:?}");
    house.account("bolt", "its own").await;
}
