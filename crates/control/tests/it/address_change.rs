//! Another address for who has one: proven by its link, told to the old one, taken back, and nobody learns whose an address is.

use serde_json::{Value, json};

use crate::people::{Town, refresh, town};
use crate::sign_in::{PASSWORD, code_of};
use crate::visitor::Visitor;

const OLD: &str = "ana@acme.example";
const NEW: &str = "ana@new.example";

async fn stage() -> (Town, Value) {
    let town = town().await;
    town.member("acme", OLD, &["user"]).await;
    town.member("acme", "ben@acme.example", &["user"]).await;
    refresh(&town.platform).await;
    let done = town.signed_in(OLD).await;
    (town, done)
}

async fn ask(town: &Town, done: &Value, email: &str) -> (u16, Value) {
    town.as_person(done, "POST", "/v1/me/email", Some(json!({ "email": email }))).await
}

async fn link(town: &Town, step: &str, token: &str) -> (u16, Value) {
    town.nobody(&format!("/v1/sign_in/email/{step}"), json!({ "token": token })).await
}

fn later(town: &Town, seconds: i64) {
    town.platform.hand.advance_us(seconds * 1_000_000);
}

#[tokio::test]
async fn a_new_address_is_proven_by_its_link_and_the_old_one_signs_in_no_more() {
    let (town, done) = stage().await;
    let other = town.signed_in(OLD).await;
    for email in [OLD, "ANA@acme.example", "no address", ""] {
        assert_eq!(ask(&town, &done, email).await.0, 422, "{email}");
    }
    assert_eq!(ask(&town, &done, NEW).await, (202, Value::Null));
    assert_eq!(code_of(&ask(&town, &done, "ana@third.example").await), (429, "identity.too_many_attempts"));
    assert_eq!(town.me(&done).await.1["email"], json!(OLD), "asking changes nothing");
    let token = town.mailed("email_change_new", NEW).await;
    let keep = town.mailed("email_change_old", OLD).await;
    assert_eq!(
        code_of(&link(&town, "confirm", &keep).await),
        (410, "identity.link_used"),
        "one link is not the other"
    );
    assert_eq!(code_of(&link(&town, "keep", &token).await), (410, "identity.link_used"));
    let (a, b) = tokio::join!(link(&town, "confirm", &token), link(&town, "confirm", &token));
    let mut statuses = [a.0, b.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 410], "twice is once");
    refresh(&town.platform).await;
    let (status, me) = town.me(&done).await;
    assert_eq!((status, &me["email"], &me["email_verified"]), (200, &json!(NEW), &json!(true)), "{me}");
    assert_eq!(code_of(&town.me(&other).await), (401, "identity.session_ended"));
    assert_eq!(code_of(&town.try_password(OLD, PASSWORD).await), (401, "identity.credentials_wrong"));
    town.signed_in(NEW).await;
}

#[tokio::test]
async fn the_old_address_takes_it_back_whatever_came_after() {
    let (town, done) = stage().await;
    assert_eq!(ask(&town, &done, NEW).await.0, 202);
    let keep = town.mailed("email_change_old", OLD).await;
    assert_eq!(link(&town, "confirm", &town.mailed("email_change_new", NEW).await).await.0, 204);
    // Whoever took the account goes on to a third address, and asks for a link by which to take that back.
    later(&town, 31);
    assert_eq!(ask(&town, &done, "thief@third.example").await.0, 202);
    let third = town.mailed("email_change_new", "thief@third.example").await;
    assert_eq!(link(&town, "confirm", &third).await.0, 204);
    later(&town, 6 * 86_400);
    assert_eq!(link(&town, "keep", &keep).await.0, 204);
    assert_eq!(code_of(&link(&town, "keep", &keep).await), (410, "identity.link_used"));
    refresh(&town.platform).await;
    assert_eq!(town.me(&done).await.0, 401, "all sessions end");
    let own = town.signed_in(OLD).await;
    assert_eq!(town.me(&own).await.1["email"], json!(OLD));
    let back = town.mailed("email_change_old", NEW).await;
    assert_eq!(link(&town, "keep", &back).await.0, 410, "what came after has no way back");
    // Before it was proven, taking back is all there is to it; and links end by themselves.
    assert_eq!(ask(&town, &own, NEW).await.0, 202);
    let (new, keep) =
        (town.mailed("email_change_new", NEW).await, town.mailed("email_change_old", OLD).await);
    assert_eq!(link(&town, "keep", &keep).await.0, 204);
    assert_eq!(link(&town, "confirm", &new).await.0, 410);
    let own = town.signed_in(OLD).await;
    later(&town, 31);
    assert_eq!(ask(&town, &own, "late@new.example").await.0, 202);
    let new = town.mailed("email_change_new", "late@new.example").await;
    later(&town, 24 * 3_600);
    assert_eq!(link(&town, "confirm", &new).await.0, 410);
}

#[tokio::test]
async fn nobody_learns_whose_an_address_is_and_only_a_fresh_proof_changes_one() {
    let (town, done) = stage().await;
    let taken = ask(&town, &done, "Ben@acme.example").await;
    assert_eq!(taken, (202, Value::Null), "as for an address of nobody's");
    town.mailed("email_change_old", OLD).await;
    let mailed = "SELECT count(*) FROM messages.messages WHERE template = 'email_change_new'";
    assert_eq!(town.platform.ask(mailed).await, "0", "and its owner is not bothered");
    // Somebody comes to have it meanwhile.
    later(&town, 31);
    assert_eq!(ask(&town, &done, NEW).await.0, 202);
    let token = town.mailed("email_change_new", NEW).await;
    town.member("bolt", NEW, &["user"]).await;
    assert_eq!(code_of(&link(&town, "confirm", &token).await), (410, "identity.link_used"));
    assert_eq!(
        town.platform.ask("SELECT count(*) FROM identity.users WHERE email_key = 'ana@new.example'").await,
        "1"
    );
    later(&town, 11 * 60);
    let (_, stale) = town.refreshed(&done["refresh_token"]).await;
    assert_eq!(code_of(&ask(&town, &stale, "ana@fresh.example").await), (401, "identity.step_up_required"));
    let key = town.platform.call(&town.operator, "POST", "/v1/me/email", Some(json!({ "email": NEW }))).await;
    assert_eq!(key.0, 403, "{}", key.1);
}

#[tokio::test]
async fn what_was_asked_in_a_session_that_was_ended_is_proven_no_more() {
    let (town, done) = stage().await;
    let asked = async |email: &str, session: &Value| {
        later(&town, 31);
        assert_eq!(ask(&town, session, email).await.0, 202);
        (town.mailed("email_change_new", email).await, town.mailed("email_change_old", OLD).await)
    };
    let refused = async |token: &str| {
        assert_eq!(code_of(&link(&town, "confirm", token).await), (410, "identity.link_used"));
        let stands = "SELECT count(*) FROM identity.users WHERE email_key = 'ana@acme.example'";
        assert_eq!(town.platform.ask(stands).await, "1");
    };
    // The owner sets another password: what was asked in any session is void, also in the one that goes on.
    let (one, keep) = asked("one@thief.example", &done).await;
    const OTHER: &str = "quite another harbour 77 moss";
    let other = json!({ "present": PASSWORD, "password": OTHER });
    let changed = town.as_person(&done, "POST", "/v1/me/password", Some(other)).await;
    assert_eq!(changed.0, 204, "{}", changed.1);
    refused(&one).await;
    // And the way back is still one.
    assert_eq!(link(&town, "keep", &keep).await.0, 204);
    let enter = async || {
        let (status, done) = town.try_password(OLD, OTHER).await;
        assert_eq!(status, 200, "{done}");
        refresh(&town.platform).await;
        done
    };
    // The session is signed out.
    let done = enter().await;
    let (two, _) = asked("two@thief.example", &done).await;
    assert_eq!(town.as_person(&done, "POST", "/v1/me/sign_out", None).await.0, 204);
    refused(&two).await;
    let done = enter().await;
    let (three, _) = asked("three@thief.example", &done).await;
    let (_, me) = town.me(&done).await;
    let user = me["id"].as_str().expect("an id").to_owned();
    assert_eq!(town.post(&format!("/v1/users/{user}/reset_factors?tenant=acme"), json!({})).await.0, 204);
    refused(&three).await;
    let done = enter().await;
    let (four, _) = asked("four@thief.example", &done).await;
    let (status, told) = town.post(&format!("/v1/users/{user}/suspend?tenant=acme"), json!({})).await;
    assert_eq!(status, 200, "{told}");
    refused(&four).await;
}

#[tokio::test]
async fn the_pages_change_an_address_too() {
    let (town, _) = stage().await;
    let mut ana = Visitor::new(&town.platform);
    ana.sign_in(OLD, PASSWORD).await;
    let form = ana.get("/account").await.hidden("form");
    let asked = ana.post("/account", &[("form", &form), ("step", "email"), ("email", NEW)]).await;
    assert!(asked.text.contains("a link is on its way"), "{}", asked.text);
    let token = town.mailed("email_change_new", NEW).await;
    let path = format!("/account/email/confirm?token={token}");
    let page = ana.get(&path).await;
    assert_eq!(ana.get("/account").await.text.matches(NEW).count(), 0, "opening a link uses nothing up");
    let form = page.hidden("form");
    let done = ana.post(&path, &[("form", &form), ("token", &token)]).await;
    assert!(done.text.contains("This is your address now."), "{}", done.text);
    assert!(ana.get("/account").await.text.contains(NEW), "the session that asked goes on");
}
