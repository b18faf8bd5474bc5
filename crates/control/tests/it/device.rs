//! Programs without a browser (RFC 8628): what they get, what they are told, and what a person sees before saying yes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::people::{Town, refresh, town};
use crate::sign_in::{PASSWORD, code_of};
use crate::visitor::{Visitor, encoded};

const MAIL: &str = "ana@acme.example";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
const PAGE: &str = "/account/device";

async fn stage() -> Town {
    let town = town().await;
    town.member("acme", MAIL, &["user"]).await;
    refresh(&town.platform).await;
    town
}

async fn form(town: &Town, path: &str, fields: &[(&str, &str)]) -> (u16, Value) {
    let (status, body) = town.platform.page("POST", path, &encoded(fields)).await;
    (status, serde_json::from_str(&body).unwrap_or_default())
}

/// A request of our own command line: what it holds, and what it shows.
async fn begin(town: &Town) -> (String, String) {
    let (status, begun) = form(town, "/oauth2/device_authorization", &[("client_id", "rowhouse-cli")]).await;
    assert_eq!(
        (status, &begun["interval"], &begun["expires_in"]),
        (200, &Value::from(5), &Value::from(600)),
        "{begun}"
    );
    let text = |name: &str| begun[name].as_str().expect("text").to_owned();
    let shown = text("user_code");
    assert!(shown.len() == 9 && shown.chars().all(|c| "BCDFGHJKLMNPQRSTVWXZ-".contains(c)), "{shown}");
    assert_eq!(text("verification_uri"), format!("http://127.0.0.1:8081{PAGE}"));
    assert!(begun.get("verification_uri_complete").is_none(), "the code is typed: {begun}");
    (text("device_code"), shown)
}

async fn poll(town: &Town, device_code: &str) -> (u16, Value) {
    let fields = [("grant_type", GRANT), ("client_id", "rowhouse-cli"), ("device_code", device_code)];
    form(town, "/oauth2/token", &fields).await
}

fn error(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["error"].as_str().unwrap_or_default())
}

fn later(town: &Town, seconds: i64) {
    town.platform.hand.advance_us(seconds * 1_000_000);
}

async fn say(visitor: &mut Visitor<'_>, step: &str, code: &str) -> crate::visitor::Seen {
    let own = visitor.get(PAGE).await.hidden("form");
    visitor.post(PAGE, &[("form", &own), ("step", step), ("user_code", code)]).await
}

#[tokio::test]
async fn a_program_is_let_in_once_by_who_types_its_code() {
    let town = stage().await;
    let (device_code, shown) = begin(&town).await;
    assert_eq!(error(&poll(&town, &device_code).await), (400, "authorization_pending"));
    assert_eq!(error(&poll(&town, &device_code).await), (400, "slow_down"));
    later(&town, 6);
    assert_eq!(error(&poll(&town, &device_code).await), (400, "slow_down"), "ten seconds now");
    later(&town, 16);
    assert_eq!(error(&poll(&town, &device_code).await), (400, "authorization_pending"));
    // Who is not signed in signs in first, and comes back. A code in a link that was sent is nothing: it is typed.
    let mut ana = Visitor::new(&town.platform);
    let link = format!("{PAGE}?user_code={shown}");
    assert_eq!(ana.get(&link).await.location.as_deref(), Some("/account/sign_in"));
    assert_eq!(ana.sign_in(MAIL, PASSWORD).await.location.as_deref(), Some(PAGE));
    let page = ana.get(&link).await;
    assert!(!page.text.contains(&shown), "{}", page.text);
    assert_eq!(error(&poll(&town, &device_code).await).1, "slow_down", "opening a link lets nobody in");
    let asks =
        ana.post(PAGE, &[("form", &page.hidden("form")), ("step", "look"), ("user_code", &shown)]).await;
    for words in ["The command line of Rowhouse", "127.0.0.1", &shown, "did not start"] {
        assert!(asks.text.contains(words), "{words}: {}", asks.text);
    }
    // However it is typed.
    let typed = shown.to_lowercase().replace('-', " ");
    let done = say(&mut ana, "yes", &typed).await;
    assert!(done.text.contains("The program is signed in."), "{}", done.text);
    assert_eq!(say(&mut ana, "yes", &shown).await.status, 404, "once");
    let (a, b) = tokio::join!(poll(&town, &device_code), poll(&town, &device_code));
    let (won, lost) = if a.0 == 200 { (a, b) } else { (b, a) };
    assert_eq!((won.0, error(&lost)), (200, (400, "invalid_grant")), "{}", won.1);
    refresh(&town.platform).await;
    let (status, me) = town.me(&won.1).await;
    assert_eq!((status, &me["email"]), (200, &Value::from(MAIL)), "{me}");
    assert_eq!(town.refreshed(&won.1["refresh_token"]).await.0, 200);
    assert!(ana.get("/account").await.text.contains("Rowhouse (device)"), "it can be ended there");
}

/// The page says what of the person's rights it may use, and its token is good for that.
#[tokio::test]
async fn an_application_is_let_in_for_what_it_was_registered_with() {
    let town = stage().await;
    let body = serde_json::json!({"name": "Board", "kind": "public", "redirect_uris": ["https://board.example/back"],
        "permissions": ["user:read"]});
    let (status, made) = town.post("/v1/applications?tenant=acme", body).await;
    assert_eq!(status, 201, "{made}");
    let id = made["id"].as_str().expect("an id");
    let (status, begun) = form(&town, "/oauth2/device_authorization", &[("client_id", id)]).await;
    assert_eq!(status, 200, "{begun}");
    let shown = begun["user_code"].as_str().expect("a code").to_owned();
    let mut ana = Visitor::new(&town.platform);
    ana.sign_in(MAIL, PASSWORD).await;
    let asks = say(&mut ana, "look", &shown).await;
    for words in ["<strong>Board</strong>", "<code>user:read</code>", "Nothing else."] {
        assert!(asks.text.contains(words), "{words}: {}", asks.text);
    }
    assert!(!asks.text.contains("all that you may"), "{}", asks.text);
    say(&mut ana, "yes", &shown).await;
    let code = begun["device_code"].as_str().expect("a code");
    let fields = [("grant_type", GRANT), ("client_id", id), ("device_code", code)];
    let (status, tokens) = form(&town, "/oauth2/token", &fields).await;
    assert_eq!(status, 200, "{tokens}");
    let (_, token) = tokens["access_token"].as_str().and_then(|text| text.split_once('.')).expect("a token");
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').next().expect("claims")).expect("base64");
    let claims: Value = serde_json::from_slice(&claims).expect("JSON");
    assert_eq!((&claims["scope"], &claims["client_id"]), (&Value::from("user:read"), &Value::from(id)));

    // One that is taken away meanwhile gets nothing, though it was allowed.
    let (_, begun) = form(&town, "/oauth2/device_authorization", &[("client_id", id)]).await;
    let shown = begun["user_code"].as_str().expect("a code");
    say(&mut ana, "look", shown).await;
    say(&mut ana, "yes", shown).await;
    let path = format!("/v1/applications/{id}?tenant=acme");
    assert_eq!(town.platform.call(&town.operator, "DELETE", &path, None).await.0, 204);
    let code = begun["device_code"].as_str().expect("a code");
    let fields = [("grant_type", GRANT), ("client_id", id), ("device_code", code)];
    let answer = form(&town, "/oauth2/token", &fields).await;
    assert_eq!(error(&answer), (400, "access_denied"), "{}", answer.1);
}

#[tokio::test]
async fn what_is_refused() {
    let town = stage().await;
    for client in ["", "rowhouse", "application_01h00000000000000000000000"] {
        let answer = form(&town, "/oauth2/device_authorization", &[("client_id", client)]).await;
        assert_eq!(error(&answer), (400, "invalid_client"), "{client}");
    }
    assert_eq!(error(&poll(&town, "no code").await), (400, "invalid_grant"));
    let (device_code, shown) = begin(&town).await;
    let other = [("grant_type", GRANT), ("client_id", "another"), ("device_code", device_code.as_str())];
    assert_eq!(error(&form(&town, "/oauth2/token", &other).await), (400, "invalid_grant"));
    assert_eq!(
        error(&poll(&town, &shown).await),
        (400, "invalid_grant"),
        "what is shown is not what is held"
    );
    let mut ana = Visitor::new(&town.platform);
    ana.sign_in(MAIL, PASSWORD).await;
    let planted = ana.post(PAGE, &[("form", "x"), ("step", "yes"), ("user_code", &shown)]).await;
    assert_eq!(planted.status, 403, "{}", planted.text);
    assert_eq!(error(&poll(&town, &device_code).await), (400, "authorization_pending"));
    say(&mut ana, "no", &shown).await;
    assert_eq!(error(&poll(&town, &device_code).await), (400, "access_denied"));
    // Ten minutes, and a browser that is signed out meanwhile lets nobody in.
    let (late, shown) = begin(&town).await;
    later(&town, 601);
    assert_eq!(error(&poll(&town, &late).await), (400, "expired_token"));
    // A proof that is ten minutes old lets nobody in.
    let asked = ana.get(&format!("{PAGE}?user_code={shown}")).await;
    assert!(asked.text.contains("Is it still you?"), "{}", asked.text);
    let raise =
        [("form", asked.hidden("form")), ("step", "step_up".to_owned()), ("present", PASSWORD.to_owned())];
    let raise: Vec<(&str, &str)> = raise.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let back = ana.post("/account", &raise).await;
    assert_eq!(back.location.as_deref(), Some(PAGE));
    assert_eq!(say(&mut ana, "look", &shown).await.status, 404, "too late");
    let (device_code, shown) = begin(&town).await;
    say(&mut ana, "yes", &shown).await;
    let own = ana.get("/account").await.hidden("form");
    ana.post("/account", &[("form", &own), ("step", "sign_out")]).await;
    assert_eq!(error(&poll(&town, &device_code).await), (400, "access_denied"));
}

#[tokio::test]
async fn who_is_let_in_has_shown_nothing_and_changes_nothing_of_the_account() {
    let town = stage().await;
    let (device_code, shown) = begin(&town).await;
    let mut ana = Visitor::new(&town.platform);
    ana.sign_in(MAIL, PASSWORD).await;
    say(&mut ana, "yes", &shown).await;
    let (status, done) = poll(&town, &device_code).await;
    assert_eq!(status, 200, "{done}");
    refresh(&town.platform).await;
    for (path, body) in [
        ("/v1/me/email", json!({ "email": "thief@evil.example" })),
        ("/v1/me/factors/totp", json!({ "label": "mine" })),
        ("/v1/me/factors/passkey/options", json!({})),
    ] {
        let answer = town.as_person(&done, "POST", path, Some(body)).await;
        assert_eq!(code_of(&answer), (401, "identity.step_up_required"), "{path}: {}", answer.1);
    }
    // What is renewed is no fresher.
    let (_, renewed) = town.refreshed(&done["refresh_token"]).await;
    let ask = json!({ "email": "ana@new.example" });
    let answer = town.as_person(&renewed, "POST", "/v1/me/email", Some(ask.clone())).await;
    assert_eq!(code_of(&answer), (401, "identity.step_up_required"));
    // The person's own proof, shown in this session, is one.
    let raise = json!({ "password": PASSWORD });
    let (status, raised) = town.as_person(&renewed, "POST", "/v1/me/step_up", Some(raise)).await;
    assert_eq!(status, 200, "{raised}");
    assert_eq!(town.as_person(&raised, "POST", "/v1/me/email", Some(ask)).await.0, 202);
}

#[tokio::test]
async fn codes_are_not_guessed_and_not_begun_without_end() {
    let town = stage().await;
    let mut ana = Visitor::new(&town.platform);
    ana.sign_in(MAIL, PASSWORD).await;
    for _ in 0..20 {
        assert_eq!(say(&mut ana, "look", "BBBB-BBBB").await.status, 404);
    }
    assert_eq!(say(&mut ana, "look", "BBBB-BBBB").await.status, 429);
    for _ in 0..20 {
        begin(&town).await;
    }
    let more = form(&town, "/oauth2/device_authorization", &[("client_id", "rowhouse-cli")]).await;
    assert_eq!(code_of(&more), (429, "identity.too_many_attempts"));
}
