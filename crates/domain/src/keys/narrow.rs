//! What narrows a key beyond its rights: services, addresses, things, and limits of its own. Most keys have none of
//! it, so that it is kept apart from what every check reads.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::directory::Key;
use crate::limits::{Algorithm, BadNumbers, Rule};
use crate::refusal::{Refusal, kind};

/// Most networks of a key.
pub const ALLOWED_IPS_MAX: usize = 64;
/// Most things of a key.
pub const THINGS_MAX: usize = 64;
/// Most limits of a key.
pub const LIMITS_MAX: usize = 8;

/// What narrows one key.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Narrowing {
    /// Only for these services; `None` is all.
    pub services: Option<Box<[Box<str>]>>,
    /// Only from these networks; empty is any.
    #[serde(with = "crate::directory::written::networks")]
    pub allowed_ips: Box<[IpNet]>,
    /// Only for these things; empty is all.
    pub things: Box<[ThingPattern]>,
    /// Limits of its own, counted by its family.
    pub limits: Box<[KeyLimit]>,
}

impl Narrowing {
    /// None if it narrows nothing.
    pub fn boxed(self) -> Option<Box<Narrowing>> {
        (self != Narrowing::default()).then(|| Box::new(self))
    }
}

/// A thing, or all whose id begins alike: `{"type": "stamp", "id": "inv-*"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThingPattern {
    /// The resource type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its id; a `*` at the end stands for anything.
    pub id: String,
}

impl ThingPattern {
    /// Whether the thing is one of them.
    pub fn covers(&self, kind: &str, id: &str) -> bool {
        *self.kind == *kind
            && match self.id.strip_suffix('*') {
                Some(start) => id.starts_with(start),
                None => *self.id == *id,
            }
    }

    /// Whether every thing of `other` is one of these.
    pub fn holds(&self, other: &ThingPattern) -> bool {
        let all_of = other.id.strip_suffix('*');
        self.kind == other.kind
            && match (self.id.strip_suffix('*'), all_of) {
                (Some(own), Some(others)) => others.starts_with(own),
                (Some(own), None) => other.id.starts_with(own),
                (None, Some(_)) => false,
                (None, None) => self.id == other.id,
            }
    }

    /// Whether type and id can be: 1 to 63 and 1 to 200 characters, with a `*` only at the end.
    pub fn is_sound(&self) -> bool {
        let start = self.id.strip_suffix('*').unwrap_or(&self.id);
        (1..=63).contains(&self.kind.len()) && (1..=200).contains(&self.id.len()) && !start.contains('*')
    }
}

/// A limit of one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyLimit {
    /// Told when it refuses.
    pub name: Box<str>,
    /// How it counts.
    pub rule: Rule,
}

/// A limit of one key, as it is declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyLimitDefinition {
    /// `[a-z][a-z0-9._-]{0,62}`, once in a key.
    pub name: String,
    /// `token_bucket` if not said.
    #[serde(default = "token_bucket")]
    pub algorithm: Algorithm,
    /// Units per window, 1 to 10⁹.
    pub quota: i64,
    /// 1 ms to 31 days.
    pub window_ms: i64,
    /// Units at once, for buckets; `quota` if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<i64>,
}

fn token_bucket() -> Algorithm {
    Algorithm::TokenBucket
}

impl KeyLimitDefinition {
    /// Whether its name may be one.
    pub fn is_named_well(&self) -> bool {
        let mut bytes = self.name.bytes();
        bytes.next().is_some_and(|first| first.is_ascii_lowercase())
            && self.name.len() <= 63
            && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte))
    }

    /// The limit.
    ///
    /// # Errors
    /// If its numbers are out of bounds.
    pub fn compiled(&self) -> Result<KeyLimit, BadNumbers> {
        let rule = Rule::new(self.algorithm, self.quota, self.window_ms, self.burst)?;
        Ok(KeyLimit { name: self.name.as_str().into(), rule })
    }
}

/// A network as it is written: an address alone is a network of one. What stands behind the prefix must be zero, so
/// that nobody allows more than he has written.
///
/// # Errors
/// What is wrong with it, in words.
pub fn parse_network(text: &str) -> Result<IpNet, &'static str> {
    let network = match text.contains('/') {
        true => text.parse::<IpNet>().map_err(|_| "is no network, as in 203.0.113.0/24")?,
        false => text.parse::<IpAddr>().map(IpNet::from).map_err(|_| "is no address and no network")?,
    };
    if network.addr() != network.network() {
        return Err("has bits behind its prefix");
    }
    match network {
        IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some() => {
            Err("is IPv4 written as IPv6: write it as IPv4")
        }
        _ => Ok(network),
    }
}

impl Key {
    /// The services it is only for; `None` is all.
    pub fn services(&self) -> Option<&[Box<str>]> {
        self.narrowed.as_ref()?.services.as_deref()
    }

    /// Limits of its own.
    pub fn limits(&self) -> &[KeyLimit] {
        self.narrowed.as_ref().map_or(&[], |own| &own.limits)
    }

    /// Whether it is only for some things; what is about none of them it may not do then.
    pub fn is_for_things(&self) -> bool {
        self.narrowed.as_ref().is_some_and(|own| !own.things.is_empty())
    }

    /// Whether it may be used for this thing, as far as it says itself.
    pub fn reaches(&self, kind: &str, id: &str) -> bool {
        self.narrowed.as_ref().is_none_or(|own| {
            own.things.is_empty() || own.things.iter().any(|pattern| pattern.covers(kind, id))
        })
    }

    /// 403 `keys.wrong_service` if it is only for some services, of which `service` is none.
    pub fn refuse_other_service(&self, service: &str) -> Result<(), Refusal> {
        match self.services() {
            Some(services) if !services.iter().any(|own| **own == *service) => {
                let words = format!("The key is not for the service `{service}`.");
                Err(Refusal::new(&kind::KEY_WRONG_SERVICE, words))
            }
            _ => Ok(()),
        }
    }

    /// 403 `keys.ip_denied` if it is only for some networks, of which none has `client`.
    pub fn refuse_other_address(&self, client: IpAddr) -> Result<(), Refusal> {
        let Some(narrowed) = &self.narrowed else { return Ok(()) };
        let client = client.to_canonical();
        if narrowed.allowed_ips.is_empty() || narrowed.allowed_ips.iter().any(|own| own.contains(&client)) {
            return Ok(());
        }
        Err(Refusal::new(&kind::KEY_IP_DENIED, format!("The key may not be used from {client}.")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_what_was_written() {
        let table = [
            ("203.0.113.0/24", Ok("203.0.113.0/24")),
            ("203.0.113.7", Ok("203.0.113.7/32")),
            ("2001:db8::/32", Ok("2001:db8::/32")),
            ("::1", Ok("::1/128")),
            ("0.0.0.0/0", Ok("0.0.0.0/0")),
            ("203.0.113.7/24", Err("has bits behind its prefix")),
            ("203.0.113.0/33", Err("is no network, as in 203.0.113.0/24")),
            ("::ffff:10.0.0.1", Err("is IPv4 written as IPv6: write it as IPv4")),
            ("localhost", Err("is no address and no network")),
            ("", Err("is no address and no network")),
        ];
        for (text, expected) in table {
            let parsed = parse_network(text).map(|network| network.to_string());
            assert_eq!(parsed.as_deref().map_err(|why| *why), expected, "{text}");
        }
    }

    #[test]
    fn things_are_covered_by_name_or_by_their_beginning() {
        let pattern = |kind: &str, id: &str| ThingPattern { kind: kind.to_owned(), id: id.to_owned() };
        let invoices = pattern("stamp", "inv-*");
        for (kind, id, expected) in [
            ("stamp", "inv-1", true),
            ("stamp", "inv-", true),
            ("stamp", "in", false),
            ("report", "inv-1", false),
        ] {
            assert_eq!(invoices.covers(kind, id), expected, "{kind} {id}");
        }
        assert!(pattern("stamp", "*").covers("stamp", "anything"));
        assert!(!pattern("stamp", "a").covers("stamp", "ab"));
        for (outer, inner, expected) in [
            ("*", "a*", true),
            ("a*", "ab*", true),
            ("ab*", "a*", false),
            ("a*", "ab", true),
            ("a", "a", true),
            ("a", "a*", false),
        ] {
            assert_eq!(pattern("x", outer).holds(&pattern("x", inner)), expected, "{outer} holds {inner}");
        }
        for (id, sound) in [("a*", true), ("*", true), ("a*b", false), ("**", false), ("", false)] {
            assert_eq!(pattern("stamp", id).is_sound(), sound, "{id}");
        }
    }

    #[test]
    fn names_of_limits_are_those_of_the_catalogue() {
        let named = |name: &str| KeyLimitDefinition {
            name: name.to_owned(),
            algorithm: Algorithm::TokenBucket,
            quota: 1,
            window_ms: 1,
            burst: None,
        };
        for (name, well) in [
            ("per-minute", true),
            ("a.b_c-9", true),
            ("9a", false),
            ("", false),
            ("A", false),
            ("a b", false),
        ] {
            assert_eq!(named(name).is_named_well(), well, "{name}");
        }
    }
}
