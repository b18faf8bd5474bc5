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
            "422 api.invalid /principal/id",
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
