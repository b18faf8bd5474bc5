//! Applications: a person allows one, it gets a session for a code, once; and what attacks the way there is refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::people::{Town, refresh, town};
use crate::sign_in::{PASSWORD, code_of};
use crate::visitor::{Seen, Visitor, encoded};

const MAIL: &str = "ana@acme.example";
const BACK: &str = "https://app.example/back";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))
}

async fn application(town: &Town, tenant: &str, kind: &str) -> (String, Option<String>) {
    let body =
        json!({"name": "Reports & <more>", "kind": kind, "redirect_uris": [BACK, "com.example.app:/back"]});
    let (status, made) = town.post(&format!("/v1/applications?tenant={tenant}"), body).await;
    assert_eq!(status, 201, "{made}");
    (made["id"].as_str().expect("an id").to_owned(), made["client_secret"].as_str().map(str::to_owned))
}

fn path(id: &str, changed: &[(&str, &str)]) -> String {
    let challenge = challenge();
    let mut fields = vec![
        ("response_type", "code"),
        ("client_id", id),
        ("redirect_uri", BACK),
        ("state", "xyz"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in changed {
        fields.retain(|(own, _)| own != name);
        fields.push((name, value));
    }
    format!("/oauth2/authorize?{}", encoded(&fields))
}

/// Presses the button of the page that asks.
async fn decide(visitor: &mut Visitor<'_>, page: &Seen, decision: &str, changed: &[(&str, &str)]) -> Seen {
    let names = ["form", "client_id", "redirect_uri", "state", "code_challenge", "nonce", "scope"];
    let values: Vec<(&str, String)> = names.iter().map(|name| (*name, page.hidden(name))).collect();
    let mut fields: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
    fields.push(("decision", decision));
    for (name, value) in changed {
        fields.retain(|(own, _)| own != name);
        fields.push((name, value));
    }
    visitor.post("/oauth2/authorize", &fields).await
}

async fn exchanged(town: &Town, id: &str, code: &str, changed: &[(&str, &str)]) -> (u16, Value) {
    let mut fields = vec![
        ("grant_type", "authorization_code"),
        ("client_id", id),
        ("code", code),
        ("redirect_uri", BACK),
        ("code_verifier", VERIFIER),
    ];
    for (name, value) in changed {
        fields.retain(|(own, _)| own != name);
        fields.push((name, value));
    }
    let (status, body) = town.platform.page("POST", "/oauth2/token", &encoded(&fields)).await;
    (status, serde_json::from_str(&body).unwrap_or_default())
}

async fn code(visitor: &mut Visitor<'_>, id: &str) -> String {
    let page = visitor.get(&path(id, &[])).await;
    assert_eq!(page.status, 200, "{page:?}");
    let back = decide(visitor, &page, "yes", &[]).await;
    back.parameter("code").unwrap_or_else(|| panic!("{back:?}"))
}

async fn signed_in(town: &Town) -> Visitor<'_> {
    town.member("acme", MAIL, &[]).await;
    refresh(&town.platform).await;
    let mut visitor = Visitor::new(&town.platform);
    assert_eq!(visitor.sign_in(MAIL, PASSWORD).await.location.as_deref(), Some("/account"));
    visitor
}

#[tokio::test]
async fn a_person_allows_an_application_and_it_gets_a_session_once() {
    let town = town().await;
    town.member("acme", MAIL, &[]).await;
    refresh(&town.platform).await;
    let (id, _) = application(&town, "acme", "public").await;
    let mut visitor = Visitor::new(&town.platform);
    // Who is not signed in signs in first, and comes back.
    let sent = visitor.get(&path(&id, &[])).await;
    assert_eq!(sent.location.as_deref(), Some("/account/sign_in"));
    let back = visitor.sign_in(MAIL, PASSWORD).await;
    assert_eq!(back.location.as_deref(), Some(path(&id, &[]).as_str()));
    assert!(!visitor.cookies.contains_key("__Host-rowhouse_return"), "once");
    let page = visitor.get(&path(&id, &[])).await;
    assert!(
        page.text.contains("Reports &amp; &lt;more&gt;") && page.text.contains("acme inc"),
        "{}",
        page.text
    );
    let back = decide(&mut visitor, &page, "yes", &[]).await;
    let location = back.location.clone().unwrap_or_default();
    assert!(location.starts_with("https://app.example/back?code="), "{back:?}");
    assert_eq!(back.parameter("state").as_deref(), Some("xyz"));
    assert_eq!(back.parameter("iss").as_deref(), Some("http://127.0.0.1:8081"));
    let code = back.parameter("code").expect("a code");
    let (status, tokens) = exchanged(&town, &id, &code, &[]).await;
    assert_eq!((status, &tokens["token_type"]), (200, &json!("Bearer")), "{tokens}");
    let (status, me) = town.me(&tokens).await;
    assert_eq!((status, &me["email"]), (200, &json!(MAIL)), "{me}");
    // Only the application refreshes it.
    assert_eq!(town.refreshed(&tokens["refresh_token"]).await, (401, json!({"error": "invalid_client"})));
    let shown = tokens["refresh_token"].as_str().expect("text");
    let form = encoded(&[("grant_type", "refresh_token"), ("refresh_token", shown), ("client_id", &id)]);
    assert_eq!(town.platform.page("POST", "/oauth2/token", &form).await.0, 200);
    // The same code again: somebody has a copy, and what it gave ends.
    assert_eq!(exchanged(&town, &id, &code, &[]).await, (400, json!({"error": "invalid_grant"})));
    refresh(&town.platform).await;
    assert_eq!(code_of(&town.me(&tokens).await), (401, "identity.session_ended"));
    // No is told too.
    let page = visitor.get(&path(&id, &[])).await;
    let no = decide(&mut visitor, &page, "no", &[]).await;
    assert_eq!((no.parameter("error").as_deref(), no.parameter("code")), (Some("access_denied"), None));
    // Two at once with one code: at most one session is left.
    let text = self::code(&mut visitor, &id).await;
    let (a, b) = tokio::join!(exchanged(&town, &id, &text, &[]), exchanged(&town, &id, &text, &[]));
    assert_eq!([a.0, b.0].iter().filter(|status| **status == 200).count(), 1, "{a:?} {b:?}");
}

#[tokio::test]
async fn what_is_wrong_with_the_address_is_never_sent_to_it() {
    let town = town().await;
    let mut visitor = signed_in(&town).await;
    let (id, _) = application(&town, "acme", "public").await;
    for (what, changed) in [
        ("another host", ("redirect_uri", "https://evil.example/back")),
        ("another path", ("redirect_uri", "https://app.example/back/more")),
        ("a parameter more", ("redirect_uri", "https://app.example/back?a=b")),
        ("another port", ("redirect_uri", "https://app.example:444/back")),
        ("upper case", ("redirect_uri", "https://APP.example/back")),
        ("a slash more", ("redirect_uri", "https://app.example/back/")),
        ("a user in it", ("redirect_uri", "https://app.example@evil.example/back")),
        ("none", ("redirect_uri", "")),
        ("nobody", ("client_id", "application_01j00000000000000000000000")),
        ("no id", ("client_id", "x")),
    ] {
        let seen = visitor.get(&path(&id, &[changed])).await;
        assert_eq!((seen.status, &seen.location), (422, &None), "{what}: {seen:?}");
    }
    let twice = visitor.get(&format!("{}&redirect_uri=https%3A%2F%2Fevil.example", path(&id, &[]))).await;
    assert_eq!(twice.location, None, "an address twice");
    for (changed, error) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("response_type", "id_token"), "unsupported_response_type"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("code_challenge", ""), "invalid_request"),
        (("code_challenge", "short"), "invalid_request"),
    ] {
        let seen = visitor.get(&path(&id, &[changed])).await;
        assert_eq!(seen.parameter("error").as_deref(), Some(error), "{changed:?}: {seen:?}");
        assert!(seen.location.expect("it leads back").starts_with("https://app.example/back?"));
    }
    // The form, bent on its way.
    let page = visitor.get(&path(&id, &[])).await;
    for changed in [("form", "x"), ("redirect_uri", "https://evil.example/"), ("client_id", "x")] {
        let seen = decide(&mut visitor, &page, "yes", &[changed]).await;
        assert!(seen.status >= 400 && seen.location.is_none(), "{changed:?}: {seen:?}");
    }
    let mut stranger = Visitor::new(&town.platform);
    let seen = decide(&mut stranger, &page, "yes", &[]).await;
    assert!(seen.status >= 400 && seen.location.is_none(), "another browser's form: {seen:?}");
    // An application of another tenant is not for these people; the operator's is for all.
    let (others, _) = application(&town, "bolt", "public").await;
    assert_eq!(visitor.get(&path(&others, &[])).await.status, 403);
    let (all, _) = application(&town, "operator", "public").await;
    assert_eq!(visitor.get(&path(&all, &[])).await.status, 200);
}

#[tokio::test]
async fn a_code_is_bound_to_its_application_address_and_verifier() {
    let town = town().await;
    let mut visitor = signed_in(&town).await;
    let (id, _) = application(&town, "acme", "public").await;
    let (web, secret) = application(&town, "acme", "web").await;
    let secret = secret.expect("a web application has one");
    for (what, changed, expected) in [
        ("another verifier", vec![("code_verifier", "a".repeat(43))], "invalid_grant"),
        ("the challenge as verifier", vec![("code_verifier", challenge())], "invalid_grant"),
        ("no verifier", vec![("code_verifier", String::new())], "invalid_grant"),
        ("another address", vec![("redirect_uri", "com.example.app:/back".to_owned())], "invalid_grant"),
        ("no address", vec![("redirect_uri", String::new())], "invalid_grant"),
        ("a secret it has not", vec![("client_secret", secret.clone())], "invalid_client"),
        (
            "another application",
            vec![("client_id", web.clone()), ("client_secret", secret.clone())],
            "invalid_grant",
        ),
        ("another without its secret", vec![("client_id", web.clone())], "invalid_client"),
        ("no application", vec![("client_id", "x".to_owned())], "invalid_client"),
    ] {
        let text = code(&mut visitor, &id).await;
        let changed: Vec<(&str, &str)> =
            changed.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (_, answer) = exchanged(&town, &id, &text, &changed).await;
        assert_eq!(answer, json!({ "error": expected }), "{what}");
    }
    // A wrong try of the application itself uses the code up.
    let text = code(&mut visitor, &id).await;
    exchanged(&town, &id, &text, &[("code_verifier", "x")]).await;
    assert_eq!(exchanged(&town, &id, &text, &[]).await.0, 400);
    // Sixty seconds.
    let text = code(&mut visitor, &id).await;
    town.platform.hand.advance_us(61 * 1_000_000);
    assert_eq!(exchanged(&town, &id, &text, &[]).await.0, 400);
    // With its secret.
    let text = code(&mut visitor, &web).await;
    assert_eq!(exchanged(&town, &web, &text, &[("client_secret", &secret)]).await.0, 200);
    // Signed out before the code is shown: nothing.
    let text = code(&mut visitor, &id).await;
    let account = visitor.get("/account").await;
    visitor.post("/account", &[("form", &account.hidden("form")), ("step", "sign_out")]).await;
    assert_eq!(exchanged(&town, &id, &text, &[]).await.0, 400);
}

#[tokio::test]
async fn applications_are_registered_and_taken_away_by_who_may() {
    let town = town().await;
    for bad in [
        json!({"name": "a", "kind": "public", "redirect_uris": []}),
        json!({"name": "a", "kind": "public", "redirect_uris": ["http://app.example/"]}),
        json!({"name": "a", "kind": "public", "redirect_uris": ["javascript:alert(1)"]}),
        json!({"name": "", "kind": "public", "redirect_uris": [BACK]}),
        json!({"name": "a", "kind": "other", "redirect_uris": [BACK]}),
    ] {
        assert_eq!(town.post("/v1/applications?tenant=acme", bad.clone()).await.0, 422, "{bad}");
    }
    let mut visitor = signed_in(&town).await;
    let (id, _) = application(&town, "acme", "public").await;
    let listed = town.get("/v1/applications?tenant=acme").await;
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
    let own = format!("/v1/applications/{id}");
    assert_eq!(town.get(&format!("{own}?tenant=acme")).await["kind"], json!("public"));
    let gone = async |tenant: &str| {
        town.platform.call(&town.operator, "DELETE", &format!("{own}?tenant={tenant}"), None).await.0
    };
    let text = code(&mut visitor, &id).await;
    assert_eq!(gone("bolt").await, 404);
    assert_eq!(gone("acme").await, 204);
    assert_eq!(gone("acme").await, 404);
    assert_eq!(exchanged(&town, &id, &text, &[]).await.0, 401, "its codes are void");
    let known = visitor.get("/.well-known/oauth-authorization-server").await;
    let known: Value = serde_json::from_str(&known.text).expect("JSON");
    assert_eq!(known["issuer"], json!("http://127.0.0.1:8081"));
    assert_eq!(known["code_challenge_methods_supported"], json!(["S256"]));
}
