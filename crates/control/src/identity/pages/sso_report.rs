//! What a test of single sign-on found, in words: who would come in, and with what.

use serde_json::Value;

/// One line of it: what it is about, and what is so.
pub type Line = (&'static str, String);

/// The lines for a result as the API tells it; none for a test that did not come to an answer of the provider.
pub fn lines(result: &Value) -> Vec<Line> {
    let claims = &result["claims"];
    if !claims.is_object() {
        return Vec::new();
    }
    let told = |name: &str| claims[name].as_str().map(str::to_owned);
    let who = [("Name", told("name")), ("Known there as", told("sub")), ("The provider", told("iss"))];
    let who = who.into_iter().filter_map(|(title, text)| Some((title, text?)));
    let mut lines = vec![("They would be", would_be(result)), ("Address", address(claims))];
    lines.extend(who);
    lines.push(("Roles that follow", roles(result)));
    lines.push(("Second factor", second_factor(result)));
    lines
}

/// What the test warns of.
pub fn warnings(result: &Value) -> Vec<String> {
    let all = result["warnings"].as_array().into_iter().flatten();
    all.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// All that the provider said, as it was, for who looks for more.
pub fn claims(result: &Value) -> String {
    match result["claims"].is_object() {
        true => serde_json::to_string_pretty(&result["claims"]).unwrap_or_default(),
        false => String::new(),
    }
}

fn would_be(result: &Value) -> String {
    let words = match result["user"].as_str() {
        Some("linked") => "the person here who is connected with this account already",
        Some("known") => "the person here who has this address, connected with it from then on",
        Some("new") => "somebody new, who becomes a member",
        _ => "nobody: they would not get in",
    };
    words.to_owned()
}

fn address(claims: &Value) -> String {
    let verified = claims["email_verified"] == true || claims["email_verified"] == "true";
    match (claims["email"].as_str(), verified) {
        (Some(email), true) => format!("{email}, verified as the provider says"),
        (Some(email), false) => format!("{email}; the provider does not say that it is verified"),
        (None, _) => "none: the provider does not send the claim email".to_owned(),
    }
}

fn roles(result: &Value) -> String {
    let all = result["roles"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let all: Vec<&str> = all.collect();
    match all.is_empty() {
        true => "none: they would see their own account alone".to_owned(),
        false => all.join(", "),
    }
}

fn second_factor(result: &Value) -> String {
    let words = match result["second_factor"] == true {
        true => "shown at the provider; it counts here",
        false => "not shown at the provider: who needs one is asked for it here",
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_says_who_would_come_in_and_with_what() {
        let result = json!({ "ok": true, "user": "new", "roles": ["user", "clerk"], "second_factor": true,
            "claims": { "iss": "https://login.example", "sub": "u-1", "email": "ana@acme.example", "email_verified": true } });
        let said = lines(&result);
        let of = |title: &str| said.iter().find(|(own, _)| *own == title).map(|(_, text)| text.as_str());
        assert_eq!(of("They would be"), Some("somebody new, who becomes a member"));
        assert_eq!(of("Address"), Some("ana@acme.example, verified as the provider says"));
        assert_eq!((of("Known there as"), of("Name")), (Some("u-1"), None));
        assert_eq!(of("Roles that follow"), Some("user, clerk"));
        assert_eq!(of("Second factor"), Some("shown at the provider; it counts here"));
    }

    #[test]
    fn what_is_missing_is_said() {
        let said = lines(&json!({ "ok": false, "roles": [], "claims": { "sub": "u-1" } }));
        let text: Vec<&str> = said.iter().map(|(_, text)| text.as_str()).collect();
        assert!(text.contains(&"nobody: they would not get in"), "{text:?}");
        assert!(text.contains(&"none: the provider does not send the claim email"), "{text:?}");
        assert!(lines(&json!({ "ok": false, "refused_because": "away" })).is_empty());
        assert_eq!(claims(&json!({ "ok": false })), "");
    }
}
