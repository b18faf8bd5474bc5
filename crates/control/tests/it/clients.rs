//! Machines that ask for tokens: a secret gets one, for its account alone, until it is revoked; nobody learns why it got none.

use axum::http::StatusCode;
use base64::Engine as _;
use serde_json::{Value, json};

use crate::people::{Town, refresh, town};
use crate::sign_in::code_of;

async fn account(town: &Town, tenant: &str, role: Option<&str>) -> String {
    let (status, made) = town
        .post(&format!("/v1/service_accounts?tenant={tenant}"), json!({ "name": format!("robot {role:?}") }))
        .await;
    assert_eq!(status, 201, "{made}");
    let id = made["id"].as_str().expect("an id").to_owned();
    if let Some(role) = role {
        let grant = json!({"principal": {"kind": "service_account", "id": id}, "role": role});
        let (status, granted) = town.post(&format!("/v1/grants?tenant={tenant}"), grant).await;
        assert_eq!(status, 201, "{granted}");
    }
    refresh(&town.platform).await;
    id
}

async fn secret(town: &Town, tenant: &str, account: &str) -> (String, String) {
    let path = format!("/v1/service_accounts/{account}/secrets?tenant={tenant}");
    let (status, made) = town.post(&path, json!({ "label": "CI" })).await;
    assert_eq!(status, 201, "{made}");
    let text = |name: &str| made[name].as_str().expect("text").to_owned();
    assert_eq!(text("client_id"), account);
    (text("id"), text("client_secret"))
}

async fn form(town: &Town, form: &str) -> (u16, Value) {
    let (status, body) = town.platform.page("POST", "/oauth2/token", form).await;
    (status, serde_json::from_str(&body).unwrap_or_default())
}

async fn asked(town: &Town, id: &str, secret: &str) -> (u16, Value) {
    form(town, &format!("grant_type=client_credentials&client_id={id}&client_secret={secret}")).await
}

#[tokio::test]
async fn a_secret_gets_a_token_that_may_what_the_account_may_until_it_is_revoked() {
    let town = town().await;
    let robot = account(&town, "acme", Some("tenant_admin")).await;
    let (id, text) = secret(&town, "acme", &robot).await;
    let (status, answer) = asked(&town, &robot, &text).await;
    assert_eq!(
        (status, &answer["token_type"], &answer["expires_in"]),
        (200, &json!("Bearer"), &json!(600)),
        "{answer}"
    );
    assert!(answer["refresh_token"].is_null());
    let token = answer["access_token"].as_str().expect("a token");
    let read = town.platform.call(token, "GET", "/v1/service_accounts", None).await;
    assert_eq!(read.0, 200, "an administrator reads: {}", read.1);
    assert!(read.1["items"].as_array().is_some_and(|all| !all.is_empty()));
    let bare = account(&town, "acme", None).await;
    let (_, bare_text) = secret(&town, "acme", &bare).await;
    let (_, other) = asked(&town, &bare, &bare_text).await;
    let other = other["access_token"].as_str().expect("a token");
    let denied = town.platform.call(other, "GET", "/v1/service_accounts", None).await;
    assert_eq!(denied.0, 403, "and who was granted nothing does not: {}", denied.1);
    let me = town.platform.call(token, "GET", "/v1/me", None).await;
    assert_eq!(me.0, 403, "it is no person: {}", me.1);
    let path = format!("/v1/service_accounts/{robot}/secrets");
    let (status, listed) = (200, town.get(&format!("{path}?tenant=acme")).await);
    assert_eq!((status, listed["items"].as_array().map(Vec::len)), (200, Some(1)));
    assert!(!listed.to_string().contains(&text), "the text is shown once");
    let gone = town.platform.call(&town.operator, "DELETE", &format!("{path}/{id}?tenant=acme"), None).await;
    assert_eq!(gone.0, 204, "{}", gone.1);
    refresh(&town.platform).await;
    let ended = town.platform.call(token, "GET", "/v1/service_accounts", None).await;
    assert_eq!(code_of(&ended), (401, "identity.session_ended"));
    assert_eq!(asked(&town, &robot, &text).await.0, 401);
    let again = town.platform.call(&town.operator, "DELETE", &format!("{path}/{id}?tenant=acme"), None).await;
    assert_eq!(again.0, 404);
    // Nor does a token come back to life with the directory of another hour.
    town.platform.hand.advance_us(601 * 1_000_000);
    let over = town.platform.call(token, "GET", "/v1/service_accounts", None).await;
    assert_eq!(over.0, 401);
}

#[tokio::test]
async fn whoever_is_not_the_client_gets_nothing_and_learns_nothing() {
    let town = town().await;
    let (robot, other) = (account(&town, "acme", None).await, account(&town, "bolt", None).await);
    let (_, text) = secret(&town, "acme", &robot).await;
    let (_, others) = secret(&town, "bolt", &other).await;
    let mut near = text.clone();
    near.replace_range(10..11, if &near[10..11] == "0" { "1" } else { "0" });
    let unknown = "service_account_01j00000000000000000000000";
    let wrong = [
        (robot.as_str(), others.as_str()),
        (other.as_str(), text.as_str()),
        (unknown, text.as_str()),
        (robot.as_str(), near.as_str()),
        (robot.as_str(), ""),
        (robot.as_str(), "rhs_"),
        ("", text.as_str()),
        ("x", "x"),
    ];
    for (id, secret) in wrong {
        let answer = asked(&town, id, secret).await;
        assert_eq!(answer, (401, json!({"error": "invalid_client"})), "{id} {secret}");
    }
    let scope =
        form(&town, &format!("grant_type=client_credentials&client_id={robot}&client_secret={text}&scope=a"))
            .await;
    assert_eq!(scope, (400, json!({"error": "invalid_scope"})));
    assert_eq!(
        form(&town, "grant_type=password&username=a&password=b").await.1["error"],
        json!("unsupported_grant_type")
    );
    assert_eq!(form(&town, "grant_type=client_credentials").await.0, 401);
    // As a header too; both ways at once are refused.
    let basic = |id: &str, secret: &str| {
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}")))
    };
    for (header, body, expected) in [
        (basic(&robot, &text), "grant_type=client_credentials".to_owned(), StatusCode::OK),
        (basic(&robot, &others), "grant_type=client_credentials".to_owned(), StatusCode::UNAUTHORIZED),
        ("Basic !!!".to_owned(), "grant_type=client_credentials".to_owned(), StatusCode::UNAUTHORIZED),
        (
            basic(&robot, &text),
            format!("grant_type=client_credentials&client_secret={text}"),
            StatusCode::BAD_REQUEST,
        ),
    ] {
        let answer = town.platform.form_with("/oauth2/token", ("authorization", &header), &body).await;
        assert_eq!(answer.0, expected.as_u16(), "{header} {body}: {}", answer.1);
    }
}

#[tokio::test]
async fn there_are_two_secrets_they_end_and_nobody_makes_one_beyond_himself() {
    let town = town().await;
    let robot = account(&town, "acme", Some("tenant_admin")).await;
    let path = format!("/v1/service_accounts/{robot}/secrets");
    let own = format!("{path}?tenant=acme");
    let (status, short) = town.post(&own, json!({"days": 1})).await;
    assert_eq!(status, 201, "{short}");
    secret(&town, "acme", &robot).await;
    assert_eq!(code_of(&town.post(&own, json!({})).await), (409, "identity.too_many_secrets"));
    for bad in
        [json!({"days": 0}), json!({"days": 366}), json!({"label": "x".repeat(61)}), json!({"label": "a\nb"})]
    {
        assert_eq!(town.post(&own, bad.clone()).await.0, 422, "{bad}");
    }
    assert_eq!(town.post(&format!("{path}?tenant=bolt"), json!({})).await.0, 404, "another tenant's");
    town.platform.hand.advance_us(25 * 3_600 * 1_000_000);
    let text = short["client_secret"].as_str().expect("text");
    assert_eq!(asked(&town, &robot, text).await.0, 401, "it is over");
    assert_eq!(town.post(&own, json!({})).await.0, 201, "so there is room");
    // A developer may change accounts at most, and stands in for no administrator.
    town.member("acme", "dan@acme.example", &["developer"]).await;
    refresh(&town.platform).await;
    let dan = town.signed_in("dan@acme.example").await;
    let refused = town.as_person(&dan, "POST", &path, Some(json!({}))).await;
    assert_eq!(refused.0, 403, "{}", refused.1);
}
