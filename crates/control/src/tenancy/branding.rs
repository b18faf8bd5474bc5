//! The name that a tenant speaks in towards its own people: `branding/name` of its configuration, if its features allow.

use rowhouse_domain::id::TenantId;
use rowhouse_store::{StoreError, Transaction};
use serde_json::Value;

use super::configuration::Name;
use super::configuration_queries::{self as rows, Stored};
use super::features::Standing;

/// The feature flag that allows it.
const FLAG: &str = "custom_branding";
/// Longest brand, in characters.
const BRAND_MAX: usize = 60;

/// A tenant's own brand; `None` without the feature `custom_branding` or the item.
pub async fn brand(transaction: &Transaction, tenant: TenantId) -> Result<Option<String>, StoreError> {
    let item = rows::get(transaction, Name { tenant, category: "branding", key: "name" }).await?;
    let Some(Stored::Plain(Value::String(name))) = item.map(|item| item.stored) else { return Ok(None) };
    let standing = Standing::load(transaction, tenant).await;
    let allowed = standing.ok().flatten().is_some_and(|standing| standing.is_on(FLAG));
    let name: String = name.trim().chars().take(BRAND_MAX).collect();
    Ok(Some(name).filter(|name| allowed && !name.is_empty()))
}
