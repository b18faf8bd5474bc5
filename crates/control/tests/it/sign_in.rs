//! Signing in: it works, it refuses, it cannot be guessed, nobody learns who exists, what has ended is over at once.

use rowhouse_domain::id::SessionId;
use rowhouse_domain::identity::TotpSecret;
use serde_json::{Value, json};

use crate::people::{Town, refresh, town};

pub const PASSWORD: &str = "correct horse battery staple";
const MAIL: &str = "ana@acme.example";

impl Town {
    /// Without a credential.
    pub async fn nobody(&self, path: &str, body: Value) -> (u16, Value) {
        self.platform.call_as_nobody("POST", path, body).await
    }

    pub async fn flow(&self, identifier: &str, tenant: Option<&str>) -> String {
        let body = json!({"identifier": identifier, "tenant": tenant});
        let (status, started) = self.nobody("/v1/sign_in", body).await;
        assert_eq!(status, 200, "{started}");
        started["flow"].as_str().expect("a flow").to_owned()
    }

    pub async fn try_password(&self, identifier: &str, password: &str) -> (u16, Value) {
        let flow = self.flow(identifier, None).await;
        self.nobody(&format!("/v1/sign_in/{flow}/password"), json!({ "password": password })).await
    }

    /// Signed in with the password alone.
    pub async fn signed_in(&self, identifier: &str) -> Value {
        let (status, done) = self.try_password(identifier, PASSWORD).await;
        assert_eq!((status, &done["state"]), (200, &json!("done")), "{done}");
        done
    }

    pub async fn refreshed(&self, refresh_token: &Value) -> (u16, Value) {
        let form =
            format!("grant_type=refresh_token&refresh_token={}", refresh_token.as_str().expect("a token"));
        let (status, body) = self.platform.page("POST", "/oauth2/token", &form).await;
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    pub async fn me(&self, done: &Value) -> (u16, Value) {
        self.platform.call(token_of(done), "GET", "/v1/me", None).await
    }

    pub async fn as_person(
        &self,
        done: &Value,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        self.platform.call(token_of(done), method, path, body).await
    }
}

pub fn token_of(done: &Value) -> &str {
    done["access_token"].as_str().expect("an access token")
}

pub fn code_of(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["code"].as_str().unwrap_or_default())
}

/// The code that an authenticator shows now.
pub fn code_now(town: &Town, secret: &str) -> String {
    let step = town.platform.control.clock().now_s().div_euclid(30);
    format!("{:06}", secret_of(secret).code(step))
}

fn secret_of(text: &str) -> TotpSecret {
    const BASE32: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let value = text.chars().map(|c| BASE32.find(c).expect("base 32") as u8);
    let bits: Vec<u8> = value.flat_map(|v| (0..5).rev().map(move |bit| (v >> bit) & 1)).collect();
    let bytes: Vec<u8> =
        bits.chunks(8).map(|eight| eight.iter().fold(0, |byte, bit| byte << 1 | bit)).collect();
    TotpSecret::new(bytes.try_into().expect("160 bits"))
}

#[tokio::test]
async fn a_person_signs_in_and_is_known_by_the_token() {
    let town = town().await;
    let user = town.member("acme", MAIL, &["tenant_admin"]).await;
    refresh(&town.platform).await;
    let done = town.signed_in("ANA@acme.example").await;
    assert_eq!(
        (&done["tenant_code"], &done["user"], &done["assurance"]),
        (&json!("acme"), &json!(user), &json!(1))
    );
    let (status, me) = town.me(&done).await;
    assert_eq!((status, &me["email"], &me["tenant"]["code"]), (200, &json!(MAIL), &json!("acme")), "{me}");
    let users = town.as_person(&done, "GET", "/v1/users", None).await;
    assert_eq!(users.0, 200, "an administrator's role is the person's own: {}", users.1);
    let other = town.as_person(&done, "GET", "/v1/users?tenant=bolt", None).await;
    assert_eq!(code_of(&other), (404, "api.not_found"), "another tenant does not exist for them");
    let stored = "SELECT count(*) FROM identity.sessions s, identity.refresh_tokens r WHERE (s::text || r::text) LIKE '%' || '";
    let secret = done["refresh_token"].as_str().expect("a token");
    assert_eq!(town.platform.ask(&format!("{stored}{secret}' || '%'")).await, "0", "only hashes are kept");
}

#[tokio::test]
async fn whatever_is_against_it_has_one_answer() {
    let town = town().await;
    town.member("acme", MAIL, &[]).await;
    let suspended = town.member("acme", "sus@acme.example", &[]).await;
    assert_eq!(town.post(&format!("/v1/users/{suspended}/suspend?tenant=acme"), json!({})).await.0, 200);
    let gone = town.member("acme", "gone@acme.example", &[]).await;
    town.platform
        .execute("UPDATE identity.users SET status = 'disabled' WHERE email = 'gone@acme.example'")
        .await;
    assert!(gone.starts_with("user_"));
    refresh(&town.platform).await;
    let elsewhere = town.flow(MAIL, Some("bolt")).await;
    let nowhere = town.flow(MAIL, Some("no-such-tenant")).await;
    let path = |flow: &str| format!("/v1/sign_in/{flow}/password");
    let mut seen = Vec::new();
    for (identifier, password) in [
        (MAIL, "wrong horse battery staple"),
        ("nobody@acme.example", PASSWORD),
        ("not an address", PASSWORD),
        ("sus@acme.example", PASSWORD),
        ("gone@acme.example", PASSWORD),
    ] {
        seen.push(town.try_password(identifier, password).await);
    }
    for flow in [elsewhere, nowhere] {
        seen.push(town.nobody(&path(&flow), json!({ "password": PASSWORD })).await);
    }
    for (status, mut body) in seen.clone() {
        body["request_id"] = Value::Null;
        let mut first = seen[0].1.clone();
        first["request_id"] = Value::Null;
        assert_eq!((status, body), (401, first));
    }
    assert_eq!(code_of(&seen[0]), (401, "identity.credentials_wrong"));
}

#[tokio::test]
async fn guessing_locks_the_name_and_the_right_password_is_not_looked_at_either() {
    let town = town().await;
    town.member("acme", MAIL, &[]).await;
    refresh(&town.platform).await;
    let trusted = {
        let flow = town.flow(MAIL, None).await;
        let body = json!({"password": PASSWORD, "trust_device": true});
        let (status, done) = town.nobody(&format!("/v1/sign_in/{flow}/password"), body).await;
        assert_eq!(status, 200, "{done}");
        done["device"].as_str().expect("a device").to_owned()
    };
    let tries = (0..20).map(|_| town.try_password(MAIL, "a guess that is wrong"));
    let tries = futures(tries).await;
    assert!(tries.iter().all(|answer| code_of(answer) == (401, "identity.credentials_wrong")));
    let counted =
        town.platform.ask("SELECT attempts FROM identity.throttles WHERE locked_until IS NOT NULL").await;
    assert_eq!(counted, "10", "of twenty at once ten were looked at");
    assert_eq!(code_of(&town.try_password(MAIL, PASSWORD).await), (401, "identity.credentials_wrong"));
    let user = town.get("/v1/users?tenant=acme").await["items"][0]["id"].as_str().expect("an id").to_owned();
    let entry = town.entry("acme", &user).await;
    assert_eq!(entry["reasons"], json!(["locked"]), "{entry}");
    // Who has been here before is not shut out.
    let flow = town.flow(MAIL, None).await;
    let body = json!({"password": PASSWORD, "device": trusted});
    let (status, done) = town.nobody(&format!("/v1/sign_in/{flow}/password"), body).await;
    assert_eq!(status, 200, "{done}");
    // And a mailed link opens the lock at once, once.
    let link = town.mailed("unlock", MAIL).await;
    for expected in [204, 410] {
        let (status, answer) = town.nobody("/v1/sign_in/unlock", json!({ "token": link })).await;
        assert_eq!(status, expected, "{answer}");
    }
    town.signed_in(MAIL).await;
    // A lock passes by itself.
    for _ in 0..10 {
        town.try_password(MAIL, "a guess that is wrong").await;
    }
    assert_eq!(town.try_password(MAIL, PASSWORD).await.0, 401);
    town.platform.hand.advance_us((31 * 60) * 1_000_000);
    town.signed_in(MAIL).await;
}

async fn futures<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = all.map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (one, slot) in running.iter_mut().zip(&mut done).filter(|(_, slot)| slot.is_none()) {
            if let std::task::Poll::Ready(output) = one.as_mut().poll(context) {
                *slot = Some(output);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_a_copy_ends_the_session() {
    let town = town().await;
    town.member("acme", MAIL, &[]).await;
    refresh(&town.platform).await;
    let done = town.signed_in(MAIL).await;
    let (status, second) = town.refreshed(&done["refresh_token"]).await;
    assert_eq!((status, &second["token_type"]), (200, &json!("Bearer")), "{second}");
    // Who did not get the answer asks once more; what followed is void.
    let (status, third) = town.refreshed(&done["refresh_token"]).await;
    assert_eq!(status, 200, "{third}");
    assert_eq!(town.me(&third).await.0, 200);
    town.platform.hand.advance_us((11) * 1_000_000);
    assert_eq!(town.refreshed(&done["refresh_token"]).await, (400, json!({"error": "invalid_grant"})));
    refresh(&town.platform).await;
    assert_eq!(code_of(&town.me(&third).await), (401, "identity.session_ended"));
    assert_eq!(town.refreshed(&third["refresh_token"]).await.0, 400, "the session is over");
    let because = "SELECT ended_because FROM identity.sessions ORDER BY session_id DESC LIMIT 1";
    assert_eq!(town.platform.ask(because).await, "refresh_token_reused");
    assert_eq!(town.refreshed(&json!("0".repeat(64))).await.0, 400);
}

/// Somebody has copied a refresh token and shows it again in time, so that what its owner was given is void. When the owner shows that, it is
/// plain that the answer had arrived, and that there are two.
#[tokio::test]
async fn a_copy_shown_in_time_ends_the_session_when_its_owner_goes_on() {
    let town = town().await;
    town.member("acme", MAIL, &[]).await;
    refresh(&town.platform).await;
    let done = town.signed_in(MAIL).await;
    let (_, owners) = town.refreshed(&done["refresh_token"]).await;
    let (_, copied) = town.refreshed(&done["refresh_token"]).await;
    assert_eq!(town.me(&copied).await.0, 200);
    assert_eq!(town.refreshed(&owners["refresh_token"]).await, (400, json!({"error": "invalid_grant"})));
    refresh(&town.platform).await;
    assert_eq!(code_of(&town.me(&copied).await), (401, "identity.session_ended"));
    assert_eq!(town.refreshed(&copied["refresh_token"]).await.0, 400);
    let because = "SELECT ended_because FROM identity.sessions ORDER BY session_id DESC LIMIT 1";
    assert_eq!(town.platform.ask(because).await, "refresh_token_reused");
}

#[tokio::test]
async fn who_is_suspended_is_out_at_once() {
    let town = town().await;
    let user = town.member("acme", MAIL, &[]).await;
    refresh(&town.platform).await;
    let done = town.signed_in(MAIL).await;
    let (status, _) = town.post(&format!("/v1/users/{user}/suspend?tenant=acme"), json!({})).await;
    assert_eq!(status, 200);
    refresh(&town.platform).await;
    assert_eq!(code_of(&town.me(&done).await), (401, "identity.session_ended"));
    assert_eq!(town.refreshed(&done["refresh_token"]).await.0, 400);
    let session: SessionId = done["session"].as_str().expect("an id").parse().expect("a session");
    let directory = town.platform.control.directory.current();
    assert!(directory.tenants.get(&town.acme).is_some_and(|tenant| tenant.has_ended(session)));
    assert!(directory.tenants.get(&town.bolt).is_some_and(|tenant| !tenant.has_ended(session)));
    // What has ended so long ago that no token is good is forgotten.
    town.platform.hand.advance_us((2 * 3_600) * 1_000_000);
    refresh(&town.platform).await;
    let directory = town.platform.control.directory.current();
    assert!(directory.tenants.get(&town.acme).is_some_and(|tenant| tenant.ended_sessions.is_empty()));
    assert_eq!(code_of(&town.me(&done).await), (401, "identity.token_expired"));
}

async fn tries(town: &Town, tenant: &str, count: usize) {
    for _ in 0..count {
        let flow = town.flow("bob@bolt.example", Some(tenant)).await;
        let path = format!("/v1/sign_in/{flow}/password");
        let answer = town.nobody(&path, json!({"password": "a guess that is wrong"})).await;
        assert_eq!(code_of(&answer), (401, "identity.credentials_wrong"));
    }
}

#[tokio::test]
async fn a_tenant_locks_nobody_who_is_not_its_own() {
    const BOB: &str = "bob@bolt.example";
    let town = town().await;
    let bob = town.member("bolt", BOB, &[]).await;
    for lockout in [
        json!({"attempts": 2, "minutes": 30}),
        json!({"attempts": 100, "minutes": 30}),
        json!({"attempts": 10, "minutes": 1}),
        json!({"attempts": 3, "minutes": 1440}),
    ] {
        assert_eq!(town.policy("acme", json!({ "lockout": lockout })).await.0, 422, "it would be a weapon");
    }
    assert_eq!(town.policy("acme", json!({"password": {"length_min": 64}})).await.0, 422);
    let set = town.policy("acme", json!({"lockout": {"attempts": 3, "minutes": 240}})).await;
    assert_eq!(set.0, 200, "{}", set.1);
    refresh(&town.platform).await;
    // At a tenant that is not theirs: their own tenant's rule, and a mail like anywhere.
    tries(&town, "acme", 9).await;
    town.signed_in(BOB).await;
    tries(&town, "acme", 10).await;
    assert_eq!(town.try_password(BOB, PASSWORD).await.0, 401);
    let link = town.mailed("unlock", BOB).await;
    assert_eq!(town.nobody("/v1/sign_in/unlock", json!({ "token": link })).await.0, 204);
    town.signed_in(BOB).await;
    // Once they belong to it, it has a say, whichever tenant is named.
    town.joins("acme", BOB, &[]).await;
    tries(&town, "bolt", 3).await;
    let entry = town.entry("bolt", &bob).await;
    assert_eq!(entry["reasons"], json!(["locked"]), "{entry}");
}

#[tokio::test]
async fn a_password_that_was_closed_is_told_of_and_an_administrator_opens_it() {
    let town = town().await;
    let bob = town.member("bolt", "bob@bolt.example", &[]).await;
    refresh(&town.platform).await;
    tries(&town, "bolt", 1).await;
    town.platform.execute("UPDATE identity.throttles SET consecutive = 99").await;
    tries(&town, "acme", 1).await;
    town.platform.hand.advance_us(31 * 60 * 1_000_000);
    assert_eq!(town.try_password("bob@bolt.example", PASSWORD).await.0, 401, "it does not pass by itself");
    while rowhouse_control::messages::turn(&town.platform.control).await.expect("a turn") {}
    let folder = std::fs::read_dir(town.platform.mail_folder()).expect("the folder");
    let mut texts =
        folder.map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).expect("a file"));
    assert!(texts.any(|text| text.replace("=\r\n", "").contains("was tried too often")), "they are told");
    assert_eq!(town.post(&format!("/v1/users/{bob}/unlock?tenant=bolt"), json!({})).await.0, 204);
    let left = town.platform.ask("SELECT consecutive FROM identity.throttles").await;
    assert_eq!(left, "50", "half of the tries are given back");
    town.signed_in("bob@bolt.example").await;
}
