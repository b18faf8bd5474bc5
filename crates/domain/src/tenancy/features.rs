//! Feature flags: which value holds for a tenant, and why.
//!
//! Value = override, else rollout, else tier, else default. A rollout only turns `bool` flags on, for its share of the
//! tenants. Whose override has run out is the caller's to say: it hands in only those that hold.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Tier;
use crate::id::TenantId;

/// Longest text value, in bytes.
pub const TEXT_MAX: usize = 1_000;
/// Largest whole number on either side of 0 that every reader of JSON keeps (RFC 8259 §6).
pub const INTEGER_MAX: i64 = (1 << 53) - 1;

/// What values a flag has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlagType {
    /// On or off.
    Bool,
    /// A whole number.
    Integer,
    /// A text.
    String,
}

/// A value of a flag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FlagValue {
    /// On or off.
    Bool(bool),
    /// Within ±[`INTEGER_MAX`].
    Integer(i64),
    /// At most [`TEXT_MAX`] bytes.
    Text(String),
}

/// Who sees a flag.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Services behind the gateway.
    #[default]
    Services,
    /// The gateway.
    Gateway,
    /// The tenants' portal.
    Portal,
    /// Nobody but who asks for it.
    None,
}

/// A flag as the catalogue declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flag {
    /// `[a-z][a-z0-9._-]{0,62}`.
    pub name: String,
    /// What values it has.
    #[serde(rename = "type")]
    pub kind: FlagType,
    /// What holds where nothing else says anything.
    pub default: FlagValue,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// Who sees it.
    #[serde(default)]
    pub audience: Audience,
    /// Turns a `bool` flag on for a share of the tenants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
}

/// A share of all tenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    /// How many, as a decimal string from `0` to `100` in steps of 0.01.
    pub percent: Percent,
    /// Another salt is another choice of tenants.
    pub salt: String,
}

/// Hundredths of a percent, 0 to 10,000; a decimal string on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Percent(u16);

/// Not a percentage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a percentage is a decimal string from \"0\" to \"100\" with at most two decimals, as in \"12.5\"")]
pub struct PercentError;

impl TryFrom<String> for Percent {
    type Error = PercentError;

    fn try_from(text: String) -> Result<Self, PercentError> {
        let (whole, part) = text.split_once('.').unwrap_or((&text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(part) || whole.len() > 3 || part.len() > 2 {
            return Err(PercentError);
        }
        let whole: u16 = whole.parse().map_err(|_| PercentError)?;
        let hundredths: u16 = format!("{part:0<2}").parse().map_err(|_| PercentError)?;
        let all = whole * 100 + hundredths;
        if all <= 10_000 { Ok(Percent(all)) } else { Err(PercentError) }
    }
}

impl From<Percent> for String {
    fn from(Percent(all): Percent) -> String {
        let (whole, part) = (all / 100, all % 100);
        if part == 0 {
            whole.to_string()
        } else {
            format!("{whole}.{part:02}").trim_end_matches('0').to_owned()
        }
    }
}

impl Rollout {
    /// Where a tenant stands, 0 to 9,999: the first 8 bytes, big-endian, of SHA-256(salt ‖ 0 ‖ the 16 bytes of the
    /// tenant's id), modulo 10,000.
    pub fn bucket(&self, tenant: TenantId) -> u16 {
        let mut hash = Sha256::new();
        hash.update(self.salt.as_bytes());
        hash.update([0]);
        hash.update(tenant.0.as_bytes());
        let digest = hash.finalize();
        let first = digest.first_chunk::<8>().expect("a digest has 32 bytes");
        (u64::from_be_bytes(*first) % 10_000) as u16
    }

    /// Whether a tenant is in the share. Raising the percentage never puts one out.
    pub fn takes(&self, tenant: TenantId) -> bool {
        self.bucket(tenant) < self.percent.0
    }
}

impl FlagValue {
    /// Whether it is a value of `kind` within its bounds.
    pub fn fits(&self, kind: FlagType) -> bool {
        match (self, kind) {
            (FlagValue::Bool(_), FlagType::Bool) => true,
            (FlagValue::Integer(number), FlagType::Integer) => (-INTEGER_MAX..=INTEGER_MAX).contains(number),
            (FlagValue::Text(text), FlagType::String) => text.len() <= TEXT_MAX,
            _ => false,
        }
    }
}

impl FlagType {
    /// What such a value is, in words.
    pub fn expected(self) -> &'static str {
        match self {
            FlagType::Bool => "true or false",
            FlagType::Integer => "a whole number of at most 53 bits",
            FlagType::String => "a text of at most 1,000 bytes",
        }
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The tenant's own.
    Override,
    /// The flag's rollout takes the tenant.
    Rollout,
    /// The tenant's tier.
    Tier,
    /// The flag's default.
    Default,
}

/// What one source says; `None` if it says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The source.
    pub source: Source,
    /// Its value.
    pub value: Option<FlagValue>,
    /// Where the tenant stands in the rollout, if there is one.
    pub bucket: Option<u16>,
}

/// Which value holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The value.
    pub value: FlagValue,
    /// The first source that says something.
    pub because: Source,
    /// All sources in their order.
    pub candidates: [Candidate; 4],
}

/// The flags there are: those declared, and a `bool` flag that is off for every feature that a tier names without one.
pub fn flags(declared: &[Flag], tiers: &[Tier]) -> Vec<Flag> {
    let mut all: Vec<Flag> = declared.to_vec();
    for feature in tiers.iter().flat_map(|tier| &tier.features) {
        if !all.iter().any(|flag| flag.name == *feature) {
            all.push(implied(feature));
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn implied(feature: &str) -> Flag {
    Flag {
        name: feature.to_owned(),
        kind: FlagType::Bool,
        default: FlagValue::Bool(false),
        description: String::new(),
        audience: Audience::Services,
        rollout: None,
    }
}

/// Decides the value of `flag` for `tenant`, whose tier gives `features` and whose own value is `own`, if one holds. A
/// value that is not of the flag's type (the flag was declared anew since) is left out.
pub fn decide(flag: &Flag, tenant: TenantId, features: &[String], own: Option<&FlagValue>) -> Decision {
    let is_bool = flag.kind == FlagType::Bool;
    let on = |yes: bool| (is_bool && yes).then_some(FlagValue::Bool(true));
    let rollout = flag.rollout.as_ref();
    let said = [
        (Source::Override, own.filter(|own| own.fits(flag.kind)).cloned()),
        (Source::Rollout, on(rollout.is_some_and(|rollout| rollout.takes(tenant)))),
        (Source::Tier, on(features.contains(&flag.name))),
        (Source::Default, Some(flag.default.clone())),
    ];
    let candidates = said.map(|(source, value)| {
        let bucket = rollout.filter(|_| source == Source::Rollout).map(|rollout| rollout.bucket(tenant));
        Candidate { source, value, bucket }
    });
    let holds = candidates.iter().find_map(|candidate| Some((candidate.value.clone()?, candidate.source)));
    let (value, because) = holds.expect("the default always says something");
    Decision { value, because, candidates }
}

#[cfg(test)]
#[path = "features_tests.rs"]
mod tests;
