//! How much a tenant may use: its tier's quota and rule, or the override of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rowhouse_domain::resources::QuotaRule;
use rowhouse_domain::tenancy::Tier;
use serde::Serialize;
use utoipa::ToSchema;

use crate::catalog::QuotaLimit;

/// Where a limit comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum QuotaSource {
    /// The tenant's tier.
    Tier,
    /// An override of the tenant.
    Override,
}

/// One quota of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// In units of 10⁻¹²; `None` is unlimited.
    pub limit: Option<i128>,
    /// Where the limit comes from.
    pub from: QuotaSource,
    /// How it counts and what is done at its end.
    pub rule: Arc<QuotaRule>,
}

/// Rules by tier and meter, made once.
#[derive(Debug, Default)]
pub struct Rules(HashMap<(String, String), Arc<QuotaRule>>);

impl Rules {
    /// The rule of `meter` in a tier.
    pub fn of(&mut self, tier: Option<&Tier>, meter: &str) -> Arc<QuotaRule> {
        let name = tier.map_or("", |tier| &tier.name);
        let make = || {
            let draft = tier.and_then(|tier| tier.quota_rules.get(meter)).cloned().unwrap_or_default();
            // The catalogue has checked it; one that was written past it is as the meter ships.
            Arc::new(draft.rule(meter).unwrap_or_else(|_| QuotaRule::of_meter(meter)))
        };
        self.0.entry((name.to_owned(), meter.to_owned())).or_insert_with(make).clone()
    }

    /// The quotas of a tenant of `tier` with `overrides`, by meter.
    pub fn agreed(
        &mut self,
        tier: Option<&Tier>,
        overrides: &BTreeMap<String, String>,
    ) -> BTreeMap<String, Agreed> {
        let of_tier = tier.iter().flat_map(|tier| &tier.quotas).map(|own| (own, QuotaSource::Tier));
        let own = overrides.iter().map(|own| (own, QuotaSource::Override));
        let mut all = BTreeMap::new();
        for ((meter, text), from) in of_tier.chain(own) {
            // A value is checked when it is written; one that cannot be read leaves the meter without room.
            let limit = match QuotaLimit::parse(text).unwrap_or(QuotaLimit::Units(0)) {
                QuotaLimit::Unlimited => None,
                QuotaLimit::Units(units) => Some(units),
            };
            all.insert(meter.clone(), Agreed { limit, from, rule: self.of(tier, meter) });
        }
        all
    }
}
