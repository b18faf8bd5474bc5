//! Grants: given, timed, denied, taken back; explained; and never beyond what the giver holds.

use rowhouse_domain::id::TenantId;
use serde_json::{Value, json};

use crate::house::{House, outcome};

const HOUR_US: i64 = 3_600_000_000;

fn principal(account: &str) -> Value {
    json!({ "kind": "service_account", "id": account })
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// `allow granted role` or `deny expired`: decision, reason, and what proves it or was near.
async fn explained(house: &House, account: &str, permission: &str) -> String {
    let asked = json!({ "principal": principal(account), "permission": permission });
    let answer = house.posted(&house.root, "/v1/access/explain?tenant=acme", asked).await;
    let proofs = answer["because"]
        .as_array()
        .expect("a list")
        .iter()
        .chain(answer["near"].as_array().expect("a list"));
    let names: Vec<&str> = proofs
        .map(|proof| proof["role"].as_str().or(proof["permission"].as_str()).expect("one of both"))
        .collect();
    format!("{} {} {}", text(&answer["decision"]), text(&answer["reason"]), names.join(","))
        .trim_end()
        .to_owned()
}

async fn grant(house: &House, body: Value) -> Value {
    let made = house.created(&house.root, "/v1/grants?tenant=acme", body).await;
    house.settled().await;
    made
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_decide_and_every_decision_is_explained() {
    let house = House::start().await;
    let acme = house.tenant("acme", "basic").await;
    let ann = house.account("acme", "ann").await;
    assert_eq!(explained(&house, &ann, "metadata_stamp:read").await, "deny no_grant");
    assert_eq!(explained(&house, &ann, "metadata_stamp:fly").await, "deny unknown_permission");

    let role =
        grant(&house, json!({ "principal": principal(&ann), "role": "developer", "reason": "INC-42" })).await;
    assert_eq!((text(&role["state"]), &role["version"]), ("active", &json!(1)));
    assert_eq!(explained(&house, &ann, "metadata_stamp:update").await, "allow granted developer");

    let deny =
        json!({ "principal": principal(&ann), "effect": "deny", "permission": "metadata_stamp:delete" });
    grant(&house, deny).await;
    assert_eq!(explained(&house, &ann, "metadata_stamp:delete").await, "deny denied metadata_stamp:delete");
    assert_eq!(explained(&house, &ann, "metadata_stamp:update").await, "allow granted developer");

    let timed = json!({
        "principal": principal(&ann), "permission": "quota:override",
        "valid_from": "2026-11-21T11:00:00Z", "valid_until": "2026-11-21T12:00:00Z",
    });
    assert_eq!(text(&grant(&house, timed).await["state"]), "pending");
    assert_eq!(explained(&house, &ann, "quota:override").await, "deny pending quota:override");
    house.platform.hand.advance_us(HOUR_US);
    assert_eq!(explained(&house, &ann, "quota:override").await, "allow granted quota:override");
    house.platform.hand.advance_us(HOUR_US);
    assert_eq!(explained(&house, &ann, "quota:override").await, "deny expired quota:override");

    let path = format!("/v1/grants/{}", text(&role["id"]));
    let (status, _) = house.platform.call(&house.root, "DELETE", &path, None).await;
    assert_eq!(status, 204);
    house.settled().await;
    assert_eq!(explained(&house, &ann, "metadata_stamp:update").await, "deny no_grant");
    let (status, again) = house.platform.call(&house.root, "DELETE", &path, None).await;
    assert_eq!(outcome(status, &again), "404 api.not_found", "twice is once");
    assert_eq!(text(&house.platform.get(&house.root, &path).await["state"]), "removed");
    assert_eq!(
        house.events(acme).await[2..],
        [
            "access.role_assigned",
            "access.permission_granted",
            "access.permission_granted",
            "access.role_revoked"
        ]
    );
    let version = format!("SELECT version FROM access.versions WHERE tenant_id = '{}'", acme.0);
    assert_eq!(house.platform.ask(&version).await, "4", "raised with each change");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_explained_by_its_own_scope_and_its_owner() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    let member = house.member("acme", "developer").await;
    let narrow =
        json!({ "name": "n", "owner": principal(&member.account), "permissions": ["metadata_stamp:read"] });
    let narrow = house.created(&house.root, "/v1/keys?tenant=acme", narrow).await;
    house.settled().await;
    let ask = async |permission: &str| {
        let key = json!({ "kind": "api_key", "id": narrow["id"] });
        let asked = json!({ "principal": key, "permission": permission });
        let answer = house.posted(&house.root, "/v1/access/explain?tenant=acme", asked).await;
        format!("{} {}", text(&answer["decision"]), text(&answer["reason"]))
    };
    assert_eq!(ask("metadata_stamp:read").await, "allow granted");
    assert_eq!(ask("metadata_stamp:update").await, "deny key_scope");
    assert_eq!(ask("tenant:update").await, "deny no_grant");
    house.platform.call(&house.root, "DELETE", &format!("/v1/grants/{}", member.grant), None).await;
    house.settled().await;
    assert_eq!(ask("metadata_stamp:read").await, "deny owner_lacks");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gives_more_than_he_holds() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    let lead = house.account("acme", "lead").await;
    let helper = house.account("acme", "helper").await;
    for permission in ["metadata_stamp:*", "grant:create"] {
        grant(&house, json!({ "principal": principal(&lead), "permission": permission })).await;
    }
    let key = json!({ "name": "k", "owner": principal(&lead), "permissions": ["metadata_stamp:*", "grant:create"] });
    let key = house.created(&house.root, "/v1/keys?tenant=acme", key).await;
    house.settled().await;
    let key = text(&key["key"]);
    let give = |what: &str, name: &str| {
        let mut body = json!({ "principal": principal(&helper) });
        body[what] = name.into();
        body
    };
    house.created(key, "/v1/grants", give("permission", "metadata_stamp:update")).await;
    house.created(key, "/v1/grants", give("permission", "metadata_stamp:*")).await;
    for (what, name) in
        [("role", "admin"), ("role", "viewer"), ("permission", "*:*"), ("permission", "*:read")]
    {
        assert_eq!(
            house.refused(key, "/v1/grants", give(what, name)).await,
            "403 access.escalation",
            "{name}"
        );
    }
    let mut deny = give("permission", "metadata_stamp:read");
    deny["effect"] = "deny".into();
    assert_eq!(
        house.refused(key, "/v1/grants", deny).await,
        "403 access.escalation",
        "denying needs grant:deny"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_grants_are_refused_each_with_its_reason() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    house.tenant("bolt", "basic").await;
    let ann = house.account("acme", "ann").await;
    let stranger = house.account("bolt", "theirs").await;
    let rows = [
        (json!({ "role": "viewer", "permission": "system:read" }), "422 api.invalid /role"),
        (json!({}), "422 api.invalid /role"),
        (json!({ "role": "emperor" }), "422 access.unknown_role"),
        (json!({ "permission": "system:fly" }), "422 access.unknown_permission"),
        (json!({ "role": "viewer", "effect": "maybe" }), "422 api.invalid /effect"),
        (json!({ "role": "viewer", "valid_until": "2026-11-21T09:00:00Z" }), "422 api.invalid /valid_until"),
        (
            json!({ "role": "viewer", "valid_from": "2027-01-02T00:00:00Z", "valid_until": "2027-01-01T00:00:00Z" }),
            "422 api.invalid /valid_until",
        ),
        (json!({ "role": "viewer", "reason": "x".repeat(501) }), "422 api.invalid /reason"),
        (json!({ "role": "viewer", "principal": principal(&stranger) }), "404 api.not_found"),
        (
            json!({ "role": "viewer", "principal": { "kind": "api_key", "id": ann } }),
            "422 api.invalid /principal/kind",
        ),
    ];
    for (fields, expected) in rows {
        let mut body = json!({ "principal": principal(&ann) });
        body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        assert_eq!(house.refused(&house.root, "/v1/grants?tenant=acme", body).await, expected, "{fields}");
    }
    let body = json!({ "principal": principal(&ann), "role": "viewer" });
    let first = house.repeatable(&house.root, "/v1/grants?tenant=acme", &body, "g-1").await;
    let again = house.repeatable(&house.root, "/v1/grants?tenant=acme", &body, "g-1").await;
    assert_eq!((first.0, &first.1["id"]), (201, &again.1["id"]));
    let of_ann = house.platform.get(&house.root, &format!("/v1/grants?tenant=acme&principal={ann}")).await;
    assert_eq!(of_ann["items"].as_array().expect("items").len(), 1);
    let all = house.platform.get(&house.root, "/v1/grants").await;
    let tenants = all["items"].as_array().expect("items").iter().map(|item| text(&item["tenant"]));
    let tenants: std::collections::BTreeSet<TenantId> =
        tenants.map(|id| id.parse().expect("an id")).collect();
    assert_eq!(tenants.len(), 2, "the operator's list spans the tenants, itself included");
}

/// A key of an administrator; that it may change roles is said by name.
async fn role_keeper(house: &House, tenant: &str) -> String {
    let member = house.member(tenant, "tenant_admin").await;
    let key = json!({ "name": "roles", "owner": principal(&member.account), "roles": ["tenant_admin"],
        "permissions": ["role:create", "role:update", "role:delete"] });
    let key = house.created(&house.root, &format!("/v1/keys?tenant={tenant}"), key).await;
    house.settled().await;
    text(&key["key"]).to_owned()
}

async fn patch(house: &House, key: &str, name: &str, body: Value) -> String {
    let (status, answer) = house.platform.call(key, "PATCH", &format!("/v1/roles/{name}"), Some(body)).await;
    house.settled().await;
    outcome(status, &answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_makes_roles_of_its_own_and_they_decide() {
    let house = House::start().await;
    let acme = house.tenant("acme", "basic").await;
    house.tenant("globex", "basic").await;
    let boss = role_keeper(&house, "acme").await;
    let other = role_keeper(&house, "globex").await;
    let ann = house.account("acme", "ann").await;

    let stamper =
        json!({ "name": "stamper", "permissions": ["metadata_stamp:create"], "inherits": ["viewer"] });
    let made = house.created(&house.root, "/v1/roles?tenant=acme", stamper.clone()).await;
    assert_eq!((text(&made["name"]), &made["version"]), ("stamper", &json!(1)));
    let again = house.refused(&house.root, "/v1/roles?tenant=acme", stamper).await;
    assert_eq!(again, "409 access.name_taken");
    house.settled().await;
    grant(&house, json!({ "principal": principal(&ann), "role": "stamper" })).await;
    assert_eq!(explained(&house, &ann, "metadata_stamp:create").await, "allow granted stamper");
    assert_eq!(explained(&house, &ann, "system:read").await, "allow granted stamper", "inherited");
    assert_eq!(explained(&house, &ann, "metadata_stamp:delete").await, "deny no_grant");

    let delete = json!({ "permissions": ["metadata_stamp:delete"] });
    assert!(patch(&house, &boss, "stamper", delete).await.starts_with("200"));
    assert_eq!(explained(&house, &ann, "metadata_stamp:delete").await, "allow granted stamper");
    assert_eq!(explained(&house, &ann, "metadata_stamp:create").await, "deny no_grant");

    // Another tenant sees nothing of it, and can have its own of the same name.
    assert_eq!(patch(&house, &other, "stamper", json!({ "title": "x" })).await, "404 api.not_found");
    let (status, _) = house.platform.call(&other, "GET", "/v1/roles/stamper", None).await;
    assert_eq!(status, 404);
    assert_eq!(house.platform.get(&boss, "/v1/roles/stamper").await["version"], 2);

    // In use it stays; unused it goes, once.
    let remove =
        async || house.platform.call(&house.root, "DELETE", "/v1/roles/stamper?tenant=acme", None).await;
    let (status, answer) = remove().await;
    assert_eq!(outcome(status, &answer), "409 access.role_in_use");
    let grants = house.platform.get(&house.root, "/v1/grants?tenant=acme").await;
    let own = grants["items"].as_array().expect("a list").iter().find(|grant| grant["role"] == "stamper");
    let own = text(&own.expect("it is granted")["id"]).to_owned();
    house.platform.call(&house.root, "DELETE", &format!("/v1/grants/{own}"), None).await;
    assert_eq!(remove().await.0, 204);
    let (status, answer) = remove().await;
    assert_eq!(outcome(status, &answer), "404 api.not_found");
    let events = house.events(acme).await;
    assert_eq!(events.iter().filter(|event| *event == "access.role_changed").count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_is_refused_that_cannot_be_or_that_gives_more_than_its_maker_holds() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    let make = async |key: &str, tenant: &str, body: Value| {
        house.refused(key, &format!("/v1/roles{tenant}"), body).await
    };
    let by_root = async |body: Value| make(&house.root, "?tenant=acme", body).await;
    assert_eq!(by_root(json!({ "name": "Bad" })).await, "422 api.invalid /name");
    assert_eq!(by_root(json!({ "name": "developer" })).await, "422 access.predefined");
    assert_eq!(
        by_root(json!({ "name": "a", "permissions": ["x:y"] })).await,
        "422 access.unknown_permission"
    );
    assert_eq!(by_root(json!({ "name": "a", "permissions": ["*:read"] })).await, "422 access.not_composable");
    assert_eq!(by_root(json!({ "name": "a", "inherits": ["nobody"] })).await, "422 access.unknown_role");
    assert_eq!(
        by_root(json!({ "name": "a", "inherits": ["platform_admin"] })).await,
        "422 access.unknown_role"
    );
    assert_eq!(by_root(json!({ "name": "a", "inherits": ["a"] })).await, "409 access.cycle");

    // Who may make roles and hold little makes roles of little.
    house
        .created(
            &house.root,
            "/v1/roles?tenant=acme",
            json!({
        "name": "maker", "permissions": ["role:create", "role:update", "metadata_stamp:read"] }),
        )
        .await;
    house.settled().await;
    let maker = house.member("acme", "viewer").await;
    grant(&house, json!({ "principal": principal(&maker.account), "role": "maker" })).await;
    let key = json!({ "name": "m", "owner": principal(&maker.account),
        "permissions": ["role:create", "role:update", "metadata_stamp:read"] });
    let key = house.created(&house.root, "/v1/keys?tenant=acme", key).await;
    house.settled().await;
    let key = text(&key["key"]);
    let more = json!({ "name": "b", "permissions": ["metadata_stamp:delete"] });
    assert_eq!(make(key, "", more).await, "403 access.escalation");
    let by_inheritance = json!({ "name": "b", "inherits": ["developer"] });
    assert_eq!(make(key, "", by_inheritance).await, "403 access.escalation");
    house.created(key, "/v1/roles", json!({ "name": "b", "permissions": ["metadata_stamp:read"] })).await;
    assert_eq!(patch(&house, key, "b", json!({ "inherits": ["admin"] })).await, "403 access.escalation");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_tried_on_a_copy_and_nothing_is_stored() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    let ann = house.account("acme", "ann").await;
    let given = grant(&house, json!({ "principal": principal(&ann), "role": "developer" })).await;
    let check = json!({ "op": "check", "principal": principal(&ann), "permission": "metadata_stamp:delete" });
    let body = json!({ "base": "current", "steps": [
        check, { "op": "delete_grant", "id": given["id"] }, check,
        { "op": "put_role", "value": { "name": "developer" } },
    ] });
    let told = house.posted(&house.root, "/v1/access/simulate?tenant=acme", body.clone()).await;
    let words: Vec<&str> =
        told["steps"].as_array().expect("a list").iter().map(|step| text(&step["result"])).collect();
    assert_eq!(words, ["allow", "ok", "deny", "refused"]);
    assert_eq!(told["steps"][3]["code"], "access.predefined");
    assert_eq!(told["diff"]["gained_count"], 0);
    let lost = told["diff"]["lost"].as_array().expect("a list");
    assert!(lost.iter().any(|one| one["permission"] == "metadata_stamp:delete"), "{lost:?}");
    assert_eq!(explained(&house, &ann, "metadata_stamp:delete").await, "allow granted developer");
    assert_eq!(
        house.posted(&house.root, "/v1/access/simulate?tenant=acme", body).await,
        told,
        "twice is the same"
    );

    let many = vec![check; 1_001];
    let many = json!({ "base": "empty", "steps": many });
    assert_eq!(
        house.refused(&house.root, "/v1/access/simulate?tenant=acme", many).await,
        "422 api.invalid /steps"
    );
    let viewer = house.member("acme", "viewer").await;
    let body = json!({ "base": "current", "steps": [] });
    assert_eq!(house.refused(&viewer.key, "/v1/access/simulate", body).await, "403 access.denied");
}
