//! Second factors, policies, passwords set anew, and pages: they work once, and what attacks them is refused.

use serde_json::{Value, json};

use crate::people::{Town, refresh, town};
use crate::sign_in::{PASSWORD, code_now, code_of, token_of};

const MAIL: &str = "ana@acme.example";
const OTHER: &str = "a field of seven blue kites";

/// Enrols an authenticator; its id, secret and the recovery codes.
pub async fn enrolled(town: &Town, done: &Value) -> (String, String, Vec<String>) {
    let (status, made) =
        town.as_person(done, "POST", "/v1/me/factors/totp", Some(json!({"label": "Phone"}))).await;
    assert_eq!(status, 201, "{made}");
    let text = |name: &str| made[name].as_str().expect("text").to_owned();
    assert!(text("qr_svg").contains("<svg") && text("uri").starts_with("otpauth://totp/"));
    let (factor, secret) = (text("factor"), text("secret"));
    let wrong = json!({"factor": factor, "code": "000000"});
    let refused = town.as_person(done, "POST", "/v1/me/factors/totp/confirm", Some(wrong)).await;
    assert_eq!(code_of(&refused), (401, "identity.code_wrong"));
    let body = json!({"factor": factor, "code": code_now(town, &secret)});
    let (status, confirmed) = town.as_person(done, "POST", "/v1/me/factors/totp/confirm", Some(body)).await;
    assert_eq!(status, 200, "{confirmed}");
    let codes = confirmed["recovery_codes"].as_array().expect("codes");
    assert_eq!(codes.len(), 10);
    (factor, secret, codes.iter().map(|code| code.as_str().expect("text").to_owned()).collect())
}

async fn at_factor(town: &Town) -> (String, Value) {
    let flow = town.flow(MAIL, None).await;
    let (status, step) =
        town.nobody(&format!("/v1/sign_in/{flow}/password"), json!({"password": PASSWORD})).await;
    assert_eq!((status, &step["state"]), (200, &json!("second_factor")), "{step}");
    (flow, step)
}

async fn show(town: &Town, flow: &str, factor: &str, code: &str) -> (u16, Value) {
    town.nobody(&format!("/v1/sign_in/{flow}/factor"), json!({"factor": factor, "code": code})).await
}

#[tokio::test]
async fn a_code_of_an_authenticator_works_once_whoever_asks_at_once() {
    let town = town().await;
    town.member("acme", MAIL, &[]).await;
    refresh(&town.platform).await;
    let done = town.signed_in(MAIL).await;
    let (factor, secret, _) = enrolled(&town, &done).await;
    let (flow, step) = at_factor(&town).await;
    assert_eq!(step["factors"][0]["factor"], json!(factor), "{step}");
    let used = show(&town, &flow, &factor, &code_now(&town, &secret)).await;
    assert_eq!(code_of(&used), (401, "identity.code_used"), "enrolment has used it up");
    town.platform.hand.advance_us(30 * 1_000_000);
    let (other, _) = at_factor(&town).await;
    let code = code_now(&town, &secret);
    let (a, b) = tokio::join!(show(&town, &flow, &factor, &code), show(&town, &other, &factor, &code));
    let mut statuses = [a.0, b.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401], "{a:?} {b:?}");
    let winner = if a.0 == 200 { a.1 } else { b.1 };
    assert_eq!((&winner["state"], &winner["assurance"]), (&json!("done"), &json!(2)));
    // Not after a restart either, nor an older one.
    let again = town.platform.beside();
    again.hand.advance_us(30 * 1_000_000);
    let (third, _) = at_factor(&town).await;
    let answer = again
        .call_as_nobody(
            "POST",
            &format!("/v1/sign_in/{third}/factor"),
            json!({"factor": factor, "code": code}),
        )
        .await;
    assert_eq!(code_of(&answer), (401, "identity.code_used"));
    // Five guesses end a sign-in.
    for _ in 0..4 {
        show(&town, &third, &factor, "000000").await;
    }
    assert_eq!(code_of(&show(&town, &third, &factor, "000000").await), (410, "identity.flow_over"));
}

#[tokio::test]
async fn a_recovery_code_and_a_mailed_code_work_once() {
    let town = town().await;
    town.member("acme", MAIL, &[]).await;
    refresh(&town.platform).await;
    let done = town.signed_in(MAIL).await;
    let (_, _, codes) = enrolled(&town, &done).await;
    let (flow, _) = at_factor(&town).await;
    let (status, entered) = show(&town, &flow, "recovery_code", &codes[0].to_uppercase()).await;
    assert_eq!((status, &entered["assurance"]), (200, &json!(2)), "{entered}");
    let (flow, _) = at_factor(&town).await;
    assert_eq!(code_of(&show(&town, &flow, "recovery_code", &codes[0]).await), (401, "identity.code_wrong"));
    assert_eq!(town.nobody(&format!("/v1/sign_in/{flow}/code"), json!({})).await.0, 202);
    let soon = town.nobody(&format!("/v1/sign_in/{flow}/code"), json!({})).await;
    assert_eq!(code_of(&soon), (429, "identity.too_many_attempts"));
    let code = mailed_code(&town).await;
    let (other, _) = at_factor(&town).await;
    assert_eq!(show(&town, &other, "email_code", &code).await.0, 401, "it is for one sign-in");
    assert_eq!(show(&town, &flow, "email_code", &code).await.0, 200);
    assert_eq!(show(&town, &flow, "email_code", &code).await.0, 410);
}

pub async fn mailed_code(town: &Town) -> String {
    while rowhouse_control::messages::turn(&town.platform.control).await.expect("a turn") {}
    let folder = std::fs::read_dir(town.platform.mail_folder()).expect("the folder");
    let texts = folder.map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).expect("a file"));
    let text = texts.filter(|text| text.contains("Your code is ")).last().expect("a mailed code");
    text.split("Your code is ").nth(1).expect("a code").chars().take(6).collect()
}

#[tokio::test]
async fn a_tenant_that_asks_for_a_second_factor_gets_it_and_nobody_is_shut_out() {
    let town = town().await;
    town.member("acme", MAIL, &["tenant_admin"]).await;
    refresh(&town.platform).await;
    let done = town.signed_in(MAIL).await;
    let policy = json!({"mfa": "required", "mfa_grace_days": 0, "factors": ["totp"]});
    let own = town.as_person(&done, "PUT", "/v1/sign_in_policy", Some(policy.clone())).await;
    assert_eq!(code_of(&own), (409, "identity.policy_unmet"));
    let weak = json!({"mfa": "optional", "password": {"length_min": 8}});
    assert_eq!(town.as_person(&done, "PUT", "/v1/sign_in_policy", Some(weak)).await.0, 422);
    let (status, seen) =
        town.post("/v1/sign_in_policy/preview?tenant=acme", json!({ "policy": policy })).await;
    assert_eq!((status, &seen["must_enrol"], &seen["sessions_below"]), (200, &json!(1), &json!(1)), "{seen}");
    let path = "/v1/sign_in_policy?tenant=acme";
    let operator = async |version: Option<&str>| {
        town.platform
            .call_with(
                &town.operator,
                ("PUT", path),
                version.map(|tag| ("if-match", tag)),
                Some(policy.clone()),
            )
            .await
    };
    assert_eq!(code_of(&operator(None).await), (428, "api.precondition_required"));
    assert_eq!(code_of(&operator(Some("\"3\"")).await), (412, "api.changed_meanwhile"));
    let set = operator(Some("\"0\"")).await;
    assert_eq!(set.0, 200, "{}", set.1);
    assert_eq!(code_of(&operator(Some("\"0\"")).await), (412, "api.changed_meanwhile"), "once");
    refresh(&town.platform).await;
    assert_eq!(code_of(&town.me(&done).await), (401, "identity.session_ended"), "sessions below it are over");
    // The way in: password, a mailed code that guards, enrolment.
    let (flow, step) = at_factor(&town).await;
    assert_eq!(step["factors"][0]["kind"], json!("email_code"), "{step}");
    let early = town.nobody(&format!("/v1/sign_in/{flow}/enrol"), json!({})).await;
    assert_eq!(code_of(&early), (409, "identity.factor_wrong_state"));
    assert_eq!(town.nobody(&format!("/v1/sign_in/{flow}/code"), json!({})).await.0, 202);
    let (status, step) = show(&town, &flow, "email_code", &mailed_code(&town).await).await;
    assert_eq!((status, &step["state"]), (200, &json!("enrol")), "{step}");
    let (status, made) = town.nobody(&format!("/v1/sign_in/{flow}/enrol"), json!({})).await;
    assert_eq!(status, 200, "{made}");
    let secret = made["secret"].as_str().expect("a secret");
    let (status, entered) =
        show(&town, &flow, made["factor"].as_str().expect("an id"), &code_now(&town, secret)).await;
    assert_eq!((status, &entered["assurance"]), (200, &json!(2)), "{entered}");
    assert_eq!(entered["recovery_codes"].as_array().map(Vec::len), Some(10));
    let path = format!("/v1/me/factors/{}", made["factor"].as_str().expect("an id"));
    let last = town.as_person(&entered, "DELETE", &path, None).await;
    assert_eq!(code_of(&last), (409, "identity.last_factor"));
    town.platform.hand.advance_us(11 * 60 * 1_000_000);
    let (_, fresh) = town.refreshed(&entered["refresh_token"]).await;
    let stale = town.as_person(&fresh, "POST", "/v1/me/factors/recovery_codes", Some(json!({}))).await;
    assert_eq!(code_of(&stale), (401, "identity.step_up_required"));
    let body = json!({"factor": made["factor"], "code": code_now(&town, secret)});
    let (status, raised) = town.as_person(&fresh, "POST", "/v1/me/step_up", Some(body)).await;
    assert_eq!(status, 200, "{raised}");
    let (status, codes) =
        town.as_person(&raised, "POST", "/v1/me/factors/recovery_codes", Some(json!({}))).await;
    assert_eq!(status, 200, "{codes}");
}

/// Somebody who knew the password waits to be asked for the code; the password is set anew meanwhile.
#[tokio::test]
async fn a_sign_in_that_began_with_the_former_password_is_over() {
    let town = town().await;
    town.member("acme", MAIL, &[]).await;
    refresh(&town.platform).await;
    let done = town.signed_in(MAIL).await;
    let (factor, secret, _) = enrolled(&town, &done).await;
    let (flow, _) = at_factor(&town).await;
    assert_eq!(town.nobody("/v1/sign_in/reset", json!({ "email": MAIL })).await.0, 202);
    let token = town.mailed("password_reset", MAIL).await;
    let anew = json!({"token": token, "password": OTHER});
    assert_eq!(town.nobody("/v1/sign_in/reset/confirm", anew).await.0, 204);
    town.platform.hand.advance_us(30 * 1_000_000);
    let late = show(&town, &flow, &factor, &code_now(&town, &secret)).await;
    assert_eq!(code_of(&late), (410, "identity.flow_over"), "{}", late.1);
    // The code was not used up by it.
    let again = town.flow(MAIL, None).await;
    let step = town.nobody(&format!("/v1/sign_in/{again}/password"), json!({"password": OTHER})).await;
    assert_eq!(step.1["state"], json!("second_factor"), "{}", step.1);
    assert_eq!(show(&town, &again, &factor, &code_now(&town, &secret)).await.0, 200);
}

#[tokio::test]
async fn a_password_is_set_anew_by_a_link_that_works_once_and_everything_else_ends() {
    let town = town().await;
    town.member("acme", MAIL, &[]).await;
    refresh(&town.platform).await;
    let done = town.signed_in(MAIL).await;
    for email in [MAIL, "nobody@acme.example", "no address"] {
        assert_eq!(town.nobody("/v1/sign_in/reset", json!({ "email": email })).await, (202, Value::Null));
    }
    // The same is written down for who exists and who does not, and nothing of an address that nobody has is kept.
    let asked = "SELECT count(*), count(user_id), count(hint), count(DISTINCT length(content) / 100) FROM messages.messages \
                 WHERE template = 'password_reset' AND audience = 'holder' AND state = 'queued'";
    let of =
        |what: &str| format!("SELECT {what} FROM ({asked}) AS asked (all_of_them, users, hints, lengths)");
    let asked = of("format('%s %s %s %s', all_of_them, users, hints, lengths)");
    assert_eq!(town.platform.ask(&asked).await, "2 0 0 1");
    let links = "SELECT count(*) FROM identity.links WHERE purpose = 'reset'";
    assert_eq!(town.platform.ask(links).await, "0", "whose it is is asked later");
    let token = town.mailed("password_reset", MAIL).await;
    let left = "SELECT string_agg(audience || ' ' || state, ',') FROM messages.messages WHERE template = 'password_reset'";
    assert_eq!(town.platform.ask(left).await, "address sent");
    let confirm = |password: &str| json!({"token": token, "password": password});
    let weak = town.nobody("/v1/sign_in/reset/confirm", confirm("short")).await;
    assert_eq!(code_of(&weak), (422, "identity.password_weak"));
    let same = town.nobody("/v1/sign_in/reset/confirm", confirm(PASSWORD)).await;
    assert_eq!(code_of(&same), (422, "identity.password_weak"), "it was used before");
    let (first, second) = (confirm(OTHER), confirm(OTHER));
    let (a, b) = tokio::join!(
        town.nobody("/v1/sign_in/reset/confirm", first),
        town.nobody("/v1/sign_in/reset/confirm", second)
    );
    let mut statuses = [a.0, b.0];
    statuses.sort_unstable();
    assert_eq!(statuses[0], 204, "{a:?} {b:?}");
    assert!([410, 422].contains(&statuses[1]), "{a:?} {b:?}");
    assert_eq!(
        code_of(&town.nobody("/v1/sign_in/reset/confirm", confirm("one more good password")).await).0,
        410
    );
    refresh(&town.platform).await;
    assert_eq!(code_of(&town.me(&done).await), (401, "identity.session_ended"));
    assert_eq!(town.try_password(MAIL, PASSWORD).await.0, 401);
    let (status, entered) = town.try_password(MAIL, OTHER).await;
    assert_eq!(status, 200, "{entered}");
    // Who knows the present one changes it, and keeps this session.
    let body = json!({"present": "not this one at all", "password": "one more good password"});
    let refused = town.as_person(&entered, "POST", "/v1/me/password", Some(body)).await;
    assert_eq!(code_of(&refused), (401, "identity.credentials_wrong"));
    let body = json!({"present": OTHER, "password": "one more good password"});
    assert_eq!(town.as_person(&entered, "POST", "/v1/me/password", Some(body)).await.0, 204);
    refresh(&town.platform).await;
    assert_eq!(town.me(&entered).await.0, 200);
}

#[tokio::test]
async fn another_person_and_another_tenant_reach_nothing() {
    let town = town().await;
    town.member("acme", MAIL, &["tenant_admin"]).await;
    let bob = town.member("bolt", "bob@bolt.example", &["tenant_admin"]).await;
    refresh(&town.platform).await;
    let (ana, theirs) = (town.signed_in(MAIL).await, town.signed_in("bob@bolt.example").await);
    let session = theirs["session"].as_str().expect("an id");
    for (method, path) in [
        ("DELETE", format!("/v1/me/sessions/{session}")),
        ("DELETE", format!("/v1/sessions/{session}")),
        ("POST", format!("/v1/users/{bob}/unlock")),
        ("POST", format!("/v1/users/{bob}/reset_factors")),
        ("GET", "/v1/sign_in_policy?tenant=bolt".to_owned()),
    ] {
        let answer = town.as_person(&ana, method, &path, (method == "POST").then(|| json!({}))).await;
        assert_eq!(answer.0, 404, "{method} {path}: {}", answer.1);
    }
    let (_, list) = town.as_person(&ana, "GET", &format!("/v1/sessions?user={bob}"), None).await;
    assert_eq!(list["items"], json!([]));
    let machine = town.platform.call(&town.operator, "GET", "/v1/me", None).await;
    assert_eq!(code_of(&machine), (403, "access.denied"), "a key is no person");
    assert_eq!(town.me(&theirs).await.0, 200);
    let turned = town.as_person(&ana, "POST", "/v1/token_keys/turn", Some(json!({}))).await;
    assert!([403, 404].contains(&turned.0));
    assert_eq!(town.post("/v1/token_keys/turn", json!({})).await.0, 200);
    refresh(&town.platform).await;
    assert_eq!(code_of(&town.me(&ana).await), (401, "identity.token_invalid"));
    let (status, fresh) = town.refreshed(&ana["refresh_token"]).await;
    assert_eq!(
        (status, town.me(&fresh).await.0),
        (200, 200),
        "the session goes on: {}",
        token_of(&fresh).len()
    );
}

#[tokio::test]
async fn a_form_that_is_not_from_our_own_page_is_not_taken() {
    let town = town().await;
    town.member("acme", MAIL, &[]).await;
    refresh(&town.platform).await;
    let (status, page) = town.platform.page("GET", "/account/sign_in", "").await;
    assert_eq!(status, 200);
    let ours = "<script src=\"/account/passkey.js\" defer></script>";
    assert!(page.contains("name=\"form\"") && !page.replacen(ours, "", 1).contains("<script"), "{page}");
    let form = format!("identifier=ana%40acme.example&password={}", PASSWORD.replace(' ', "+"));
    for sent in [form.clone(), format!("{form}&form=0000")] {
        let (status, page) = town.platform.page("POST", "/account/sign_in", &sent).await;
        assert_eq!(status, 403, "{page}");
    }
    assert_eq!(town.platform.ask("SELECT count(*) FROM identity.sessions").await, "0");
    let (status, _) = town.platform.page("POST", "/account", "step=sign_out").await;
    assert_eq!(status, 303, "nobody is signed in");
}

async fn mailed_codes(town: &Town) -> std::collections::HashSet<String> {
    while rowhouse_control::messages::turn(&town.platform.control).await.expect("a turn") {}
    let folder = std::fs::read_dir(town.platform.mail_folder()).expect("the folder");
    let texts = folder.map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).expect("a file"));
    let code = |text: String| Some(text.split("Your code is ").nth(1)?.chars().take(6).collect());
    texts.filter_map(code).collect()
}

/// The code that the session of `done` is mailed.
async fn own_code(town: &Town, done: &Value) -> String {
    let before = mailed_codes(town).await;
    town.platform.hand.advance_us(31 * 1_000_000);
    let (status, sent) = town.as_person(done, "POST", "/v1/me/step_up/code", None).await;
    assert_eq!(status, 202, "{sent}");
    mailed_codes(town).await.into_iter().find(|code| !before.contains(code)).expect("another code")
}

async fn signed_in_at(town: &Town, name: &str, tenant: &str) -> Value {
    let flow = town.flow(name, Some(tenant)).await;
    let path = format!("/v1/sign_in/{flow}/password");
    let (status, done) = town.nobody(&path, json!({ "password": PASSWORD })).await;
    assert_eq!((status, &done["state"]), (200, &json!("done")), "{done}");
    done
}

async fn step_up(town: &Town, done: &Value, body: Value) -> (u16, Value) {
    town.as_person(done, "POST", "/v1/me/step_up", Some(body)).await
}

/// What a change of how one signs in is answered.
async fn changes(town: &Town, done: &Value, factor: &str, code: &str) -> Vec<(u16, Value)> {
    let mut answers = Vec::new();
    for (method, path, body) in [
        ("POST", "/v1/me/factors/recovery_codes".to_owned(), json!({})),
        ("POST", "/v1/me/factors/totp".to_owned(), json!({"label": "mine"})),
        ("POST", "/v1/me/factors/totp/confirm".to_owned(), json!({"factor": factor, "code": code})),
        ("POST", "/v1/me/factors/passkey/options".to_owned(), json!({})),
        ("DELETE", format!("/v1/me/factors/{factor}"), Value::Null),
        ("POST", "/v1/me/password".to_owned(), json!({"present": PASSWORD, "password": OTHER})),
    ] {
        let body = Some(body).filter(|body| !body.is_null());
        answers.push(town.as_person(done, method, &path, body).await);
    }
    answers
}

#[tokio::test]
async fn a_lax_tenant_makes_nobodys_second_factor_void_elsewhere() {
    let town = town().await;
    town.member("acme", MAIL, &[]).await;
    town.joins("bolt", MAIL, &["tenant_admin"]).await;
    assert_eq!(town.policy("acme", json!({"mfa": "off"})).await.0, 200);
    let strict = json!({"mfa": "required", "mfa_grace_days": 0, "step_up_min": 5});
    let set = town.policy("bolt", strict).await;
    assert_eq!(set.0, 200, "{}", set.1);
    refresh(&town.platform).await;
    // Who owns nothing yet shows a mailed code, as bolt asks for before it lets them enrol.
    let done = signed_in_at(&town, MAIL, "acme").await;
    let early = town.as_person(&done, "POST", "/v1/me/factors/totp", Some(json!({}))).await;
    assert_eq!(code_of(&early), (401, "identity.step_up_required"));
    assert_eq!(step_up(&town, &done, json!({"password": PASSWORD})).await.0, 200);
    let early = town.as_person(&done, "POST", "/v1/me/factors/totp", Some(json!({}))).await;
    assert_eq!(code_of(&early), (401, "identity.step_up_required"), "a password is not it");
    let code = own_code(&town, &done).await;
    let wrong = if code == "000000" { "000001" } else { "000000" };
    let refused = step_up(&town, &done, json!({ "email_code": wrong })).await;
    assert_eq!(code_of(&refused), (401, "identity.code_wrong"));
    let late = step_up(&town, &done, json!({ "email_code": code })).await;
    assert_eq!(code_of(&late), (401, "identity.code_wrong"), "one answer, right or wrong");
    let other = signed_in_at(&town, MAIL, "acme").await;
    let code = own_code(&town, &done).await;
    let theirs = step_up(&town, &other, json!({ "email_code": code })).await;
    assert_eq!(code_of(&theirs), (401, "identity.code_wrong"), "it is for one session");
    let (status, done) = step_up(&town, &done, json!({ "email_code": code })).await;
    assert_eq!(status, 200, "{done}");
    let (factor, secret, codes) = enrolled(&town, &done).await;
    // Who has the password alone changes nothing, whatever the tenant they come by asks for.
    town.platform.hand.advance_us(31 * 1_000_000);
    let lax = signed_in_at(&town, MAIL, "acme").await;
    assert_eq!(lax["assurance"], json!(1));
    let refused = |answers: Vec<(u16, Value)>| {
        assert!(
            answers.iter().all(|answer| code_of(answer) == (401, "identity.step_up_required")),
            "{answers:#?}"
        );
    };
    refused(changes(&town, &lax, &factor, &code_now(&town, &secret)).await);
    let less = step_up(&town, &lax, json!({"password": PASSWORD})).await;
    assert_eq!(code_of(&less), (409, "identity.factor_wrong_state"));
    // Nor is a mailed code a factor: none is sent, none that was sent before is taken, and the answer says what to show.
    let sent = mailed_codes(&town).await.len();
    town.platform.hand.advance_us(31 * 1_000_000);
    let less = town.as_person(&lax, "POST", "/v1/me/step_up/code", None).await;
    assert_eq!(code_of(&less), (409, "identity.factor_wrong_state"));
    assert!(less.1["detail"].as_str().expect("words").contains("recovery code"), "{}", less.1);
    assert_eq!(mailed_codes(&town).await.len(), sent);
    let less = step_up(&town, &lax, json!({ "email_code": "123456" })).await;
    assert_eq!(code_of(&less), (409, "identity.factor_wrong_state"));
    refused(changes(&town, &lax, &factor, &code_now(&town, &secret)).await);
    let flow = town.flow(MAIL, Some("bolt")).await;
    let (_, step) = town.nobody(&format!("/v1/sign_in/{flow}/password"), json!({"password": PASSWORD})).await;
    assert_eq!((&step["state"], &step["factors"][0]["factor"]), (&json!("second_factor"), &json!(factor)));
    // Who owns the factor, or a recovery code, shows it there too; the shortest of the tenants' times decides.
    let guess = step_up(&town, &lax, json!({"recovery_code": "aaaa-aaaa-aaaa-aaaa"})).await;
    assert_eq!(code_of(&guess), (401, "identity.code_wrong"));
    let (status, raised) = step_up(&town, &lax, json!({"recovery_code": codes[0]})).await;
    assert_eq!(status, 200, "{raised}");
    assert_eq!(step_up(&town, &other, json!({"recovery_code": codes[0]})).await.0, 401, "once");
    let made = town.as_person(&raised, "POST", "/v1/me/factors/recovery_codes", None).await;
    assert_eq!(made.0, 200, "{}", made.1);
    town.platform.hand.advance_us(301 * 1_000_000);
    refused(changes(&town, &raised, &factor, &code_now(&town, &secret)).await);
    let body = json!({"factor": factor, "code": code_now(&town, &secret)});
    let (status, raised) = step_up(&town, &raised, body).await;
    assert_eq!(status, 200, "{raised}");
    let made = town.as_person(&raised, "POST", "/v1/me/factors/recovery_codes", None).await;
    assert_eq!(made.0, 200, "{}", made.1);
    let body = json!({"present": PASSWORD, "password": OTHER});
    assert_eq!(town.as_person(&raised, "POST", "/v1/me/password", Some(body)).await.0, 204);
}

#[tokio::test]
async fn an_operators_person_enrols_nothing_with_a_lax_tenants_password() {
    let town = town().await;
    let operator = rowhouse_domain::id::OPERATOR_TENANT.to_string();
    town.member("acme", MAIL, &[]).await;
    assert_eq!(town.policy("acme", json!({"mfa": "off"})).await.0, 200);
    refresh(&town.platform).await;
    let done = signed_in_at(&town, MAIL, "acme").await;
    let alone = town.as_person(&done, "POST", "/v1/me/factors/totp", Some(json!({}))).await;
    assert_eq!(alone.0, 201, "of one tenant: {}", alone.1);
    town.joins(&operator, MAIL, &["platform_admin"]).await;
    let refused = town.as_person(&done, "POST", "/v1/me/factors/totp", Some(json!({}))).await;
    assert_eq!(code_of(&refused), (401, "identity.step_up_required"));
    let body = json!({"factor": alone.1["factor"], "code": "000000"});
    let refused = town.as_person(&done, "POST", "/v1/me/factors/totp/confirm", Some(body)).await;
    assert_eq!(
        code_of(&refused),
        (401, "identity.step_up_required"),
        "what was begun before is not confirmed"
    );
    let code = own_code(&town, &done).await;
    let (status, raised) = step_up(&town, &done, json!({ "email_code": code })).await;
    assert_eq!(status, 200, "{raised}");
    enrolled(&town, &raised).await;
}

#[tokio::test]
async fn what_a_tenant_does_not_take_still_guards_the_enrolment_of_what_it_does() {
    let town = town().await;
    town.member("acme", MAIL, &[]).await;
    let key = "INSERT INTO identity.factors (factor_id, user_id, kind, label, state, created_at) \
               SELECT gen_random_uuid(), user_id, 'security_key', '', 'active', now() FROM identity.users";
    town.platform.execute(key).await;
    let policy = json!({"mfa": "required", "mfa_grace_days": 0, "factors": ["totp"]});
    assert_eq!(town.policy("acme", policy).await.0, 200);
    refresh(&town.platform).await;
    let (flow, step) = at_factor(&town).await;
    assert_eq!(step["factors"][0]["kind"], json!("security_key"), "{step}");
    let path = format!("/v1/sign_in/{flow}/enrol");
    assert_ne!(town.nobody(&path, json!({})).await.0, 200);
    assert_eq!(town.nobody(&format!("/v1/sign_in/{flow}/code"), json!({})).await.0, 202);
    let (status, step) = show(&town, &flow, "email_code", &mailed_code(&town).await).await;
    assert_eq!((status, &step["state"]), (200, &json!("second_factor")), "{step}");
    assert_ne!(town.nobody(&path, json!({})).await.0, 200);
}

#[tokio::test]
async fn factors_of_who_is_suspended_elsewhere_are_not_one_tenants_to_take() {
    let town = town().await;
    let ana = town.member("acme", MAIL, &[]).await;
    town.joins("bolt", MAIL, &[]).await;
    town.member("acme", "adm@acme.example", &["tenant_admin"]).await;
    refresh(&town.platform).await;
    let administrator = town.signed_in("adm@acme.example").await;
    let path = format!("/v1/users/{ana}/reset_factors");
    let reset = async || town.as_person(&administrator, "POST", &path, Some(json!({}))).await;
    assert_eq!(code_of(&reset().await), (403, "access.denied"));
    assert_eq!(town.post(&format!("/v1/users/{ana}/suspend?tenant=bolt"), json!({})).await.0, 200);
    assert_eq!(code_of(&reset().await), (403, "access.denied"), "bolt may resume them");
    let gone = format!("/v1/users/{ana}?tenant=bolt");
    assert_eq!(town.platform.call(&town.operator, "DELETE", &gone, None).await.0, 200);
    assert_eq!(reset().await.0, 204, "nobody else's any more");
}
