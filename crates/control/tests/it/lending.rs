//! Nobody makes more out of what was lent: a key that ends, a key that is narrowed, a right over accounts, a word that invites.

use serde_json::{Value, json};

use crate::house::{House, outcome};
use crate::people::{refresh, town};

fn account(id: &str) -> Value {
    json!({ "kind": "service_account", "id": id })
}

/// A key of an account that holds exactly these, by name; with more about it.
async fn keeper(house: &House, name: &str, permissions: &[&str], more: Value) -> (String, String) {
    let id = house.account("acme", name).await;
    for permission in permissions {
        let grant = json!({ "principal": account(&id), "permission": permission });
        house.created(&house.root, "/v1/grants?tenant=acme", grant).await;
    }
    let mut key = json!({ "name": name, "owner": account(&id), "permissions": permissions });
    key.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let key = house.created(&house.root, "/v1/keys?tenant=acme", key).await;
    house.settled().await;
    let text = |name: &str| key[name].as_str().expect("a text").to_owned();
    (text("key"), text("id"))
}

#[tokio::test]
async fn a_key_is_not_rotated_beyond_the_end_of_the_key_that_rotates_it() {
    let house = House::start().await;
    house.tenant("acme", "basic").await;
    let ends = json!({ "expires_at": "2026-11-21T10:01:30Z" });
    let (short, id) = keeper(&house, "short", &["api_key:create", "api_key:read"], ends).await;
    let rotate = format!("/v1/keys/{id}/rotate");
    let (status, rotated) = house.platform.call(&short, "POST", &rotate, Some(json!({}))).await;
    assert_eq!((status, &rotated["expires_at"]), (201, &json!("2026-11-21T10:01:30Z")), "{rotated}");
}

/// What an account holds later, or on one thing, or in a group, counts as much as what it holds now.
#[tokio::test]
async fn nobody_stands_in_for_an_account_that_will_hold_more() {
    let house = House::start().await;
    house.tenant("acme", "premium").await;
    let (keeper, _) =
        keeper(&house, "keeper", &["service_account:update", "metadata_stamp:read"], json!({})).await;
    let trust = json!({ "trust": [{ "issuer": "https://ci.example", "audience": "x", "subject": "y" }] });
    let try_it = async |id: &str| {
        house.settled().await;
        let path = format!("/v1/service_accounts/{id}/trust");
        let (status, answer) = house.platform.call(&keeper, "PUT", &path, Some(trust.clone())).await;
        outcome(status, &answer)
    };
    let grant = async |who: Value, mut more: Value| {
        more["principal"] = who;
        house.created(&house.root, "/v1/grants?tenant=acme", more).await;
    };
    // Allowed as far as rights go: only the issuer is not there.
    let harmless = house.account("acme", "harmless").await;
    grant(account(&harmless), json!({ "permission": "metadata_stamp:read" })).await;
    assert_eq!(try_it(&harmless).await, "422 keys.invalid_field /trust/0/issuer");
    let later = house.account("acme", "later").await;
    grant(account(&later), json!({ "role": "tenant_admin", "valid_from": "2026-11-21T10:00:15Z" })).await;
    assert_eq!(try_it(&later).await, "403 access.escalation");
    let thing = house.account("acme", "thing").await;
    let one = json!({ "type": "metadata_stamp", "id": "stamp-1" });
    grant(account(&thing), json!({ "permission": "metadata_stamp:delete", "resource": one })).await;
    assert_eq!(try_it(&thing).await, "403 access.escalation");
    let member = house.account("acme", "member").await;
    let group = house.created(&house.root, "/v1/groups?tenant=acme", json!({ "name": "later" })).await;
    let group = group["id"].as_str().expect("an id").to_owned();
    grant(json!({ "kind": "group", "id": group }), json!({ "role": "developer" })).await;
    let path = format!("/v1/groups/{group}/members/service_account/{member}");
    let from = json!({ "valid_from": "2026-12-01T00:00:00Z" });
    let (status, put) = house.platform.call(&house.root, "PUT", &path, Some(from)).await;
    assert!((200..300).contains(&status), "{put}");
    assert_eq!(try_it(&member).await, "403 access.escalation");
    // What is over is over.
    let over = house.account("acme", "over").await;
    grant(account(&over), json!({ "role": "tenant_admin", "valid_until": "2026-11-21T10:00:10Z" })).await;
    house.platform.hand.advance_us(10_000_000);
    assert_eq!(try_it(&over).await, "422 keys.invalid_field /trust/0/issuer");
}

#[tokio::test]
async fn a_narrowed_key_does_not_decide_who_signs_in() {
    let house = House::start().await;
    house.tenant("acme", "premium").await;
    let all = ["service_account:update", "issuer:manage", "certificate:manage"];
    let narrow = json!({ "allowed_ips": ["127.0.0.0/8", "::1/128"] });
    let (narrowed, _) = keeper(&house, "narrowed", &all, narrow).await;
    let (wide, _) = keeper(&house, "wide", &all, json!({})).await;
    let robot = house.account("acme", "robot").await;
    let issuer = json!({ "name": "x", "issuer": "https://ci.example", "audiences": ["x"] });
    let calls = [
        ("PUT", format!("/v1/service_accounts/{robot}/trust"), json!({ "trust": [] })),
        ("PUT", format!("/v1/service_accounts/{robot}/certificates"), json!({ "certificates": [] })),
        ("POST", "/v1/issuers".to_owned(), issuer),
        ("POST", "/v1/certificate_authorities".to_owned(), json!({ "name": "x", "certificate": "x" })),
        ("POST", "/v1/connections".to_owned(), json!({})),
    ];
    for (method, path, body) in calls {
        let (status, answer) = house.platform.call(&narrowed, method, &path, Some(body.clone())).await;
        let code = answer["code"].as_str().unwrap_or("-");
        // What is malformed may be told first.
        assert!(code == "access.escalation" || status == 422, "{path}: {answer}");
        if status != 422 {
            assert_eq!((status, code), (403, "access.escalation"), "{path}");
        }
        let (status, answer) = house.platform.call(&wide, method, &path, Some(body)).await;
        assert_ne!(answer["code"], "access.escalation", "{path} {status}");
    }
}

#[tokio::test]
async fn a_denial_outlives_who_is_removed_and_invited_again() {
    let town = town().await;
    town.member("acme", "ana@acme.example", &["tenant_admin"]).await;
    let ben = town.member("acme", "ben@acme.example", &["developer"]).await;
    let principal = json!({ "kind": "user", "id": ben });
    let deny = json!({ "principal": principal, "effect": "deny", "permission": "metadata_stamp:read", "reason": "x" });
    assert_eq!(town.post("/v1/grants?tenant=acme", deny).await.0, 201);
    let path = format!("/v1/users/{ben}?tenant=acme");
    assert_eq!(town.platform.call(&town.operator, "DELETE", &path, None).await.0, 200);
    town.invite("acme", "ben@acme.example", &["developer"]).await;
    let token = town.mailed("invitation", "ben@acme.example").await;
    assert_eq!(town.accept_with(json!({ "token": token })).await.1["user"], json!(ben));
    refresh(&town.platform).await;
    let asked = json!({ "principal": principal, "permission": "metadata_stamp:read" });
    let (_, told) = town.post("/v1/access/explain?tenant=acme", asked).await;
    assert_eq!((&told["decision"], &told["reason"]), (&json!("deny"), &json!("denied")), "{told:#}");
}

/// The same where it came by a group that the person is not put back into.
#[tokio::test]
async fn a_groups_denial_outlives_who_is_removed_and_invited_again() {
    let town = town().await;
    town.member("acme", "ana@acme.example", &["tenant_admin"]).await;
    let ben = town.member("acme", "ben@acme.example", &["developer"]).await;
    let principal = json!({ "kind": "user", "id": ben });
    let group = async |name: &str| {
        let (_, made) = town.post("/v1/groups?tenant=acme", json!({ "name": name })).await;
        made["id"].as_str().expect("an id").to_owned()
    };
    let (barred, barring) = (group("barred").await, group("barring").await);
    let join = async |group: &str, member: &str| {
        let path = format!("/v1/groups/{group}/members/{member}?tenant=acme");
        let (status, put) = town.platform.call(&town.operator, "PUT", &path, Some(json!({}))).await;
        assert!((200..300).contains(&status), "{put}");
    };
    join(&barring, &format!("group/{barred}")).await;
    join(&barred, &format!("user/{ben}")).await;
    let of_barring = json!({ "kind": "group", "id": barring });
    let deny = json!({ "principal": of_barring, "effect": "deny", "permission": "metadata_stamp:read", "reason": "x" });
    assert_eq!(town.post("/v1/grants?tenant=acme", deny).await.0, 201);
    let allow = json!({ "principal": of_barring, "permission": "metadata_stamp:delete", "reason": "x" });
    assert_eq!(town.post("/v1/grants?tenant=acme", allow).await.0, 201);
    let path = format!("/v1/users/{ben}?tenant=acme");
    for turn in 0..2 {
        assert_eq!(town.platform.call(&town.operator, "DELETE", &path, None).await.0, 200);
        town.invite("acme", "ben@acme.example", &["viewer"]).await;
        let token = town.mailed("invitation", "ben@acme.example").await;
        assert_eq!(town.accept_with(json!({ "token": token })).await.1["user"], json!(ben), "{turn}");
        refresh(&town.platform).await;
        let explained = async |permission: &str| {
            let asked = json!({ "principal": principal, "permission": permission });
            town.post("/v1/access/explain?tenant=acme", asked).await.1["reason"].clone()
        };
        assert_eq!(explained("metadata_stamp:read").await, "denied", "{turn}");
        assert_ne!(explained("metadata_stamp:delete").await, "granted", "what the group gave is gone");
        if turn == 0 {
            join(&barred, &format!("user/{ben}")).await;
        }
    }
    let own = format!(
        "SELECT count(*) FROM access.grants WHERE principal_id = '{}' AND effect = 'deny'",
        user_id(&ben)
    );
    assert_eq!(town.platform.ask(&own).await, "1", "said once, however often one leaves");
}

fn user_id(name: &str) -> uuid::Uuid {
    name.parse::<rowhouse_domain::id::UserId>().expect("the id of a user").0
}

/// What it gave would be neither narrowed nor over when the key is.
#[tokio::test]
async fn a_narrowed_key_gives_no_rights() {
    let house = House::start().await;
    house.tenant("acme", "premium").await;
    let all = ["grant:create", "invitation:create", "group:update", "role:create", "metadata_stamp:read"];
    let narrow = json!({ "allowed_ips": ["127.0.0.0/8", "::1/128"] });
    let (narrowed, _) = keeper(&house, "narrowed", &all, narrow).await;
    let (wide, _) = keeper(&house, "wide", &all, json!({})).await;
    let other = house.account("acme", "other").await;
    let mut role_of = 0;
    let mut calls = |key: &str| {
        role_of += 1;
        let name = format!("own-{role_of}-{}", key.len());
        [
            ("/v1/grants", json!({ "principal": account(&other), "permission": "metadata_stamp:read" })),
            ("/v1/roles", json!({ "name": name, "title": "Own", "permissions": ["metadata_stamp:read"] })),
        ]
    };
    for (path, body) in calls(&narrowed) {
        let (status, answer) = house.platform.call(&narrowed, "POST", path, Some(body)).await;
        assert_eq!(outcome(status, &answer), "403 access.escalation", "{path}: {answer}");
        assert!(answer["detail"].as_str().is_some_and(|words| words.contains("narrowed")), "{answer}");
    }
    for (path, body) in calls(&wide) {
        let (status, answer) = house.platform.call(&wide, "POST", path, Some(body)).await;
        assert_eq!(status, 201, "{path}: {answer}");
    }
    let invite = json!({ "email": "eve@acme.example", "roles": ["viewer"] });
    let (status, answer) = house.platform.call(&narrowed, "POST", "/v1/invitations", Some(invite)).await;
    assert_eq!(outcome(status, &answer), "403 access.escalation", "{answer}");
}

#[tokio::test]
async fn an_address_is_not_flooded_by_invitations_that_are_taken_back() {
    let town = town().await;
    let (_, made) = town.post("/v1/service_accounts?tenant=acme", json!({ "name": "inviter" })).await;
    let inviter = account(made["id"].as_str().expect("an id"));
    town.post(
        "/v1/grants?tenant=acme",
        json!({ "principal": inviter, "role": "tenant_admin", "reason": "x" }),
    )
    .await;
    let listing =
        json!({ "name": "k", "owner": inviter, "permissions": ["invitation:create", "invitation:delete"] });
    let (_, key) = town.post("/v1/keys?tenant=acme", listing).await;
    let key = key["key"].as_str().expect("a key").to_owned();
    refresh(&town.platform).await;
    let invite = async |email: &str| {
        let body = json!({ "email": email, "roles": [] });
        let (status, answer) = town.platform.call(&key, "POST", "/v1/invitations", Some(body)).await;
        if let Some(id) = answer["id"].as_str() {
            let path = format!("/v1/invitations/{id}");
            assert_eq!(town.platform.call(&key, "DELETE", &path, None).await.0, 204);
        }
        outcome(status, &answer)
    };
    for _ in 0..10 {
        assert!(invite("stranger@elsewhere.example").await.starts_with("201"));
    }
    assert_eq!(invite("Stranger@elsewhere.example").await, "429 limits.exceeded");
    assert!(invite("other@elsewhere.example").await.starts_with("201"));
    town.platform.hand.advance_us(24 * 3_600_000_000 + 1);
    refresh(&town.platform).await;
    assert!(invite("stranger@elsewhere.example").await.starts_with("201"), "the next day");
}
