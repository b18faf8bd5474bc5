//! What a request must be, besides its path and method, for a route to take it. Of two routes with one path the one with
//! more conditions is asked first, so that the other is for everybody else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::directory::Tenant;

/// Any value.
const ANY: &str = "*";

/// Conditions; each that is named must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Conditions {
    /// Names in `Host`, without a port; one of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Headers by name in lower case: all of the value, or `*` for any. One that is sent twice has no value.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Parameters of the query, likewise.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, String>,
    /// Codes of tenants; one of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<String>,
    /// Tiers; one of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<String>,
    /// Home regions of tenants; one of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<String>,
}

/// What conditions look at.
#[derive(Clone, Copy)]
pub struct Circumstances<'a> {
    /// The authority that was asked, perhaps with a port.
    pub authority: &'a str,
    /// The value of a header that was sent exactly once.
    pub header: &'a dyn Fn(&str) -> Option<&'a [u8]>,
    /// The query, without its question mark.
    pub query: Option<&'a str>,
    /// Whom it is for.
    pub tenant: Option<&'a Tenant>,
}

impl Circumstances<'_> {
    /// Nothing is known: only routes without conditions take such a request.
    pub fn unknown() -> Self {
        Circumstances { authority: "", header: &|_| None, query: None, tenant: None }
    }
}

impl Conditions {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Conditions::default()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        let lists = [&self.hosts, &self.tenants, &self.tiers, &self.regions];
        self.headers.len() + self.query.len() + lists.iter().filter(|list| !list.is_empty()).count()
    }

    /// Whether all hold.
    pub fn hold(&self, given: &Circumstances<'_>) -> bool {
        let one_of = |names: &[String], own: Option<&str>| {
            names.is_empty() || own.is_some_and(|own| names.iter().any(|name| name == own))
        };
        let fits = |wanted: &str, found: Option<&[u8]>| {
            found.is_some_and(|found| wanted == ANY || wanted.as_bytes() == found)
        };
        one_of(&self.tenants, given.tenant.map(|tenant| &*tenant.code))
            && one_of(&self.tiers, given.tenant.map(|tenant| &*tenant.tier))
            && one_of(&self.regions, given.tenant.map(|tenant| &*tenant.region))
            && (self.hosts.is_empty() || one_of(&self.hosts, Some(&host(given.authority))))
            && self.headers.iter().all(|(name, wanted)| fits(wanted, (given.header)(name)))
            && self.query.iter().all(|(name, wanted)| {
                let found = given.query.and_then(|query| parameter(query, name));
                fits(wanted, found.as_deref())
            })
    }

    /// Whether some request could meet both.
    pub fn meet(&self, other: &Conditions) -> bool {
        let share = |a: &[String], b: &[String]| {
            a.is_empty() || b.is_empty() || a.iter().any(|name| b.contains(name))
        };
        let agree = |a: &BTreeMap<String, String>, b: &BTreeMap<String, String>| {
            a.iter().all(|(name, value)| {
                b.get(name).is_none_or(|other| value == ANY || other == ANY || value == other)
            })
        };
        share(&self.hosts, &other.hosts)
            && share(&self.tenants, &other.tenants)
            && share(&self.tiers, &other.tiers)
            && share(&self.regions, &other.regions)
            && agree(&self.headers, &other.headers)
            && agree(&self.query, &other.query)
    }

    /// A request that meets both, in words: what stands beside method and path.
    pub(super) fn example_with(&self, other: &Conditions) -> String {
        let value = |name: &str, a: &BTreeMap<String, String>, b: &BTreeMap<String, String>| {
            let mut named = [a.get(name), b.get(name)].into_iter().flatten();
            named.find(|value| *value != ANY).map_or("x", |value| value).to_owned()
        };
        let mut words = Vec::new();
        let query: std::collections::BTreeSet<_> = self.query.keys().chain(other.query.keys()).collect();
        let query: Vec<String> = query
            .into_iter()
            .map(|name| format!("{name}={}", value(name, &self.query, &other.query)))
            .collect();
        if !query.is_empty() {
            words.push(format!("?{}", query.join("&")));
        }
        let headers: std::collections::BTreeSet<_> =
            self.headers.keys().chain(other.headers.keys()).collect();
        words.extend(
            headers
                .into_iter()
                .map(|name| format!(" with {name}: {}", value(name, &self.headers, &other.headers))),
        );
        for (a, b, what) in [
            (&self.hosts, &other.hosts, "at"),
            (&self.tenants, &other.tenants, "of the tenant"),
            (&self.tiers, &other.tiers, "in the tier"),
            (&self.regions, &other.regions, "in the region"),
        ] {
            let shared = a.iter().find(|name| b.is_empty() || b.contains(name)).or(b.first());
            words.extend(shared.map(|name| format!(" {what} {name}")));
        }
        words.concat()
    }

    /// The first condition that cannot be so, and why.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let is_name = |name: &str| {
            (1..=100).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b))
        };
        if let Some(name) = self.headers.keys().find(|name| !is_name(name) || is_credential(name)) {
            return Err(("headers", format!("`{name}` is no header in lower case that a route may look at")));
        }
        if let Some(host) = self.hosts.iter().find(|own| !is_name(own)) {
            return Err(("hosts", format!("`{host}` is no name in lower case, without a port")));
        }
        let values = self.headers.values().chain(self.query.values()).chain(self.query.keys());
        if values
            .clone()
            .any(|text| text.is_empty() || text.len() > 200 || text.chars().any(char::is_control))
        {
            return Err(("query", "names and values have 1 to 200 characters".to_owned()));
        }
        if self.count() > 16 || self.tenants.len() > 1_000 {
            return Err(("tenants", "at most 16 conditions, and at most 1,000 tenants".to_owned()));
        }
        Ok(())
    }
}

fn is_credential(name: &str) -> bool {
    matches!(name, "authorization" | "x-api-key" | "cookie" | "proxy-authorization")
}

fn host(authority: &str) -> String {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// The decoded value of a parameter that a query has exactly once.
pub(super) fn parameter(query: &str, name: &str) -> Option<Vec<u8>> {
    let mut found = query.split('&').filter_map(|pair| {
        let (own, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(own) == name.as_bytes()).then_some(value)
    });
    let value = found.next()?;
    found.next().is_none().then(|| decoded(value))
}

/// Percent-decoded, as forms have it: `+` is a space. What is no encoding stays.
pub(super) fn decoded(text: &str) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| (*byte as char).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                at += 2;
            }
            (b'+', ..) => out.push(b' '),
            (byte, ..) => out.push(byte),
        }
        at += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(headers: &[(&str, &str)], query: &[(&str, &str)], hosts: &[&str]) -> Conditions {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        Conditions { headers: map(headers), query: map(query), hosts, ..Conditions::default() }
    }

    #[test]
    fn each_must_hold() {
        let header = |name: &str| (name == "api-version").then_some(&b"2"[..]);
        let given = |query| Circumstances {
            authority: "API.example.com.:8080",
            header: &header,
            query: Some(query),
            tenant: None,
        };
        for (own, query, expected) in [
            (conditions(&[("api-version", "2")], &[], &[]), "", true),
            (conditions(&[("api-version", "*")], &[], &[]), "", true),
            (conditions(&[("api-version", "1")], &[], &[]), "", false),
            (conditions(&[("other", "*")], &[], &[]), "", false),
            (conditions(&[], &[("a", "b c")], &[]), "x=1&%61=b+c", true),
            (conditions(&[], &[("a", "*")], &[]), "a", true),
            (conditions(&[], &[("a", "1")], &[]), "a=1&a=2", false),
            (conditions(&[], &[("a", "*")], &[]), "b=1", false),
            (conditions(&[], &[], &["api.example.com"]), "", true),
            (conditions(&[], &[], &["example.com"]), "", false),
            (Conditions { tiers: vec!["basic".into()], ..Conditions::default() }, "", false),
            (Conditions::default(), "", true),
        ] {
            assert_eq!(own.hold(&given(query)), expected, "{own:?} {query}");
        }
    }

    #[test]
    fn two_that_no_request_meets_are_apart() {
        let one = conditions(&[("v", "1")], &[], &[]);
        assert!(!one.meet(&conditions(&[("v", "2")], &[], &[])));
        assert!(one.meet(&conditions(&[("v", "*")], &[], &[])));
        assert!(one.meet(&conditions(&[], &[("q", "1")], &["a"])));
        assert!(!conditions(&[], &[], &["a"]).meet(&conditions(&[], &[], &["b"])));
        let example = one.example_with(&conditions(&[], &[("q", "1")], &["a"]));
        assert_eq!(example, "?q=1 with v: 1 at a");
    }

    #[test]
    fn what_cannot_be_a_condition() {
        assert_eq!(conditions(&[("api-version", "1")], &[("q", "*")], &["a.b"]).check(), Ok(()));
        for bad in [
            conditions(&[("API-Version", "1")], &[], &[]),
            conditions(&[("authorization", "*")], &[], &[]),
            conditions(&[("x", "")], &[], &[]),
            conditions(&[], &[], &["a:80"]),
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
