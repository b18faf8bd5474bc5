//! Roles of a tenant's own by invitation, judged when they are given; and roles that nobody of a tenant can have.

use serde_json::{Value, json};

use crate::people::{Town, refresh, town};
use crate::sign_in::code_of;

const HOST: &str = "host@acme.example";
const ANA: &str = "ana@acme.example";

async fn role(town: &Town, name: &str, permissions: &[&str]) -> u16 {
    let role = json!({ "name": name, "permissions": permissions });
    town.post("/v1/roles?tenant=acme", role).await.0
}

async fn grant(town: &Town, id: &str, role: &str) -> (u16, Value) {
    let principal = json!({ "kind": "user", "id": id });
    town.post("/v1/grants?tenant=acme", json!({ "principal": principal, "role": role })).await
}

/// A tenant with roles of its own and somebody who invites with what he holds.
async fn house() -> (Town, Value) {
    let town = town().await;
    assert_eq!(role(&town, "clerk", &["group:read"]).await, 201);
    assert_eq!(role(&town, "signer", &["constraint:read"]).await, 201);
    assert_eq!(role(&town, "host", &["invitation:create", "invitation:read"]).await, 201);
    let host = town.member("acme", HOST, &[]).await;
    for name in ["host", "clerk"] {
        assert_eq!(grant(&town, &host, name).await.0, 201);
    }
    refresh(&town.platform).await;
    let host = town.signed_in(HOST).await;
    (town, host)
}

async fn invite(town: &Town, host: &Value, email: &str, roles: &[&str]) -> (u16, Value) {
    let body = json!({ "email": email, "roles": roles });
    town.as_person(host, "POST", "/v1/invitations", Some(body)).await
}

async fn roles_of(town: &Town, id: &Value) -> Value {
    let id = id.as_str().expect("an id");
    town.get(&format!("/v1/users/{id}?tenant=acme")).await["roles"].clone()
}

#[tokio::test]
async fn an_invitation_gives_a_role_of_the_tenants_own() {
    let (town, host) = house().await;
    let (status, made) = invite(&town, &host, ANA, &["clerk"]).await;
    assert_eq!((status, &made["roles"]), (201, &json!(["clerk"])), "{made}");
    let token = town.mailed("invitation", ANA).await;
    let (status, accepted) = town.accept(&token).await;
    assert_eq!(status, 200, "{accepted}");
    assert_eq!(roles_of(&town, &accepted["user"]).await, json!(["clerk"]));
    assert_eq!(code_of(&town.accept(&token).await), (410, "identity.link_used"), "twice is once");
    // Nobody gives what is not his; nor what there is not, as another tenant's.
    assert_eq!(
        code_of(&invite(&town, &host, "b@acme.example", &["signer"]).await),
        (403, "access.escalation")
    );
    assert_eq!(
        code_of(&invite(&town, &host, "b@acme.example", &["nobody"]).await),
        (422, "access.unknown_role")
    );
    assert_eq!(
        code_of(&town.invite("bolt", "b@bolt.example", &["clerk"]).await),
        (422, "access.unknown_role")
    );
}

#[tokio::test]
async fn what_it_gives_is_judged_when_it_is_accepted() {
    let (town, host) = house().await;
    let invited = async |email: &str, roles: &[&str]| {
        let (status, made) = invite(&town, &host, email, roles).await;
        assert_eq!(status, 201, "{made}");
        town.mailed("invitation", email).await
    };
    // The role has come to mean more than the host holds.
    assert_eq!(role(&town, "guide", &["group:read"]).await, 201);
    let token = invited(ANA, &["guide"]).await;
    let path = "/v1/roles/guide?tenant=acme";
    let more = json!({ "permissions": ["group:read", "constraint:read"] });
    let changed = town.platform.call(&town.operator, "PATCH", path, Some(more)).await;
    assert_eq!(changed.0, 200, "{}", changed.1);
    assert_eq!(code_of(&town.accept(&token).await), (403, "access.escalation"));
    // It is gone.
    assert_eq!(town.platform.call(&town.operator, "DELETE", path, None).await.0, 204);
    assert_eq!(code_of(&town.accept(&token).await), (422, "access.unknown_role"));
    // It is kept apart from another by now.
    assert_eq!(role(&town, "guard", &["group:read"]).await, 201);
    let token = invited("eva@acme.example", &["clerk", "guard"]).await;
    let apart = json!({ "name": "apart", "roles": ["clerk", "guard"], "at_most": 1 });
    assert_eq!(town.post("/v1/constraints?tenant=acme", apart).await.0, 201);
    assert_eq!(code_of(&town.accept(&token).await), (409, "access.sod_violation"));
    let none = "SELECT count(*) FROM identity.users WHERE email LIKE 'eva@%' OR email LIKE 'ana@%'";
    assert_eq!(town.platform.ask(none).await, "0", "nobody came in by what was refused");
}

#[tokio::test]
async fn nobody_of_a_tenant_has_a_role_of_the_operators_own_people() {
    let (town, host) = house().await;
    let ana = town.member("acme", ANA, &["tenant_admin"]).await;
    refresh(&town.platform).await;
    let admin = town.signed_in(ANA).await;
    let refused = (422, "access.unknown_role");
    let group = town.post("/v1/groups?tenant=acme", json!({ "name": "desk" })).await.1;
    let robot = town.post("/v1/service_accounts?tenant=acme", json!({ "name": "robot" })).await.1;
    let holders = [
        json!({ "kind": "user", "id": ana }),
        json!({ "kind": "service_account", "id": robot["id"] }),
        json!({ "kind": "group", "id": group["id"] }),
        json!({ "kind": "everyone" }),
    ];
    for role in ["platform_admin", "platform_support"] {
        for effect in ["allow", "deny"] {
            for holder in &holders {
                let grant = json!({ "principal": holder, "role": role, "effect": effect });
                assert_eq!(
                    code_of(&town.post("/v1/grants?tenant=acme", grant.clone()).await),
                    refused,
                    "{grant}"
                );
                let answer = town.as_person(&admin, "POST", "/v1/grants", Some(grant)).await;
                assert_eq!(code_of(&answer), refused);
            }
        }
        assert_eq!(code_of(&town.invite("acme", "b@acme.example", &[role]).await), refused);
        assert_eq!(code_of(&invite(&town, &host, "b@acme.example", &[role]).await), refused);
        let asked = json!({ "role": role, "minutes": 10, "reason": "to see" });
        assert_eq!(
            code_of(&town.as_person(&admin, "POST", "/v1/access/requests", Some(asked)).await),
            refused
        );
        let owner = json!({ "kind": "service_account", "id": robot["id"] });
        let key = json!({ "name": "mine", "owner": owner, "roles": [role] });
        assert_eq!(code_of(&town.post("/v1/keys?tenant=acme", key).await), refused);
        let who = json!({ "kind": "user", "id": ana });
        let steps = json!([
            { "op": "put_grant", "value": { "principal": who, "role": role } },
            { "op": "put_role", "value": { "name": "mine", "inherits": [role] } },
        ]);
        let body = json!({ "base": "current", "steps": steps });
        let (status, tried) = town.as_person(&admin, "POST", "/v1/access/simulate", Some(body)).await;
        assert_eq!(status, 200, "{tried}");
        for step in tried["steps"].as_array().expect("a list") {
            assert_eq!((&step["result"], &step["code"]), (&json!("refused"), &json!(refused.1)), "{tried}");
        }
    }
    // Among the operator's own they are what they were.
    let operator = rowhouse_domain::id::OPERATOR_TENANT.to_string();
    town.joins(&operator, ANA, &["platform_support"]).await;
}
