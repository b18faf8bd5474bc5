//! Applications: a person allows one, it gets a session for a code, once; and what attacks the way there is refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::overtaken::until_somebody_waits;
use crate::people::{Town, refresh, town};
use crate::sign_in::{PASSWORD, code_of, token_of};
use crate::visitor::{Seen, Visitor, encoded};

const MAIL: &str = "ana@acme.example";
const BACK: &str = "https://app.example/back";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))
}

async fn application(town: &Town, tenant: &str, kind: &str) -> (String, Option<String>) {
    registered(town, tenant, kind, &[]).await
}

async fn registered(town: &Town, tenant: &str, kind: &str, permissions: &[&str]) -> (String, Option<String>) {
    let body = json!({"name": "Reports & <more>", "kind": kind, "permissions": permissions,
        "redirect_uris": [BACK, "com.example.app:/back"]});
    let (status, made) = town.post(&format!("/v1/applications?tenant={tenant}"), body).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(made["permissions"], json!(permissions));
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
    code_for(visitor, id, "").await
}

/// The tokens that an application gets of who allows it `scope`.
async fn tokens(town: &Town, visitor: &mut Visitor<'_>, id: &str, scope: &str) -> Value {
    let code = code_for(visitor, id, scope).await;
    let (status, tokens) = exchanged(town, id, &code, &[]).await;
    assert_eq!(status, 200, "{tokens}");
    tokens
}

async fn userinfo(town: &Town, tokens: &Value) -> (u16, Value) {
    town.as_person(tokens, "GET", "/oauth2/userinfo", None).await
}

async fn code_for(visitor: &mut Visitor<'_>, id: &str, scope: &str) -> String {
    let page = visitor.get(&path(id, &[("scope", scope)])).await;
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
    let (status, told) = userinfo(&town, &tokens).await;
    assert_eq!((status, &told["tenant"]), (200, &json!(town.acme.to_string())), "{told}");
    // Only the application refreshes it.
    assert_eq!(town.refreshed(&tokens["refresh_token"]).await, (401, json!({"error": "invalid_client"})));
    let shown = tokens["refresh_token"].as_str().expect("text");
    let form = encoded(&[("grant_type", "refresh_token"), ("refresh_token", shown), ("client_id", &id)]);
    assert_eq!(town.platform.page("POST", "/oauth2/token", &form).await.0, 200);
    // The same code again: somebody has a copy, and what it gave ends.
    assert_eq!(exchanged(&town, &id, &code, &[]).await, (400, json!({"error": "invalid_grant"})));
    refresh(&town.platform).await;
    assert_eq!(code_of(&userinfo(&town, &tokens).await), (401, "identity.session_ended"));
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

/// Whoever suspends has the membership, and then ends sessions: who exchanges a code holds none of them while they wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_gives_nothing_to_who_is_suspended_in_that_moment() {
    let town = town().await;
    let mut visitor = signed_in(&town).await;
    let (id, _) = application(&town, "acme", "public").await;
    let code = code(&mut visitor, &id).await;
    let (mut other, connection) =
        town.platform.config.connect(tokio_postgres::NoTls).await.expect("a connection");
    let driver = tokio::spawn(connection);
    let suspends = other.transaction().await.expect("a transaction");
    let member = "UPDATE identity.memberships SET status = 'suspended' WHERE user_id = \
                  (SELECT user_id FROM identity.users WHERE email = 'ana@acme.example')";
    assert_eq!(suspends.execute(member, &[]).await.expect("nobody has it"), 1);
    let committed = async {
        until_somebody_waits(&town).await;
        let sessions = "UPDATE identity.sessions SET ended_at = now(), ended_because = 'member_suspended' WHERE ended_at IS NULL";
        assert_eq!(suspends.execute(sessions, &[]).await.expect("nobody waits for somebody who waits"), 1);
        suspends.commit().await.expect("it commits");
    };
    let (answer, ()) = tokio::join!(exchanged(&town, &id, &code, &[]), committed);
    assert_eq!(answer, (400, json!({"error": "invalid_grant"})));
    assert_eq!(town.platform.ask("SELECT count(*) FROM identity.sessions WHERE ended_at IS NULL").await, "0");
    drop(other);
    driver.await.expect("the connection's task").expect("the connection ends well");
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

/// Each call of a person's own account, with what it takes.
fn own_account() -> Vec<(&'static str, &'static str, Option<Value>)> {
    let id = "00000000000000000000000000";
    let key = json!({"id": "AA", "rawId": "AA", "type": "public-key", "response": {"clientDataJSON": "AA", "attestationObject": "AA"}});
    let factor = format!("factor_{id}");
    let leaked = |text: String| -> &'static str { text.leak() };
    vec![
        ("GET", "/v1/me", None),
        ("GET", "/v1/me/active_roles", None),
        ("PUT", "/v1/me/active_roles", Some(json!({"active": []}))),
        ("POST", "/v1/me/email", Some(json!({"email": "other@acme.example"}))),
        ("GET", "/v1/me/factors", None),
        ("POST", "/v1/me/factors/sms", Some(json!({"number": "+4930901820"}))),
        ("POST", "/v1/me/factors/sms/confirm", Some(json!({"factor": factor, "code": "123456"}))),
        ("POST", "/v1/me/factors/passkey", Some(json!({"credential": key}))),
        ("POST", "/v1/me/factors/passkey/options", Some(json!({}))),
        ("POST", "/v1/me/factors/recovery_codes", Some(json!({}))),
        ("POST", "/v1/me/factors/totp", Some(json!({}))),
        ("POST", "/v1/me/factors/totp/confirm", Some(json!({"factor": factor, "code": "123456"}))),
        ("DELETE", leaked(format!("/v1/me/factors/{factor}")), None),
        ("POST", "/v1/me/password", Some(json!({"present": PASSWORD, "password": "another good password"}))),
        ("GET", "/v1/me/sessions", None),
        ("GET", "/v1/me/devices", None),
        ("DELETE", "/v1/me/devices/device_00000000000000000000000001", None),
        ("DELETE", leaked(format!("/v1/me/sessions/session_{id}")), None),
        ("POST", "/v1/me/sign_out", None),
        ("POST", "/v1/me/step_up", Some(json!({"password": PASSWORD}))),
        ("POST", "/v1/me/step_up/code", None),
        ("POST", "/v1/me/step_up/options", None),
        ("GET", "/v1/me/tenants", None),
    ]
}

/// What is the person's own is not the application's, however freshly she has shown who she is, and whatever it was registered with.
#[tokio::test]
async fn an_application_opens_nothing_of_the_account_of_who_let_it_in() {
    let town = town().await;
    town.member("acme", MAIL, &["tenant_admin"]).await;
    refresh(&town.platform).await;
    let mut visitor = Visitor::new(&town.platform);
    visitor.sign_in(MAIL, PASSWORD).await;
    town.joins("bolt", MAIL, &["tenant_admin"]).await;
    refresh(&town.platform).await;
    let (bare, _) = application(&town, "acme", "public").await;
    let (trusted, _) = registered(&town, "acme", "public", &["user:update", "tenant:update"]).await;
    // None is forgotten here.
    let listed = include_str!("endpoints.txt").lines().filter(|line| {
        line.split_whitespace().nth(1).is_some_and(|path| path == "/v1/me" || path.starts_with("/v1/me/"))
    });
    assert_eq!(
        listed.count(),
        own_account().len(),
        "a call of one's own account that no application may make"
    );
    for (id, scope) in [(bare.as_str(), "openid"), (trusted.as_str(), "user:update tenant:update")] {
        let first = tokens(&town, &mut visitor, id, scope).await;
        let shown = first["refresh_token"].as_str().expect("text");
        let form = encoded(&[("grant_type", "refresh_token"), ("refresh_token", shown), ("client_id", id)]);
        let (status, body) = town.platform.page("POST", "/oauth2/token", &form).await;
        assert_eq!(status, 200, "{body}");
        let refreshed: Value = serde_json::from_str(&body).expect("JSON");
        for tokens in [&first, &refreshed] {
            for (method, path, body) in own_account() {
                let answer = town.as_person(tokens, method, path, body).await;
                assert_eq!(code_of(&answer), (403, "access.denied"), "{method} {path}: {}", answer.1);
            }
            assert_eq!(userinfo(&town, tokens).await.0, 200);
        }
    }
    assert_eq!(town.platform.ask("SELECT count(*) FROM identity.factors").await, "0");
    assert_eq!(visitor.get("/account").await.status, 200, "nothing of hers has ended");
    // Nor what needs a proof of the last minutes, though she has signed in in this one.
    let own = tokens(&town, &mut visitor, &trusted, "user:update tenant:update").await;
    let user = userinfo(&town, &own).await.1["sub"].as_str().expect("an id").to_owned();
    let reset = format!("/v1/users/{user}/reset_factors");
    let answer = town.as_person(&own, "POST", &reset, Some(json!({}))).await;
    assert_eq!(code_of(&answer), (403, "access.denied"), "{}", answer.1);
    assert!(answer.1["detail"].as_str().is_some_and(|told| told.contains("application")), "{}", answer.1);
    let policy = (("PUT", "/v1/sign_in_policy"), Some(("if-match", "\"0\"")), Some(json!({"mfa": "off"})));
    let answer = town.platform.call_with(token_of(&own), policy.0, policy.1, policy.2).await;
    assert_eq!(code_of(&answer), (403, "access.denied"), "{}", answer.1);
    assert!(answer.1["detail"].as_str().is_some_and(|told| told.contains("application")), "{}", answer.1);
}

/// Of what she may administer it may what it was registered with and asks for, and she sees that before she says yes.
#[tokio::test]
async fn an_application_administers_with_what_it_was_registered_for_alone() {
    let town = town().await;
    for bad in
        ["no:such", "user", "api_key:create", "service_account:update", "issuer:manage", "*:*", "openid"]
    {
        let body = json!({"name": "a", "kind": "public", "redirect_uris": [BACK], "permissions": [bad]});
        let (status, answer) = town.post("/v1/applications?tenant=acme", body).await;
        assert_eq!(
            (status, &answer["errors"][0]["pointer"]),
            (422, &json!("/permissions")),
            "{bad}: {answer}"
        );
    }
    town.member("acme", MAIL, &["tenant_admin"]).await;
    town.member("acme", "bob@acme.example", &[]).await;
    refresh(&town.platform).await;
    let mut ana = Visitor::new(&town.platform);
    ana.sign_in(MAIL, PASSWORD).await;
    let (bare, _) = application(&town, "acme", "public").await;
    let (reader, _) = registered(&town, "acme", "public", &["user:read"]).await;
    let all = "user:read user:update invitation:create grant:create api_key:create openid";
    let page = ana.get(&path(&reader, &[("scope", all)])).await;
    assert!(page.text.contains("<code>user:read</code>"), "{}", page.text);
    for hidden in ["invitation:create", "user:update", "api_key:create"] {
        assert!(!page.text.contains(hidden), "{}", page.text);
    }
    let users = async |tokens: &Value| town.as_person(tokens, "GET", "/v1/users", None).await.0;
    assert_eq!(users(&tokens(&town, &mut ana, &bare, all).await).await, 403, "registered for nothing");
    assert_eq!(users(&tokens(&town, &mut ana, &reader, "openid").await).await, 403, "not asked for");
    let given = tokens(&town, &mut ana, &reader, all).await;
    assert_eq!(given["scope"], json!("user:read openid"));
    assert_eq!(users(&given).await, 200);
    let user = userinfo(&town, &given).await.1["sub"].as_str().expect("an id").to_owned();
    for (path, body) in [
        ("/v1/invitations", json!({"email": "eve@acme.example", "roles": ["tenant_admin"]})),
        ("/v1/keys", json!({"name": "stays", "owner": {"kind": "user", "id": user}, "roles": ["viewer"]})),
        ("/v1/applications", json!({"name": "a", "kind": "public", "redirect_uris": [BACK]})),
        ("/v1/groups", json!({"name": "chiefs"})),
    ] {
        let answer = town.as_person(&given, "POST", path, Some(body)).await;
        assert_eq!(answer.0, 403, "{path}: {}", answer.1);
    }
    // What she may not it may not.
    let mut bob = Visitor::new(&town.platform);
    bob.sign_in("bob@acme.example", PASSWORD).await;
    assert_eq!(users(&tokens(&town, &mut bob, &reader, all).await).await, 403);
    // What it does is told as hers, and as done through it.
    let (maker, _) = registered(&town, "acme", "public", &["group:create"]).await;
    let makes = tokens(&town, &mut ana, &maker, "group:create").await;
    let answer = town.as_person(&makes, "POST", "/v1/groups", Some(json!({"name": "made-by-it"}))).await;
    assert_eq!(answer.0, 201, "{}", answer.1);
    let own = town.signed_in(MAIL).await;
    let answer = town.as_person(&own, "POST", "/v1/groups", Some(json!({"name": "made-by-her"}))).await;
    assert_eq!(answer.0, 201, "{}", answer.1);
    let told = "SELECT string_agg(draft->>'actor' || ' ' || coalesce(draft->'details'->>'application', '-'), ',' ORDER BY draft->'details'->>'application' IS NULL) \
                FROM audit.outbox WHERE draft->>'event' = 'access.group_changed'";
    assert_eq!(town.platform.ask(told).await, format!("{user} {maker},{user} -"));
    // Her own token is as it was.
    assert_eq!(users(&town.signed_in(MAIL).await).await, 200);
}

/// OpenID Connect Core §5.4.
#[tokio::test]
async fn an_application_is_told_of_the_person_what_it_asked_for() {
    let town = town().await;
    let mut visitor = signed_in(&town).await;
    let (id, _) = application(&town, "acme", "public").await;
    for (scope, names) in [
        ("", vec!["sub", "tenant"]),
        ("openid", vec!["sub", "tenant"]),
        ("openid email", vec!["email", "email_verified", "sub", "tenant"]),
        ("openid profile", vec!["name", "sub", "tenant"]),
        ("profile email openid", vec!["email", "email_verified", "name", "sub", "tenant"]),
    ] {
        let own = tokens(&town, &mut visitor, &id, scope).await;
        let (status, told) = userinfo(&town, &own).await;
        let mut own: Vec<&str> = told.as_object().expect("an object").keys().map(String::as_str).collect();
        own.sort_unstable();
        assert_eq!((status, own), (200, names), "{scope}");
    }
}
