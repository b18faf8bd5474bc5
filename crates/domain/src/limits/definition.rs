//! A limit as declared: a token bucket at a scope, with values per tier.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Bucket;

/// What a limit counts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitScope {
    /// Everything through this region.
    Global,
    /// The client's address.
    Ip,
    /// The tenant.
    Tenant,
    /// The person or service account within the tenant.
    User,
    /// The API key within the tenant.
    ApiKey,
    /// Method and path template, over all tenants.
    Endpoint,
}

/// A tier's own numbers, or none at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierValue {
    /// Units per window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<i64>,
    /// Units at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<i64>,
    /// No limit for this tier.
    #[serde(default)]
    pub unlimited: bool,
}

/// A limit of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitDefinition {
    /// `[a-z][a-z0-9._-]{0,62}`; shown in `RateLimit-Policy`.
    pub name: String,
    /// `token_bucket`, the only algorithm so far.
    pub algorithm: String,
    /// Units per window, 1 to 10⁹.
    pub quota: i64,
    /// 1 ms to 31 days.
    pub window_ms: i64,
    /// Units at once; `quota` if not said.
    #[serde(default)]
    pub burst: Option<i64>,
    /// What it counts by.
    pub scope: LimitScope,
    /// Values per tier.
    #[serde(default)]
    pub tiers: BTreeMap<String, TierValue>,
    /// Only requests to these services; empty means all.
    #[serde(default)]
    pub services: Vec<String>,
    /// Whether answers tell of it.
    #[serde(default = "yes")]
    pub visible: bool,
}

fn yes() -> bool {
    true
}

impl LimitDefinition {
    /// The bucket for a tier; `Ok(None)` where the tier is unlimited.
    pub fn bucket(&self, tier: Option<&str>) -> Result<Option<Bucket>, BadNumbers> {
        let value = tier.and_then(|tier| self.tiers.get(tier));
        if value.is_some_and(|value| value.unlimited) {
            return Ok(None);
        }
        let quota = value.and_then(|value| value.quota).unwrap_or(self.quota);
        let burst = value.and_then(|value| value.burst).or(self.burst).unwrap_or(quota);
        Bucket::new(quota, self.window_ms, burst).map(Some).ok_or(BadNumbers { quota, burst })
    }

    /// Checks every value that the limit can take.
    pub fn check(&self) -> Result<(), BadNumbers> {
        self.bucket(None)?;
        self.tiers.keys().try_for_each(|tier| self.bucket(Some(tier)).map(drop))
    }
}

/// Numbers for which no bucket can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "quota {quota} with burst {burst} does not fit: 1 to 1,000,000,000 each, and a full refill within 366 days"
)]
pub struct BadNumbers {
    /// Units per window.
    pub quota: i64,
    /// Units at once.
    pub burst: i64,
}
