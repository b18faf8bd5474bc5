//! What a connection must be.

use std::collections::BTreeMap;

use rowhouse_domain::refusal::{Refusal, kind};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::outbound::check_url;

/// Connections of one tenant.
pub const CONNECTIONS_MAX: usize = 10;

/// A connection to a provider, as its administrator sets it up.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionBody {
    /// 1 to 60 characters; it stands on the sign-in page.
    pub name: String,
    /// The provider's issuer, to the byte: an https address. Its discovery document lies below it.
    pub issuer: String,
    /// What the provider calls us.
    pub client_id: String,
    /// What we show the provider. Left out when the connection is changed: the one from before. Never told again.
    #[serde(default)]
    pub client_secret: Option<String>,
    /// Whether there is no secret: PKCE alone.
    #[serde(default)]
    pub is_public: bool,
    /// Domains of the addresses that may come in, up to 20; each counts only while the tenant has proven it (`/v1/hosts`).
    #[serde(default)]
    pub email_domains: Vec<String>,
    /// Roles of everybody who comes in.
    #[serde(default)]
    pub roles: Vec<String>,
    /// The claim that says more roles, as in `groups`.
    #[serde(default)]
    pub role_claim: Option<String>,
    /// Which roles each value of that claim gives.
    #[serde(default)]
    pub role_map: BTreeMap<String, Vec<String>>,
    /// Whether who is new becomes a member at the first sign-in.
    #[serde(default = "yes")]
    pub creates_members: bool,
    /// Whether `mfa` or `hwk` in the provider's `amr` counts as a second factor.
    #[serde(default)]
    pub proves_mfa: bool,
    /// Whether an address is taken as verified if the provider does not say `email_verified`. If it says no, it is no.
    #[serde(default)]
    pub assumes_verified: bool,
}

fn yes() -> bool {
    true
}

/// The body with domains in lower case, if all of it is well-formed.
pub fn check(mut body: ConnectionBody) -> Result<ConnectionBody, Refusal> {
    for domain in &mut body.email_domains {
        *domain = domain.trim().trim_end_matches('.').to_ascii_lowercase();
    }
    body.email_domains.sort_unstable();
    body.email_domains.dedup();
    let short = |text: &str, most: usize| {
        (1..=most).contains(&text.chars().count())
            && !text.chars().any(char::is_control)
            && text.trim() == text
    };
    let ascii = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && text.bytes().all(|b| (0x20..0x7f).contains(&b))
    };
    let domain = |text: &String| {
        let label =
            |own: &str| !own.is_empty() && own.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        text.len() <= 253 && text.contains('.') && text.split('.').all(label)
    };
    let maps = body
        .role_map
        .iter()
        .all(|(value, roles)| short(value, 255) && !roles.is_empty() && roles.len() <= 20);
    let faults = [
        (short(&body.name, 60), "/name", "1 to 60 characters"),
        (
            check_url(&body.issuer).is_ok() && !body.issuer.contains('?') && body.issuer.len() <= 1_024,
            "/issuer",
            "an address as in https://login.acme.com, as the provider's discovery document says it",
        ),
        (ascii(&body.client_id, 255), "/client_id", "1 to 255 characters"),
        (
            body.client_secret.as_deref().is_none_or(|own| ascii(own, 1_024)),
            "/client_secret",
            "1 to 1,024 characters",
        ),
        (!body.is_public || body.client_secret.is_none(), "/client_secret", "none where `is_public`"),
        (
            body.email_domains.len() <= 20 && body.email_domains.iter().all(domain),
            "/email_domains",
            "up to 20, as in acme.com",
        ),
        (body.roles.len() <= 20, "/roles", "up to 20"),
        (body.role_claim.as_deref().is_none_or(|own| short(own, 255)), "/role_claim", "the name of a claim"),
        (body.role_map.len() <= 100 && maps, "/role_map", "up to 100 values with 1 to 20 roles each"),
        (
            body.role_map.is_empty() || body.role_claim.is_some(),
            "/role_claim",
            "needed where `role_map` is set",
        ),
    ];
    let wrong: Vec<_> = faults.iter().filter(|(sound, ..)| !sound).collect();
    if wrong.is_empty() {
        return Ok(body);
    }
    let refusal = Refusal::new(&kind::CONNECTION_INVALID, "The connection is not well-formed.");
    Err(wrong.iter().fold(refusal, |refusal, (_, at, what)| refusal.field(*at, "invalid", *what)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn body(change: impl FnOnce(&mut Value)) -> ConnectionBody {
        let mut body = json!({"name": "Acme", "issuer": "https://login.acme.example", "client_id": "rowhouse",
            "client_secret": "s", "email_domains": ["Acme.Example."], "roles": ["user"]});
        change(&mut body);
        serde_json::from_value(body).expect("the shape is right")
    }

    #[test]
    fn each_field_has_its_bounds() {
        assert_eq!(check(body(|_| ())).expect("it is well-formed").email_domains, ["acme.example"]);
        let cases: [(&str, Value); 10] = [
            ("name", json!("")),
            ("name", json!("x".repeat(61))),
            ("issuer", json!("acme")),
            ("issuer", json!("https://a.example/?x")),
            ("client_id", json!("")),
            ("client_secret", json!("ä")),
            ("is_public", json!(true)),
            ("email_domains", json!(["localhost"])),
            ("email_domains", json!(["*.acme.example"])),
            ("role_map", json!({"a": ["user"]})),
        ];
        for (name, value) in cases {
            let refused = check(body(|own| own[name] = value.clone()));
            assert_eq!(refused.expect_err(name).code(), "identity.connection_invalid", "{name}: {value}");
        }
    }
}
