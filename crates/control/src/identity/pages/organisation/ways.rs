//! What would come of it if a person signed in now, in words.

use serde_json::{Value, json};

/// The words of an explanation (`POST /v1/users/{id}/explain_sign_in`): each way in, what shuts them all, and what can be done.
pub fn in_words(explained: &Value) -> Value {
    let list = |name: &str| explained[name].as_array().cloned().unwrap_or_default();
    let ways: Vec<Value> = list("ways").iter().filter_map(way).collect();
    let words = |name: &str, word: fn(&str) -> &'static str| -> Vec<&'static str> {
        list(name).iter().filter_map(Value::as_str).map(word).collect()
    };
    json!({
        "ways": ways,
        "reasons": words("reasons", reason),
        "exits": words("exits", exit),
        "enrol_until": explained["enrol_until"],
        "locked_until": explained["locked_until"],
    })
}

/// One way; none for what the person merely has not got, where nobody would miss it.
fn way(way: &Value) -> Option<Value> {
    let first = match way["first"].as_str()? {
        "password" => "With the password",
        "passkey" => "With a passkey",
        _ => "By single sign-on",
    };
    let kinds = way["one_of"].as_array().into_iter().flatten();
    let kinds: Vec<&str> = kinds.filter_map(Value::as_str).map(proof).collect();
    let (is_open, leads) = match way["leads"].as_str()? {
        "done" => (true, "they are in".to_owned()),
        "second_factor" => (true, format!("then {}", one_of(&kinds))),
        "enrol" => (true, format!("then they set up {}", one_of(&kinds))),
        _ => (false, closed(way["why"].as_str()?)?.to_owned()),
    };
    Some(json!({ "first": first, "leads": leads, "is_open": is_open }))
}

fn one_of(kinds: &[&str]) -> String {
    match kinds {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [before @ .., last] => format!("{} or {last}", before.join(", ")),
    }
}

fn proof(kind: &str) -> &'static str {
    match kind {
        "totp" => "a code of an authenticator",
        "sms_code" => "a code by text message",
        "email_code" => "a code by e-mail",
        "recovery_code" => "a recovery code",
        "security_key" => "a security key or passkey",
        _ => "a passkey",
    }
}

fn closed(why: &str) -> Option<&'static str> {
    match why {
        "no_password" => Some("they have set none"),
        "password_locked" => Some("it is locked after too many wrong tries"),
        "password_closed" => Some("it is closed after very many wrong tries"),
        "single_sign_on_only" => Some("not taken: your policy takes single sign-on only"),
        "not_connected" => {
            Some("their account at your provider is not connected, and their address alone does not do it")
        }
        _ => None,
    }
}

fn reason(word: &str) -> &'static str {
    match word {
        "user_disabled" => "Their account is disabled.",
        "membership_suspended" => "They are kept out of your organisation.",
        "tenant_not_active" => "Your organisation is not served at the moment.",
        _ => "Too many tries came from their address.",
    }
}

fn exit(word: &str) -> &'static str {
    match word {
        "wait" => "They wait.",
        "mailed_link" => "They open the link in the mail about the lock.",
        "reset_password" => "They set a new password by “I forgot my password” on the sign-in page.",
        "unlock" => "You unlock the password, below.",
        "connect" => "They come in another way and connect your provider on their account's page.",
        "change_policy" => {
            "You take single sign-on alone out of the sign-in policy until they have connected your provider on their account's page."
        }
        "resume" => "You let them enter again, below.",
        _ => "You ask who runs this service.",
    }
}
