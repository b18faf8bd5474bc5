//! How much a tenant may use: its tier's quota, or the override of it.

use std::collections::BTreeMap;

use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::Transaction;
use serde::Serialize;
use utoipa::ToSchema;

use crate::catalog::{self, QuotaLimit};
use crate::tenancy;

/// Where a limit comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum QuotaSource {
    /// The tenant's tier.
    Tier,
    /// An override of the tenant.
    Override,
}

/// The limits of a tenant by meter, in units of 10⁻¹²; `None` is unlimited.
pub async fn limits_of(
    transaction: &Transaction,
    tenant: TenantId,
) -> Result<BTreeMap<String, (Option<i128>, QuotaSource)>, Refusal> {
    let found = tenancy::load_tenants(transaction, Some(tenant)).await?.pop();
    let row = found.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such tenant."))?;
    let tier = catalog::load_tier(transaction, &row.tier).await.map_err(Refusal::from)?;
    let tier = tier.map(|tier| tier.quotas).unwrap_or_default();
    let sources = [(tier, QuotaSource::Tier), (row.quota_overrides, QuotaSource::Override)];
    let mut limits = BTreeMap::new();
    for (quotas, source) in sources {
        for (meter, text) in quotas {
            limits.insert(meter, (read_limit(&text)?, source));
        }
    }
    Ok(limits)
}

/// A quota as it is written, in units of 10⁻¹²; `None` is unlimited.
///
/// # Errors
/// If it cannot be read.
pub fn read_limit(text: &str) -> Result<Option<i128>, Refusal> {
    match QuotaLimit::parse(text) {
        Some(QuotaLimit::Unlimited) => Ok(None),
        Some(QuotaLimit::Units(units)) => Ok(Some(units)),
        None => {
            Err(Refusal::new(&kind::INTERNAL, "A quota cannot be read.").private(format!("quota `{text}`")))
        }
    }
}
