//! What would come of a sign-in is told as it then comes.

use serde_json::{Value, json};

use crate::factors::enrolled;
use crate::people::{Town, refresh, town};
use crate::sign_in::{PASSWORD, code_of};

const MAIL: &str = "ana@acme.example";

async fn explained(town: &Town, user: &str, body: Value) -> Value {
    let (status, told) = town.post(&format!("/v1/users/{user}/explain_sign_in?tenant=acme"), body).await;
    assert_eq!(status, 200, "{told}");
    told
}

/// The way that begins with `first`.
fn way<'a>(told: &'a Value, first: &str) -> &'a Value {
    let all = told["ways"].as_array().expect("ways");
    all.iter().find(|way| way["first"] == json!(first)).expect("the way")
}

/// Holds what is told of the password against what a sign-in with it does.
async fn as_it_comes(town: &Town, user: &str) -> Value {
    let told = explained(town, user, json!({})).await;
    let (status, step) = town.try_password(MAIL, PASSWORD).await;
    let by_password = way(&told, "password");
    let shown: Vec<Value> = match step["state"].as_str() {
        Some("second_factor") => {
            step["factors"].as_array().expect("factors").iter().map(|own| own["kind"].clone()).collect()
        }
        Some("enrol") => step["allowed"].as_array().expect("kinds").clone(),
        _ => Vec::new(),
    };
    match status {
        200 => {
            assert_eq!(by_password["leads"], step["state"], "{told} {step}");
            assert_eq!(by_password["one_of"].as_array().cloned().unwrap_or_default(), shown, "{told} {step}");
            assert_eq!(told["enrol_until"], step["enrol_until"], "{told} {step}");
        }
        _ => assert!(by_password["leads"] == "closed" || told["result"] == "refused", "{told} {step}"),
    }
    told
}

#[tokio::test]
async fn what_would_come_of_a_sign_in_is_told_as_it_comes() {
    let town = town().await;
    town.member("acme", "chief@acme.example", &["tenant_admin"]).await;
    let ana = town.member("acme", MAIL, &[]).await;
    refresh(&town.platform).await;
    let told = as_it_comes(&town, &ana).await;
    assert_eq!((&told["result"], &told["needed"], &told["exits"]), (&json!("done"), &json!(1), &json!([])));
    assert_eq!(way(&told, "passkey")["why"], json!("no_passkey"), "{told}");

    let strict = json!({"mfa": "required", "mfa_grace_days": 7, "factors": ["totp", "passkey"]});
    assert_eq!(town.policy("acme", strict).await.0, 200);
    let told = as_it_comes(&town, &ana).await;
    assert!(told["result"] == "done" && told["enrol_until"].is_string(), "{told}");
    town.platform.hand.advance_us(8 * 24 * 3_600 * 1_000_000);
    let told = as_it_comes(&town, &ana).await;
    assert_eq!(told["result"], json!("second_factor"), "a mailed code guards what is to be enrolled: {told}");
}

#[tokio::test]
async fn who_has_an_authenticator_is_asked_for_it_and_a_lock_is_told_with_what_opens_it() {
    let town = town().await;
    let ana = town.member("acme", MAIL, &[]).await;
    refresh(&town.platform).await;
    let done = town.signed_in(MAIL).await;
    enrolled(&town, &done).await;
    let told = as_it_comes(&town, &ana).await;
    assert_eq!(told["result"], json!("second_factor"), "{told}");
    for _ in 0..10 {
        town.try_password(MAIL, "something else altogether").await;
    }
    let told = as_it_comes(&town, &ana).await;
    assert_eq!(way(&told, "password")["why"], json!("password_locked"), "{told}");
    assert_eq!(told["exits"], json!(["wait", "mailed_link", "reset_password", "unlock"]), "{told}");
    assert!(told["result"] == "refused" && told["locked_until"].is_string(), "{told}");
    assert_eq!(told["reasons"], json!([]), "another way would be open: {told}");
    assert_eq!(town.post(&format!("/v1/users/{ana}/unlock?tenant=acme"), json!({})).await.0, 204);
    assert_eq!(as_it_comes(&town, &ana).await["result"], json!("second_factor"));
    // From somewhere that has failed too often, whoever it is.
    let here = json!({ "ip": "127.0.0.1" });
    assert_eq!(explained(&town, &ana, here.clone()).await["reasons"], json!([]));
    let closed = async || {
        let (status, started) =
            town.nobody("/v1/sign_in", json!({ "identifier": "nobody@acme.example" })).await;
        if let Some(flow) = started["flow"].as_str() {
            town.nobody(&format!("/v1/sign_in/{flow}/password"), json!({ "password": "x" })).await;
        }
        status == 429
    };
    let mut tries = 0;
    while !closed().await {
        tries += 1;
        assert!(tries <= 100, "a source is never closed");
    }
    let told = explained(&town, &ana, here).await;
    assert_eq!(told["reasons"], json!(["too_many_attempts"]), "{told}");
    assert!(told["retry_after_s"].as_u64().is_some_and(|seconds| seconds <= 600), "{told}");
    assert_eq!(explained(&town, &ana, json!({ "ip": "203.0.113.9" })).await["reasons"], json!([]));
}

#[tokio::test]
async fn who_is_kept_out_is_told_so_and_nobody_asks_about_others() {
    let town = town().await;
    let ana = town.member("acme", MAIL, &["tenant_admin"]).await;
    let ben = town.member("acme", "ben@acme.example", &["user"]).await;
    let zoe = town.member("bolt", "zoe@bolt.example", &["user"]).await;
    refresh(&town.platform).await;
    assert_eq!(town.post(&format!("/v1/users/{ben}/suspend?tenant=acme"), json!({})).await.0, 200);
    let told = explained(&town, &ben, json!({})).await;
    assert_eq!((&told["result"], &told["exits"]), (&json!("refused"), &json!(["resume"])), "{told}");
    assert_eq!(told["reasons"], json!(["membership_suspended"]), "{told}");
    // Of who belongs to another tenant there is nothing to tell, whoever asks; and who may not see people asks in vain.
    let path = |user: &str| format!("/v1/users/{user}/explain_sign_in");
    let chief = town.signed_in(MAIL).await;
    let asked = town.as_person(&chief, "POST", &path(&zoe), Some(json!({}))).await;
    let nobody =
        town.as_person(&chief, "POST", &path("user_00000000000000000000000000"), Some(json!({}))).await;
    assert_eq!(code_of(&asked), (404, "api.not_found"));
    assert_eq!(
        (asked.0, &asked.1["code"], &asked.1["detail"]),
        (nobody.0, &nobody.1["code"], &nobody.1["detail"])
    );
    let user = town.signed_in("zoe@bolt.example").await;
    let refused = town.as_person(&user, "POST", &path(&zoe), Some(json!({}))).await;
    assert_eq!(code_of(&refused), (403, "access.denied"));
    let odd = town.as_person(&chief, "POST", &path(&ben), Some(json!({ "ip": "around the corner" }))).await;
    assert_eq!(odd.0, 422, "{}", odd.1);
    let counted = "SELECT count(*) FROM identity.throttles";
    let before = town.platform.ask(counted).await;
    explained(&town, &ana, json!({ "ip": "127.0.0.1" })).await;
    assert_eq!(town.platform.ask(counted).await, before, "asking counts nothing");
}
