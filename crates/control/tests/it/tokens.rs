//! Looking at access tokens for others: every check with its outcome, and whether one is good now (RFC 7662); of another tenant's nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::people::{Town, refresh, town};
use crate::sign_in::token_of;

const CHIEF: &str = "chief@acme.example";
const ZOE: &str = "zoe@bolt.example";

async fn stage() -> Town {
    let town = town().await;
    town.member("acme", CHIEF, &["tenant_admin"]).await;
    town.member("acme", "ana@acme.example", &["viewer"]).await;
    town.member("bolt", ZOE, &["tenant_admin"]).await;
    refresh(&town.platform).await;
    town
}

async fn explained(town: &Town, key: &str, body: Value) -> Value {
    let (status, told) = town.platform.call(key, "POST", "/v1/tokens/explain", Some(body)).await;
    assert_eq!(status, 200, "{told}");
    told
}

/// The checks that are not passed, with their result and why.
fn against(told: &Value) -> Vec<String> {
    let all = told["checks"].as_array().expect("a list").iter().filter(|check| check["result"] != "pass");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    all.map(|check| format!("{} {}: {}", text(&check["check"]), text(&check["result"]), text(&check["why"])))
        .collect()
}

#[tokio::test]
async fn each_check_of_a_token_is_told_with_its_outcome() {
    let town = stage().await;
    let (chief, zoe) = (town.signed_in(CHIEF).await, town.signed_in(ZOE).await);
    let (own, theirs) = (token_of(&chief), token_of(&zoe));
    let good = explained(&town, own, json!({ "token": own })).await;
    assert_eq!((&good["active"], against(&good)), (&json!(true), vec![]), "{good}");
    assert_eq!(good["claims"]["tenant"], json!(town.acme.to_string()));
    let at_us = explained(&town, own, json!({ "token": own, "shown_to": "control" })).await;
    assert_eq!(at_us["active"], true);
    // Another tenant's says nothing but that; the operator sees it.
    let other = explained(&town, own, json!({ "token": theirs })).await;
    assert_eq!(against(&other), ["tenant fail: it is another tenant's"]);
    assert!(other["claims"].is_null() && !other.to_string().contains("user_"), "{other}");
    let seen = explained(&town, &town.operator, json!({ "token": theirs })).await;
    assert_eq!((&seen["active"], &seen["claims"]["tenant"]), (&json!(true), &json!(town.bolt.to_string())));
    // What is no token, and what somebody made of one.
    for (text, wanted) in [
        ("eyJ", "form fail: it is not well-formed"),
        ("", "form fail: it is not well-formed"),
        (&own[..own.len() - 4], "form fail: it is not well-formed"),
    ] {
        assert_eq!(against(&explained(&town, own, json!({ "token": text })).await), [wanted]);
    }
    let (signed, signature) = own.rsplit_once('.').expect("three parts");
    let (_, other_signature) = theirs.rsplit_once('.').expect("three parts");
    assert_ne!(signature, other_signature);
    let forged = explained(&town, own, json!({ "token": format!("{signed}.{other_signature}") })).await;
    assert_eq!(against(&forged), ["signature fail: its signature is wrong"]);
    assert!(forged["claims"].is_null(), "what nobody signed is not told");
    // Over, by time and by its session.
    town.platform.hand.advance_us(11 * 60 * 1_000_000);
    let late = explained(&town, &town.operator, json!({ "token": own })).await;
    assert_eq!(
        (&late["active"], against(&late)),
        (&json!(false), vec!["time fail: it has expired".to_owned()])
    );
    let chief = town.signed_in(CHIEF).await;
    let own = token_of(&chief);
    assert_eq!(town.platform.call(own, "POST", "/v1/me/sign_out", Some(json!({}))).await.0, 204);
    refresh(&town.platform).await;
    let ended = explained(&town, &town.operator, json!({ "token": own })).await;
    assert_eq!(against(&ended), ["session fail: its session has ended"]);
    // Who may not ask why others are refused does not ask.
    let ana = town.signed_in("ana@acme.example").await;
    let body = Some(json!({ "token": "eyJ" }));
    let (status, told) = town.platform.call(token_of(&ana), "POST", "/v1/tokens/explain", body).await;
    assert_eq!((status, &told["code"]), (403, &json!("access.denied")), "{told}");
}

async fn introspected(town: &Town, authorization: &str, token: &str) -> (u16, Value) {
    let request = hyper::Request::post("/oauth2/introspect")
        .header("host", "127.0.0.1")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", authorization)
        .body(Full::new(format!("token={token}&token_type_hint=access_token").into()))
        .expect("a request");
    town.platform.send(request).await
}

/// A service account with a secret, as `Authorization` says it.
async fn robot(town: &Town, role: &str) -> String {
    let named = json!({ "name": format!("robot {role}") });
    let made = town.post("/v1/service_accounts?tenant=acme", named).await.1;
    let id = made["id"].as_str().expect("an id");
    let grant = json!({ "principal": { "kind": "service_account", "id": id }, "role": role });
    assert_eq!(town.post("/v1/grants?tenant=acme", grant).await.0, 201);
    refresh(&town.platform).await;
    let path = format!("/v1/service_accounts/{id}/secrets?tenant=acme");
    let secret = town.post(&path, json!({ "label": "x" })).await.1;
    let text = format!("{id}:{}", secret["client_secret"].as_str().expect("a secret"));
    format!("Basic {}", STANDARD.encode(text))
}

#[tokio::test]
async fn a_service_asks_whether_a_token_is_good_and_learns_of_its_own_tenants_alone() {
    let town = stage().await;
    let basic = robot(&town, "tenant_admin").await;
    let (chief, zoe) = (town.signed_in(CHIEF).await, town.signed_in(ZOE).await);
    let (own, theirs) = (token_of(&chief), token_of(&zoe));
    let (status, good) = introspected(&town, &basic, own).await;
    assert_eq!(
        (status, &good["active"], &good["token_type"]),
        (200, &json!(true), &json!("Bearer")),
        "{good}"
    );
    assert_eq!((&good["tenant"], &good["acr"]), (&json!(town.acme.to_string()), &json!("1")), "{good}");
    assert!(
        good["sub"].as_str().is_some_and(|who| who.starts_with("user_")) && good["exp"].is_i64(),
        "{good}"
    );
    // RFC 7662 §2.2: of what is not good nothing else is said.
    let nothing = json!({ "active": false });
    for token in [theirs, "", "eyJ", "x.y.z", &own[..own.len() - 4]] {
        assert_eq!(introspected(&town, &basic, token).await, (200, nothing.clone()), "{token}");
    }
    let operator = format!("Bearer {}", town.operator);
    assert_eq!(introspected(&town, &operator, theirs).await.1["active"], true);
    assert_eq!(introspected(&town, &format!("Bearer {own}"), own).await.1["active"], true);
    assert_eq!(town.platform.call(own, "POST", "/v1/me/sign_out", Some(json!({}))).await.0, 204);
    refresh(&town.platform).await;
    assert_eq!(introspected(&town, &basic, own).await, (200, nothing.clone()), "its session is over");
    let chief = town.signed_in(CHIEF).await;
    town.platform.hand.advance_us(11 * 60 * 1_000_000);
    assert_eq!(introspected(&town, &basic, token_of(&chief)).await, (200, nothing), "and this one is late");
    // Who asks must be somebody, and may ask.
    let wrong = format!("Basic {}", STANDARD.encode("x:y"));
    for nobody in [wrong.as_str(), "Basic !", "Bearer eyJ"] {
        assert_eq!(introspected(&town, nobody, "x").await.0, 401, "{nobody}");
    }
    let viewer = robot(&town, "viewer").await;
    let (status, told) = introspected(&town, &viewer, "x").await;
    assert_eq!((status, &told["code"]), (403, &json!("access.denied")), "{told}");
    let found = town.platform.page("GET", "/.well-known/oauth-authorization-server", "").await.1;
    assert!(found.contains("/oauth2/introspect\""), "{found}");
}
