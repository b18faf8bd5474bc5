//! What a condition may ask for, and of which type it is: what every request has, and what the operator declares of a resource type.

use serde::{Deserialize, Serialize};
#[cfg(feature = "conditions")]
use serde_json::Value;

/// Of which type an attribute is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttributeKind {
    /// Text.
    #[serde(rename = "string")]
    Text,
    /// A whole number, 64 bits.
    #[serde(rename = "integer")]
    Integer,
    /// Yes or no.
    #[serde(rename = "bool")]
    Bool,
    /// A time, RFC 3339.
    #[serde(rename = "datetime")]
    Datetime,
    /// An address or a network.
    #[serde(rename = "ip")]
    Ip,
    /// Texts.
    #[serde(rename = "set<string>")]
    Texts,
}

impl AttributeKind {
    /// Whether a value is of it.
    #[cfg(feature = "conditions")]
    pub fn fits(self, value: &Value) -> bool {
        super::evaluate::typed(self, value).is_some()
    }

    /// The word used everywhere.
    pub fn word(self) -> &'static str {
        match self {
            AttributeKind::Text => "string",
            AttributeKind::Integer => "integer",
            AttributeKind::Bool => "bool",
            AttributeKind::Datetime => "datetime",
            AttributeKind::Ip => "ip",
            AttributeKind::Texts => "set<string>",
        }
    }
}

/// Of what an attribute is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Described {
    /// Of the thing: `resource.…`.
    #[default]
    Resource,
    /// Of who asks: `principal.…`.
    Principal,
    /// Of what is done: `context.action.…`.
    Action,
    /// Of the request: `context.…`.
    Context,
}

/// What the operator declares of a resource type's things, for conditions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attribute {
    /// `[a-z][a-z0-9_]{0,62}`.
    pub name: String,
    /// Of which type.
    #[serde(rename = "type")]
    pub kind: AttributeKind,
    /// Whether all have it: then a condition may ask for it without asking first whether it is there.
    #[serde(default)]
    pub required: bool,
    /// Of what it is.
    #[serde(default)]
    pub of: Described,
}

/// What every request has.
pub(super) const REQUEST: [(&str, AttributeKind); 8] = [
    ("ip", AttributeKind::Ip),
    ("now", AttributeKind::Datetime),
    ("mfa", AttributeKind::Bool),
    ("mfa_age_s", AttributeKind::Integer),
    ("auth_method", AttributeKind::Text),
    ("country", AttributeKind::Text),
    ("method", AttributeKind::Text),
    ("path", AttributeKind::Text),
];

/// Names that are ours.
fn is_taken(of: Described, name: &str) -> bool {
    match of {
        Described::Resource => name == "id",
        Described::Principal => matches!(name, "kind" | "id" | "groups"),
        Described::Action => false,
        Described::Context => {
            matches!(name, "action" | "params") || REQUEST.iter().any(|(own, _)| *own == name)
        }
    }
}

/// What is wrong with the attributes of a resource type: the name and why.
pub fn attribute_faults(attributes: &[Attribute]) -> Vec<(&str, &'static str)> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let mut faults = Vec::new();
    for (index, own) in attributes.iter().enumerate() {
        let name = own.name.as_str();
        let is_named = (1..=63).contains(&name.len())
            && name.as_bytes()[0].is_ascii_lowercase()
            && name.bytes().all(plain);
        if !is_named {
            faults.push((name, "[a-z][a-z0-9_]{0,62}"));
        } else if is_taken(own.of, name) {
            faults.push((name, "a name that is not ours"));
        } else if attributes[..index].iter().any(|before| before.of == own.of && before.name == own.name) {
            faults.push((name, "each once"));
        }
    }
    faults
}
