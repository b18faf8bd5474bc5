//! A person, from the invitation to the end of the session: invited, in with a password and an authenticator, served at the gateway
//! with what was granted, refused there at once when it is taken away.

use std::time::Instant;

use http::Method;
use rowhouse_domain::identity::TotpSecret;
use serde_json::{Value, json};

use crate::platform::{Call, PATIENCE, Platform, shared, text};

const PASSWORD: &str = "correct horse battery staple";

/// Without a credential.
async fn nobody(platform: &Platform, path: &str, body: Value) -> (u16, Value) {
    let seen = platform.try_control(Call::post(path, body)).await.expect("an answer");
    (seen.status, seen.body)
}

async fn person(platform: &Platform, token: &str, call: Call) -> (u16, Value) {
    let seen = platform.try_control(call.header("authorization", &format!("Bearer {token}"))).await;
    let seen = seen.expect("an answer");
    (seen.status, seen.body)
}

/// The link in the mail that went to `address`, once it is there.
pub async fn mailed(platform: &Platform, address: &str) -> String {
    let folder = platform.data_dir().join("messages");
    let begun = Instant::now();
    let mut beat = tokio::time::interval(std::time::Duration::from_millis(25));
    loop {
        beat.tick().await;
        let files = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut texts = files.filter_map(|file| std::fs::read_to_string(file.path()).ok());
        let told = texts.find(|text| text.contains(&format!("To: {address}")) && text.contains("token="));
        if let Some(told) = told {
            let told = told.replace("=\r\n", "").replace("=3D", "=");
            let (_, rest) = told.split_once("token=").expect("it is there");
            return rest.chars().take_while(char::is_ascii_hexdigit).collect();
        }
        assert!(begun.elapsed() < PATIENCE, "no mail to {address}");
    }
}

/// The code of the running half minute, or of one before or after.
fn code(secret: &str, steps: i64) -> String {
    const BASE32: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits: Vec<u8> = secret
        .chars()
        .map(|c| BASE32.find(c).expect("base 32") as u8)
        .flat_map(|value| (0..5).rev().map(move |bit| (value >> bit) & 1))
        .collect();
    let bytes: Vec<u8> =
        bits.chunks(8).map(|eight| eight.iter().fold(0, |byte, bit| byte << 1 | bit)).collect();
    let now_s = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs() as i64;
    let secret = TotpSecret::new(bytes.try_into().expect("160 bits"));
    format!("{:06}", secret.code(now_s.div_euclid(30) + steps))
}

async fn with_password(platform: &Platform, address: &str, password: &str) -> (u16, Value) {
    let (status, flow) = nobody(platform, "/v1/sign_in", json!({ "identifier": address })).await;
    assert_eq!(status, 200, "{flow}");
    let path = format!("/v1/sign_in/{}/password", text(&flow["flow"]));
    let (status, mut answer) = nobody(platform, &path, json!({ "password": password })).await;
    answer["flow"] = flow["flow"].clone();
    (status, answer)
}

#[tokio::test]
async fn a_person_is_invited_signs_in_twice_over_is_served_and_refused_when_it_is_taken_away() {
    let platform = shared().await;
    let tenant = platform.tenant("signed-in", "basic", "shared").await;
    let address = "ana@signed-in.example";
    let invite = json!({ "email": address, "roles": ["developer"] });
    platform.operate(Call::post("/v1/invitations?tenant=signed-in", invite)).await;
    let token = mailed(platform, address).await;
    let accept = json!({ "token": token, "full_name": "Ana Ito", "password": PASSWORD });
    let (status, accepted) = nobody(platform, "/v1/invitations/accept", accept.clone()).await;
    assert_eq!(status, 200, "{accepted}");
    assert_ne!(nobody(platform, "/v1/invitations/accept", accept).await.0, 200, "a link works once");
    let user = text(&accepted["user"]);

    // In with the password; an authenticator; in again with both.
    let (status, wrong) = with_password(platform, address, "not it at all, sorry").await;
    assert_eq!(status, 401, "{wrong}");
    let (status, done) = with_password(platform, address, PASSWORD).await;
    assert_eq!((status, text(&done["state"])), (200, "done".to_owned()), "{done}");
    let first = text(&done["access_token"]);
    let (status, factor) =
        person(platform, &first, Call::post("/v1/me/factors/totp", json!({ "label": "Phone" }))).await;
    assert_eq!(status, 201, "{factor}");
    let secret = text(&factor["secret"]);
    let confirm = json!({ "factor": factor["factor"], "code": code(&secret, -1) });
    let (status, confirmed) =
        person(platform, &first, Call::post("/v1/me/factors/totp/confirm", confirm)).await;
    assert_eq!(status, 200, "{confirmed}");
    let (status, step) = with_password(platform, address, PASSWORD).await;
    assert_eq!(
        (status, text(&step["state"])),
        (200, "second_factor".to_owned()),
        "the password alone is not enough"
    );
    let path = format!("/v1/sign_in/{}/factor", text(&step["flow"]));
    let show = |code: String| json!({ "factor": factor["factor"], "code": code });
    assert_eq!(nobody(platform, &path, show("000000".to_owned())).await.0, 401);
    let (status, done) = nobody(platform, &path, show(code(&secret, 0))).await;
    assert_eq!((status, text(&done["state"])), (200, "done".to_owned()), "{done}");
    let token = text(&done["access_token"]);

    // Served at the gateway with what was granted, and in no other tenant.
    let other = platform.tenant("signed-elsewhere", "basic", "shared").await;
    let bearer = format!("Bearer {token}");
    let notes = |code: &str| {
        Call::get("/v1/notes/7").header("host", &format!("{code}.localhost")).header("authorization", &bearer)
    };
    platform.until(200, || notes(&tenant.code)).await;
    let seen = platform.gateway(notes(&tenant.code)).await;
    assert_eq!(seen.body["headers"]["rowhouse-tenant"], tenant.id.as_str());
    assert!(seen.body["headers"]["authorization"].is_null(), "the token stays at the gateway");
    assert_ne!(platform.gateway(notes(&other.code)).await.status, 200);

    // Taken away and given again, many times: how long until the gateway refuses.
    let grants = platform.operate(Call::get(&format!("/v1/grants?tenant=signed-in&principal={user}"))).await;
    let mut grant = text(&grants["items"][0]["id"]);
    let mut took_ms = Vec::new();
    for _ in 0..20 {
        let begun = Instant::now();
        platform.operate(Call::get(&format!("/v1/grants/{grant}")).method(Method::DELETE)).await;
        platform.until(403, || notes(&tenant.code)).await;
        took_ms.push(begun.elapsed().as_millis());
        let again = json!({ "principal": { "kind": "user", "id": user }, "role": "developer" });
        grant = text(&platform.operate(Call::post("/v1/grants?tenant=signed-in", again)).await["id"]);
        platform.until(200, || notes(&tenant.code)).await;
    }
    took_ms.sort_unstable();
    eprintln!("revoked in {took_ms:?} ms, with the call that revokes; the goal is 250");

    // The session ends, and with it the token.
    let (status, _) = person(platform, &token, Call::get("/v1/me")).await;
    assert_eq!(status, 200);
    let (status, out) = person(platform, &token, Call::post("/v1/me/sign_out", json!({}))).await;
    assert!(status < 300, "{status} {out}");
    platform.until(401, || notes(&tenant.code)).await;
}
