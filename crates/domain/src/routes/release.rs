//! Releases of a service, and which of them a caller gets. A service has the copies that its definition names, under the
//! name in `release`; further releases have copies of their own. Which release is the default and who gets another one
//! (its *traffic*) is no declaration: it is changed many times in the life of one catalogue, and at once.
//!
//! Somebody who was drawn for a release stays there: the place of a tenant or user is a hash of its name and the
//! service's, and raising a weight only adds callers.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::ServiceDefinition;
use crate::id::TenantId;

/// Splits that a service may have at once.
pub const SPLITS_MAX: usize = 16;
/// Tenants that one split may name.
pub const SPLIT_TENANTS_MAX: usize = 1_000;

/// A release with copies of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseDefinition {
    /// `[a-z0-9][a-z0-9._-]{0,62}`, as `2.1.0-enterprise`.
    pub name: String,
    /// Addresses of its running copies, `host:port`.
    pub upstreams: Vec<String>,
}

/// What a weighted split remembers a caller by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StickyBy {
    /// All of a tenant gets the same release.
    #[default]
    Tenant,
    /// Each user and machine keeps its own; a key is its owner.
    User,
    /// Nothing: each request is drawn anew.
    Request,
}

/// A header that sends a request to a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitHeader {
    /// In lower case.
    pub name: String,
    /// All of its value.
    pub value: String,
}

/// Who gets a release that is not the default: some tenants, whoever sends a header, or a share of all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// The release.
    pub release: String,
    /// Codes of tenants that are pinned to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<String>,
    /// A header that asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<SplitHeader>,
    /// How many of a hundred get it, 1 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// What the share is drawn by.
    #[serde(default)]
    pub sticky_by: StickyBy,
}

/// Where a service's requests go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// The release for whom no split is; the one of the service's own copies if not said.
    #[serde(default)]
    pub default_release: Option<String>,
    /// Pinned tenants go first, then headers, then shares, each in their order.
    #[serde(default)]
    pub splits: Vec<Split>,
}

/// Why a service's traffic cannot be so. `at` is a JSON pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadTraffic {
    /// Which field.
    pub at: String,
    /// `unknown`, `out_of_bounds`, `twice`, `missing` or `malformed`.
    pub code: &'static str,
    /// In words.
    pub detail: String,
}

impl Traffic {
    /// Checks it against the releases that the service declares.
    pub fn check(&self, service: &ServiceDefinition) -> Result<(), BadTraffic> {
        let bad = |at: String, code, detail: &str| Err(BadTraffic { at, code, detail: detail.to_owned() });
        let known = |name: &str| service.release_index(name).is_some();
        if self.default_release.as_deref().is_some_and(|name| !known(name)) {
            return bad("/default_release".into(), "unknown", "the service declares no such release");
        }
        if self.splits.len() > SPLITS_MAX {
            return bad("/splits".into(), "out_of_bounds", "at most 16 splits");
        }
        let mut shares = 0;
        let mut pinned = std::collections::BTreeSet::new();
        for (place, split) in self.splits.iter().enumerate() {
            let at = |field: &str| format!("/splits/{place}/{field}");
            if !known(&split.release) {
                return bad(at("release"), "unknown", "the service declares no such release");
            }
            let ways = [!split.tenants.is_empty(), split.header.is_some(), split.weight.is_some()];
            if ways.iter().filter(|way| **way).count() != 1 {
                let detail = "a split names tenants, or a header, or a weight: one of them";
                return bad(format!("/splits/{place}"), "missing", detail);
            }
            if split.weight.is_some_and(|weight| !(1..=100).contains(&weight)) {
                return bad(at("weight"), "out_of_bounds", "1 to 100 of a hundred");
            }
            shares += split.weight.unwrap_or(0);
            if shares > 100 {
                return bad(at("weight"), "out_of_bounds", "all weights together are more than a hundred");
            }
            if split.tenants.len() > SPLIT_TENANTS_MAX {
                return bad(at("tenants"), "out_of_bounds", "at most 1,000 tenants");
            }
            if let Some(twice) = split.tenants.iter().find(|tenant| !pinned.insert(tenant.as_str())) {
                return bad(at("tenants"), "twice", &format!("`{twice}` is pinned twice"));
            }
            if split.header.as_ref().is_some_and(|header| !header.is_well_formed()) {
                return bad(at("header"), "malformed", "a header has a name in lower case and a value");
            }
        }
        Ok(())
    }
}

impl SplitHeader {
    /// What the gateway itself reads or writes decides nothing here.
    fn is_well_formed(&self) -> bool {
        let of_a_name =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        let value = |byte: u8| (b' '..=b'~').contains(&byte);
        (1..=100).contains(&self.name.len())
            && self.name.bytes().all(of_a_name)
            && !matches!(self.name.as_str(), "authorization" | "x-api-key" | "cookie" | "host")
            && (1..=200).contains(&self.value.len())
            && self.value.bytes().all(value)
    }
}

/// A service's traffic as requests are sent by. Releases are told by their index: 0 is that of the service's own copies, the
/// others follow in the order of the definition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompiledTraffic {
    default: usize,
    pinned: HashMap<Box<str>, usize>,
    headers: Vec<(SplitHeader, usize)>,
    /// Up to which ten-thousandth, drawn by what, which release.
    shares: Vec<(u32, StickyBy, usize)>,
    /// The service's name.
    salt: Box<str>,
}

/// A caller, as far as splits look at it.
#[derive(Debug, Clone, Copy)]
pub struct SplitCaller<'a> {
    /// Id and code of the tenant.
    pub tenant: Option<(TenantId, &'a str)>,
    /// The user, key or machine.
    pub user: Option<Uuid>,
    /// Something that differs from request to request.
    pub draw: u64,
}

impl CompiledTraffic {
    /// Compiles it. What names a release that the service does not declare any more is left out: its callers get the default.
    pub fn new(service: &ServiceDefinition, traffic: &Traffic) -> Self {
        let mut compiled = CompiledTraffic { salt: service.name.as_str().into(), ..Self::default() };
        let index = |name: &str| service.release_index(name);
        compiled.default = traffic.default_release.as_deref().and_then(index).unwrap_or(0);
        let mut upto = 0;
        for split in &traffic.splits {
            let Some(release) = index(&split.release) else { continue };
            let pinned = split.tenants.iter().map(|code| (Box::from(code.as_str()), release));
            compiled.pinned.extend(pinned);
            compiled.headers.extend(split.header.clone().map(|header| (header, release)));
            if let Some(weight) = split.weight {
                upto += weight * 100;
                compiled.shares.push((upto, split.sticky_by, release));
            }
        }
        compiled
    }

    /// The release that a caller gets, by index. `header` finds the value of a header that was sent exactly once.
    pub fn release<'h>(&self, caller: SplitCaller<'_>, header: impl Fn(&str) -> Option<&'h [u8]>) -> usize {
        if let Some(release) = caller.tenant.and_then(|(_, code)| self.pinned.get(code)) {
            return *release;
        }
        let asked = self.headers.iter().find(|(own, _)| header(&own.name) == Some(own.value.as_bytes()));
        if let Some((_, release)) = asked {
            return *release;
        }
        let share = self.shares.iter().find(|(upto, by, _)| self.place(*by, caller) < *upto);
        share.map_or(self.default, |(_, _, release)| *release)
    }

    /// Where a caller stands, 0 to 9,999. Who cannot be told apart is drawn by the next wider thing.
    fn place(&self, by: StickyBy, caller: SplitCaller<'_>) -> u32 {
        let tenant = || caller.tenant.map(|(id, _)| id.0);
        let named = match by {
            StickyBy::Tenant => tenant().or(caller.user),
            StickyBy::User => caller.user.or_else(tenant),
            StickyBy::Request => None,
        };
        let Some(named) = named else { return (caller.draw % 10_000) as u32 };
        let mut hash = Sha256::new();
        hash.update(self.salt.as_bytes());
        hash.update([0]);
        hash.update(named.as_bytes());
        let first = hash.finalize()[..8].try_into().expect("a digest has 32 bytes");
        (u64::from_be_bytes(first) % 10_000) as u32
    }
}

impl ServiceDefinition {
    /// The index of a release: 0 is that of the service's own copies.
    pub fn release_index(&self, name: &str) -> Option<usize> {
        if self.release.as_deref() == Some(name) {
            return Some(0);
        }
        self.releases.iter().position(|release| release.name == name).map(|place| place + 1)
    }

    /// The name of a release; empty for the own copies of a service without releases.
    pub fn release_name(&self, index: usize) -> &str {
        match index.checked_sub(1) {
            None => self.release.as_deref().unwrap_or_default(),
            Some(place) => self.releases.get(place).map_or("", |release| &release.name),
        }
    }

    /// The copies of a release.
    pub fn release_upstreams(&self, index: usize) -> &[String] {
        match index.checked_sub(1) {
            None => &self.upstreams,
            Some(place) => self.releases.get(place).map_or(&[], |release| &release.upstreams),
        }
    }
}

#[cfg(test)]
#[path = "release_tests.rs"]
mod tests;
