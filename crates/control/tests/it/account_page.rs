//! The page of one's own account, and the sign-in's enrolment: what is mistyped loses nothing.

use serde_json::json;

use crate::factors::mailed_code;
use crate::organisation::{send, shows, signed_in};
use crate::people::{Town, refresh, town};
use crate::sign_in::{PASSWORD, code_now};
use crate::visitor::{Seen, Visitor};

const ANA: &str = "ana@acme.example";
const OTHER: &str = "a field of seven blue kites";
const NEXT: &str = "/account/sign_in/next";

async fn stage() -> Town {
    let town = town().await;
    town.member("acme", ANA, &["user"]).await;
    refresh(&town.platform).await;
    town
}

/// The key that a page of an enrolment shows.
fn key_of(seen: &Seen) -> String {
    let rest = seen.text.split_once("Key: <code>").map(|(_, rest)| rest);
    let key = rest.and_then(|rest| rest.split('<').next());
    key.unwrap_or_else(|| panic!("no key: {} {}", seen.status, seen.text)).to_owned()
}

#[tokio::test]
async fn a_mistyped_first_code_keeps_the_key_that_was_scanned() {
    let town = stage().await;
    let mut ana = signed_in(&town, ANA).await;
    let begun = send(&mut ana, "/account", &[("step", "add")]).await;
    let (key, factor) = (key_of(&begun), begun.hidden("factor"));
    let with = |code: &'static str| [("step", "confirm"), ("factor", factor.as_str()), ("code", code)];
    for _ in 0..2 {
        let seen = send(&mut ana, "/account", &with("000000")).await;
        assert_eq!((seen.status, key_of(&seen), seen.hidden("factor")), (401, key.clone(), factor.clone()));
        assert!(seen.text.contains("<svg"), "{}", seen.text);
    }
    let code = code_now(&town, &key);
    let right = [("step", "confirm"), ("factor", factor.as_str()), ("code", code.as_str())];
    shows(&send(&mut ana, "/account", &right).await, "Keep these recovery codes");
    // Once it is confirmed nobody is shown the key again.
    let seen = send(&mut ana, "/account", &with("000000")).await;
    assert!(seen.status >= 400 && !seen.text.contains(&key), "{} {}", seen.status, seen.text);
}

#[tokio::test]
async fn a_mistyped_first_code_in_a_sign_in_keeps_the_key_too() {
    let town = stage().await;
    let policy = json!({"mfa": "required", "mfa_grace_days": 0, "factors": ["totp"]});
    let call = ("PUT", "/v1/sign_in_policy?tenant=acme");
    let set = town.platform.call_with(&town.operator, call, Some(("if-match", "\"0\"")), Some(policy)).await;
    assert_eq!(set.0, 200, "{}", set.1);
    refresh(&town.platform).await;
    let mut ana = Visitor::new(&town.platform);
    let form = ana.sign_in(ANA, PASSWORD).await.hidden("form");
    shows(&ana.post(NEXT, &[("form", &form), ("step", "mail")]).await, "A code is on its way.");
    let mailed = mailed_code(&town).await;
    let shown = [("form", form.as_str()), ("step", "factor"), ("factor", "email_code"), ("code", &mailed)];
    shows(&ana.post(NEXT, &shown).await, "Set it up");
    let begun = ana.post(NEXT, &[("form", &form), ("step", "enrol")]).await;
    let (key, factor) = (key_of(&begun), begun.hidden("factor"));
    let wrong = [("form", form.as_str()), ("step", "factor"), ("factor", &factor), ("code", "000000")];
    let seen = ana.post(NEXT, &wrong).await;
    assert_eq!((seen.status, key_of(&seen), seen.hidden("factor")), (401, key.clone(), factor.clone()));
    // Another browser has no part in it.
    let mut other = Visitor::new(&town.platform);
    other.sign_in(ANA, PASSWORD).await;
    let form_there = other.get("/account/sign_in").await.hidden("form");
    let theirs = [("form", form_there.as_str()), ("step", "factor"), ("factor", &factor), ("code", "000000")];
    assert!(!other.post(NEXT, &theirs).await.text.contains(&key));
    let code = code_now(&town, &key);
    let right = [("form", form.as_str()), ("step", "factor"), ("factor", &factor), ("code", &code)];
    shows(&ana.post(NEXT, &right).await, "Keep these recovery codes");
}

#[tokio::test]
async fn a_changed_password_is_said_to_be_changed_and_a_short_one_only_to_be_short() {
    let town = stage().await;
    let mut ana = signed_in(&town, ANA).await;
    let short = [("step", "password"), ("present", PASSWORD), ("password", "kite")];
    let seen = send(&mut ana, "/account", &short).await;
    shows(&seen, "at least 15 characters");
    assert!(seen.status == 422 && !seen.text.contains("mostly runs"), "{} {}", seen.status, seen.text);
    let change = [("step", "password"), ("present", PASSWORD), ("password", OTHER)];
    let seen = send(&mut ana, "/account", &change).await;
    assert_eq!(seen.status, 200, "{}", seen.text);
    shows(&seen, "Your password is changed.");
    assert_ne!(send(&mut ana, "/account", &change).await.status, 200, "the one before is none any more");
}
