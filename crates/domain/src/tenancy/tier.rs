//! Tiers: a named bundle of quotas, features and isolation. The shipped values are `spec` §2.2's table.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Isolation;
use crate::resources::QuotaRuleDraft;

/// How much of a meter a tier gives: a decimal string, or `unlimited`.
pub type QuotaValue = String;

/// A tier as the catalogue declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// `[a-z][a-z0-9._-]{0,62}`.
    pub name: String,
    /// Higher is an upgrade.
    pub rank: u32,
    /// The isolation a tenant gets when none is asked for.
    pub isolation: Isolation,
    /// What else may be asked for.
    #[serde(default)]
    pub isolation_allowed: Vec<Isolation>,
    /// Meter → how much, as a decimal string or `unlimited`.
    #[serde(default)]
    pub quotas: BTreeMap<String, QuotaValue>,
    /// Meter → how its quota counts and what is done at its end, where that is not as the meter ships.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub quota_rules: BTreeMap<String, QuotaRuleDraft>,
    /// Features that are on.
    #[serde(default)]
    pub features: Vec<String>,
    /// Connections of a tenant to its database, 1 to 200.
    pub connection_pool_size: u32,
    /// Share in fair queues.
    pub weight: u32,
    /// How many domains of its own a tenant may claim, at most 1,000.
    #[serde(default = "one_host")]
    pub hosts: u32,
    /// Days that backups are kept.
    #[serde(default = "backup_days")]
    pub backup_days: u32,
    /// The plan that a new tenant of this tier is subscribed to.
    pub plan: String,
    /// Days that the data of a leaving tenant is kept; 0 to 3,650, 30 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u16>,
}

fn one_host() -> u32 {
    1
}

fn backup_days() -> u32 {
    7
}

impl Tier {
    /// Whether a tenant of this tier may lie on `level`.
    pub fn allows(&self, level: Isolation) -> bool {
        self.isolation == level || self.isolation_allowed.contains(&level)
    }
}

/// The four shipped tiers.
pub fn shipped_tiers() -> Vec<Tier> {
    use Isolation::*;
    let rows = [
        ("basic", 1, Shared, vec![Schema], ["10000", "10", "5", "50", "10000"], 10),
        ("professional", 2, Shared, vec![Schema], ["100000", "100", "50", "500", "100000"], 10),
        (
            "enterprise",
            3,
            Database,
            vec![Schema, Instance],
            ["1000000", "1000", "500", "5000", "1000000"],
            20,
        ),
        ("premium", 4, Instance, vec![Database], ["unlimited"; 5], 50),
    ];
    let features = [
        &["core", "api_access"][..],
        &["advanced_analytics", "custom_branding"],
        &["custom_integrations", "sla", "custom_residency"],
        &["white_label", "dedicated_support"],
    ];
    let meters = ["stamps_created", "storage_gb", "locations", "users", "transactions"];
    rows.into_iter()
        .map(|(name, rank, isolation, isolation_allowed, quotas, pool)| Tier {
            name: name.to_owned(),
            rank,
            isolation,
            isolation_allowed,
            quotas: meters.iter().zip(quotas).map(|(m, q)| ((*m).to_owned(), q.to_owned())).collect(),
            quota_rules: BTreeMap::new(),
            features: features[..rank as usize].concat().iter().map(|f| (*f).to_owned()).collect(),
            connection_pool_size: pool,
            weight: 1 << (rank - 1),
            hosts: [1, 5, 20, 50][rank as usize - 1],
            backup_days: [7, 14, 30, 30][rank as usize - 1],
            plan: name.to_owned(),
            retention_days: None,
        })
        .collect()
}
