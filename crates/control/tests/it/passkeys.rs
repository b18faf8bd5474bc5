//! Security keys and passkeys: they sign in, they are one person's, each answer works once, and every lie over HTTP is refused.

#[path = "../../../domain/src/identity/webauthn/authenticator.rs"]
mod authenticator;

use authenticator::{Answer, Authenticator};
use serde_json::{Value, json};

use crate::people::{Town, refresh, town};
use crate::sign_in::{PASSWORD, code_of};

const MAIL: &str = "ana@acme.example";
const OTHER: &str = "bob@acme.example";
const ORIGIN: &str = "http://127.0.0.1:8081";
const PARTY: &str = "127.0.0.1";

fn challenge(options: &Value) -> String {
    options["challenge"].as_str().expect("a challenge").to_owned()
}

fn handle(options: &Value) -> Vec<u8> {
    use base64::Engine as _;
    let text = options["user"]["id"].as_str().expect("a user handle");
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

async fn creation(town: &Town, done: &Value, kind: &str) -> Value {
    let path = "/v1/me/factors/passkey/options";
    let (status, options) = town.as_person(done, "POST", path, Some(json!({ "kind": kind }))).await;
    assert_eq!(status, 200, "{options}");
    options
}

async fn add(town: &Town, done: &Value, kind: &str, answer: &Answer) -> (u16, Value) {
    let body = json!({ "kind": kind, "label": "Mine", "credential": answer.json() });
    town.as_person(done, "POST", "/v1/me/factors/passkey", Some(body)).await
}

/// Enrols a key of a person who is signed in.
async fn enrolled(town: &Town, done: &Value, kind: &str) -> (Authenticator, Value) {
    let options = creation(town, done, kind).await;
    let mut own = Authenticator::new(ORIGIN, PARTY, false);
    own.user_handle = Some(handle(&options));
    let (status, made) = add(town, done, kind, &own.create(&challenge(&options))).await;
    assert_eq!(status, 201, "{made}");
    (own, made)
}

async fn asked(town: &Town, flow: &str) -> Value {
    let (status, options) = town.nobody(&format!("/v1/sign_in/{flow}/passkey/options"), json!({})).await;
    assert_eq!(status, 200, "{options}");
    options
}

async fn show(town: &Town, flow: &str, answer: &Answer) -> (u16, Value) {
    town.nobody(&format!("/v1/sign_in/{flow}/passkey"), json!({ "credential": answer.json() })).await
}

async fn start(town: &Town) -> (String, String) {
    let (status, started) = town.nobody("/v1/sign_in", json!({})).await;
    assert_eq!((status, &started["offer"]), (200, &json!(["passkey"])), "{started}");
    let flow = started["flow"].as_str().expect("a flow").to_owned();
    let options = asked(town, &flow).await;
    assert_eq!(options["allowCredentials"], json!([]));
    assert_eq!((&options["rpId"], &options["userVerification"]), (&json!(PARTY), &json!("required")));
    (flow, challenge(&options))
}

/// Signs in with nothing but the passkey.
async fn by_passkey(town: &Town, own: &mut Authenticator) -> (u16, Value) {
    let (flow, challenge) = start(town).await;
    let answer = own.get(&challenge);
    show(town, &flow, &answer).await
}

async fn people(town: &Town) -> (Value, Value) {
    town.member("acme", MAIL, &[]).await;
    town.member("acme", OTHER, &[]).await;
    refresh(&town.platform).await;
    (town.signed_in(MAIL).await, town.signed_in(OTHER).await)
}

#[tokio::test]
async fn a_passkey_signs_in_alone_and_each_answer_once() {
    let town = town().await;
    let (ana, _) = people(&town).await;
    let (mut own, made) = enrolled(&town, &ana, "passkey").await;
    assert_eq!(made["recovery_codes"].as_array().map(Vec::len), Some(10));
    let (flow, first) = start(&town).await;
    let answer = own.get(&first);
    let (status, done) = show(&town, &flow, &answer).await;
    assert_eq!((status, &done["state"], &done["assurance"]), (200, &json!("done"), &json!(3)), "{done}");
    let (status, me) = town.me(&done).await;
    assert_eq!((status, &me["email"], &me["assurance"]), (200, &json!(MAIL), &json!("3")), "{me}");
    assert_ne!(show(&town, &flow, &answer).await.0, 200, "the same sign-in again");
    let (other, _) = start(&town).await;
    assert_eq!(
        code_of(&show(&town, &other, &answer).await),
        (401, "identity.credentials_wrong"),
        "in another"
    );
    // Two at once with one answer: one is in.
    let (flow, challenge) = start(&town).await;
    let answer = own.get(&challenge);
    let (a, b) = tokio::join!(show(&town, &flow, &answer), show(&town, &flow, &answer));
    assert_eq!([a.0, b.0].iter().filter(|status| **status == 200).count(), 1, "{a:?} {b:?}");
    // A name may be said beside it; another person's does not fit.
    for (name, status) in [(MAIL, 200), (OTHER, 401), ("nobody@acme.example", 401)] {
        let flow = town.flow(name, Some("acme")).await;
        let answer = own.get(&self::challenge(&asked(&town, &flow).await));
        assert_eq!(show(&town, &flow, &answer).await.0, status, "{name}");
    }
    // Taken away it is nobody's.
    let factor = made["factor"].as_str().expect("an id");
    let removed = town.as_person(&ana, "DELETE", &format!("/v1/me/factors/{factor}"), None).await;
    assert_eq!(removed.0, 204, "{removed:?}");
    assert_eq!(code_of(&by_passkey(&town, &mut own).await), (401, "identity.credentials_wrong"));
}

#[tokio::test]
async fn a_security_key_is_a_second_factor_and_nothing_alone() {
    let town = town().await;
    let (ana, bob) = people(&town).await;
    let (mut own, _) = enrolled(&town, &ana, "security_key").await;
    own.flags = 1;
    assert_eq!(code_of(&by_passkey(&town, &mut own).await), (401, "identity.credentials_wrong"));
    let (mut bobs, _) = enrolled(&town, &bob, "security_key").await;
    let flow = town.flow(MAIL, None).await;
    let (status, step) =
        town.nobody(&format!("/v1/sign_in/{flow}/password"), json!({ "password": PASSWORD })).await;
    assert_eq!((status, &step["factors"][0]["kind"]), (200, &json!("security_key")), "{step}");
    let options = asked(&town, &flow).await;
    assert_eq!(
        options["allowCredentials"].as_array().map(Vec::len),
        Some(1),
        "only the person's own: {options}"
    );
    let foreign = bobs.get(&challenge(&options));
    assert_eq!(
        code_of(&show(&town, &flow, &foreign).await),
        (401, "identity.code_wrong"),
        "another person's key"
    );
    let late = own.get(&challenge(&options));
    assert_eq!(
        code_of(&show(&town, &flow, &late).await),
        (401, "identity.code_wrong"),
        "a wrong answer used it up"
    );
    let answer = own.get(&challenge(&asked(&town, &flow).await));
    let (status, done) = show(&town, &flow, &answer).await;
    assert_eq!((status, &done["assurance"]), (200, &json!(3)), "{done}");
    assert_eq!(show(&town, &flow, &answer).await.0, 410);
}

#[tokio::test]
async fn a_key_that_counts_back_is_refused_and_told() {
    let town = town().await;
    let (ana, _) = people(&town).await;
    let (mut own, _) = enrolled(&town, &ana, "passkey").await;
    assert_eq!(by_passkey(&town, &mut own).await.0, 200);
    own.count = 1;
    assert_eq!(code_of(&by_passkey(&town, &mut own).await), (401, "identity.credentials_wrong"));
    assert_eq!(by_passkey(&town, &mut own).await.0, 200, "the true one goes on");
}

type Lie = (&'static str, fn(&mut Authenticator));

#[tokio::test]
async fn every_lie_is_refused_and_enrols_nothing() {
    let town = town().await;
    let (ana, bob) = people(&town).await;
    let lies: [Lie; 8] = [
        ("another site", |own| own.origin = "https://evil.example".into()),
        ("another port", |own| own.origin = "http://127.0.0.1:8082".into()),
        ("https for http", |own| own.origin = "https://127.0.0.1:8081".into()),
        ("another relying party", |own| own.relying_party = "evil.example".into()),
        ("nobody touched it", |own| own.flags = 0b100),
        ("nobody was verified", |own| own.flags = 0b001),
        ("backed up, not eligible", |own| own.flags = 0b1_0101),
        ("in a frame", |own| own.cross_origin = true),
    ];
    for (what, lie) in lies {
        let options = creation(&town, &ana, "passkey").await;
        let mut own = Authenticator::new(ORIGIN, PARTY, false);
        lie(&mut own);
        let refused = add(&town, &ana, "passkey", &own.create(&challenge(&options))).await;
        assert_eq!(code_of(&refused), (401, "identity.code_wrong"), "{what}");
    }
    let options = creation(&town, &ana, "passkey").await;
    let own = Authenticator::new(ORIGIN, PARTY, true);
    let answer = own.create(&challenge(&options));
    assert_eq!(add(&town, &bob, "passkey", &answer).await.0, 401, "in another person's session");
    assert_eq!(add(&town, &ana, "security_key", &answer).await.0, 401, "as another kind");
    assert_eq!(add(&town, &ana, "passkey", &answer).await.0, 201);
    assert_eq!(add(&town, &ana, "passkey", &answer).await.0, 401, "the challenge is used up");
    let options = creation(&town, &bob, "passkey").await;
    let refused = add(&town, &bob, "passkey", &own.create(&challenge(&options))).await;
    assert_eq!(code_of(&refused), (409, "identity.factor_wrong_state"), "a credential is one person's");
    // Too late.
    let options = creation(&town, &bob, "passkey").await;
    town.platform.hand.advance_us(301 * 1_000_000);
    let own = Authenticator::new(ORIGIN, PARTY, true);
    assert_eq!(add(&town, &bob, "passkey", &own.create(&challenge(&options))).await.0, 401, "five minutes");
    let (_, mine) = town.as_person(&bob, "GET", "/v1/me/factors", None).await;
    assert_eq!(mine["items"], json!([]));
    for (what, lie) in lies {
        let done = town.signed_in(OTHER).await;
        let (mut own, made) = enrolled(&town, &done, "passkey").await;
        lie(&mut own);
        let refused = by_passkey(&town, &mut own).await;
        assert_eq!(code_of(&refused), (401, "identity.credentials_wrong"), "{what}");
        let path = format!("/v1/me/factors/{}", made["factor"].as_str().expect("an id"));
        assert_eq!(town.as_person(&done, "DELETE", &path, None).await.0, 204);
    }
}

#[tokio::test]
async fn a_tenant_that_asks_for_keys_gets_keys_and_nobody_is_shut_out() {
    let town = town().await;
    town.member("acme", MAIL, &[]).await;
    refresh(&town.platform).await;
    let before = town.signed_in(MAIL).await;
    let policy = json!({"mfa": "phishing_resistant", "mfa_grace_days": 0, "factors": ["totp", "passkey", "security_key"]});
    let path = "/v1/sign_in_policy?tenant=acme";
    let set = town
        .platform
        .call_with(&town.operator, ("PUT", path), Some(("if-match", "\"0\"")), Some(policy))
        .await;
    assert_eq!(set.0, 200, "{}", set.1);
    assert_eq!(code_of(&town.refreshed(&before["refresh_token"]).await).0, 400, "what was proven less ends");
    let flow = town.flow(MAIL, None).await;
    let (status, step) =
        town.nobody(&format!("/v1/sign_in/{flow}/password"), json!({ "password": PASSWORD })).await;
    assert_eq!((status, &step["state"]), (200, &json!("second_factor")), "a mailed code guards: {step}");
    let early = town.nobody(&format!("/v1/sign_in/{flow}/enrol/passkey/options"), json!({})).await;
    assert_eq!(code_of(&early), (409, "identity.factor_wrong_state"));
    assert_eq!(town.nobody(&format!("/v1/sign_in/{flow}/code"), json!({})).await.0, 202);
    let code = crate::factors::mailed_code(&town).await;
    let body = json!({"factor": "email_code", "code": code});
    let (status, step) = town.nobody(&format!("/v1/sign_in/{flow}/factor"), body).await;
    assert_eq!((status, &step["allowed"]), (200, &json!(["passkey", "security_key"])), "{step}");
    assert_eq!(town.nobody(&format!("/v1/sign_in/{flow}/enrol"), json!({})).await.0, 409, "no code program");
    let (status, options) =
        town.nobody(&format!("/v1/sign_in/{flow}/enrol/passkey/options"), json!({})).await;
    assert_eq!(status, 200, "{options}");
    let mut own = Authenticator::new(ORIGIN, PARTY, false);
    own.user_handle = Some(handle(&options));
    let body = json!({"credential": own.create(&challenge(&options)).json()});
    let (status, done) = town.nobody(&format!("/v1/sign_in/{flow}/enrol/passkey"), body).await;
    assert_eq!((status, &done["state"], &done["assurance"]), (200, &json!("done"), &json!(3)), "{done}");
    assert_eq!(done["recovery_codes"].as_array().map(Vec::len), Some(10));
    let (_, mine) = town.as_person(&done, "GET", "/v1/me/factors", None).await;
    let id = mine["items"][0]["id"].as_str().expect("an id");
    let last = town.as_person(&done, "DELETE", &format!("/v1/me/factors/{id}"), None).await;
    assert_eq!(code_of(&last), (409, "identity.last_factor"));
    // A step up with it.
    town.platform.hand.advance_us(601 * 1_000_000);
    let token = town.refreshed(&done["refresh_token"]).await.1;
    let stale = town.as_person(&token, "POST", "/v1/me/factors/recovery_codes", None).await;
    assert_eq!(code_of(&stale), (401, "identity.step_up_required"));
    let (status, options) = town.as_person(&token, "POST", "/v1/me/step_up/options", None).await;
    assert_eq!(status, 200, "{options}");
    let answer = own.get(&challenge(&options));
    let body = json!({"credential": answer.json()});
    let (status, raised) = town.as_person(&token, "POST", "/v1/me/step_up", Some(body.clone())).await;
    assert_eq!((status, &raised["assurance"]), (200, &json!(3)), "{raised}");
    assert_eq!(town.as_person(&token, "POST", "/v1/me/step_up", Some(body)).await.0, 401, "once");
    assert_eq!(town.as_person(&raised, "POST", "/v1/me/factors/recovery_codes", None).await.0, 200);
    // Who lost it comes back with a recovery code, and enrols another.
    let flow = town.flow(MAIL, None).await;
    town.nobody(&format!("/v1/sign_in/{flow}/password"), json!({ "password": PASSWORD })).await;
    let (_, codes) = town.as_person(&raised, "POST", "/v1/me/factors/recovery_codes", None).await;
    let body = json!({"factor": "recovery_code", "code": codes["recovery_codes"][0]});
    let (status, step) = town.nobody(&format!("/v1/sign_in/{flow}/factor"), body).await;
    assert_eq!((status, &step["state"]), (200, &json!("enrol")), "{step}");
}
