//! A tenant's own limits one by one, for the feature `resources`.

use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{StoreError, Transaction};
use tokio_postgres::types::Json;

use super::queries;

const SET: &str = "UPDATE tenancy.tenants SET quota_overrides = $2, updated_at = $3, version = version + 1 \
     WHERE tenant_id = $1";
const END: &str = "UPDATE tenancy.tenants SET quota_overrides = quota_overrides - $2, updated_at = $4, \
         version = version + 1 \
     WHERE tenant_id = $1 AND quota_overrides ->> $2 = $3";

/// Sets or clears a tenant's limit of one meter; whether that changed anything. The value was checked before.
///
/// # Errors
/// 404 for a tenant that does not exist, 422 when it has `max` overrides already.
pub async fn change_override(
    transaction: &Transaction,
    tenant: TenantId,
    meter: &str,
    value: Option<&str>,
    max: usize,
) -> Result<bool, Refusal> {
    let found = queries::lock(transaction, tenant).await?;
    let record = found.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such tenant."))?;
    let mut overrides = record.tenant.quota_overrides;
    let before = match value {
        Some(value) => overrides.insert(meter.to_owned(), value.to_owned()),
        None => overrides.remove(meter),
    };
    if before.as_deref() == value {
        return Ok(false);
    }
    if overrides.len() > max {
        return Err(Refusal::new(&kind::INVALID, format!("A tenant has at most {max} overrides.")));
    }
    let now = transaction.store().clock().now();
    transaction.execute(SET, &[&tenant.0, &Json(&overrides), &now]).await?;
    Ok(true)
}

/// Clears a tenant's limit of one meter if it still is `value`; whether it was.
pub async fn end_override(
    transaction: &Transaction,
    tenant: TenantId,
    meter: &str,
    value: &str,
) -> Result<bool, StoreError> {
    let now = transaction.store().clock().now();
    Ok(transaction.execute(END, &[&tenant.0, &meter, &value, &now]).await? > 0)
}
