//! A tenant's own limits. The value stands with the tenant; why it differs and until when stands here.

use jiff::Timestamp;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{RequestId, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{StoreError, Transaction};
use serde_json::json;

use super::enforcement::{changed, check_end, check_reason, known_meter};
use super::queries;
use crate::Control;
use crate::catalog::QuotaLimit;
use crate::tenancy;

/// Most overrides of a tenant.
const MAX: usize = 64;

/// An override that is wanted, or stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// A decimal string, or `unlimited`.
    pub value: String,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// 1 to 500 characters.
    pub reason: String,
}

/// Why a limit differs from the tier's, if that was said here.
pub async fn get(
    transaction: &Transaction,
    tenant: TenantId,
    meter: &str,
) -> Result<Option<(Override, String, Timestamp)>, StoreError> {
    let row = transaction.query_opt(queries::OVERRIDE, &[&tenant.0, &meter]).await?;
    Ok(row.map(|row| {
        (Override { value: row.get(0), until: row.get(1), reason: row.get(2) }, row.get(3), row.get(4))
    }))
}

/// Gives a tenant a limit of its own.
///
/// # Errors
/// 404 for a meter or tenant that does not exist; 422 for a wrong limit, reason or end.
pub async fn set(
    control: &Control,
    permit: &Permit,
    (tenant, meter): (TenantId, &str),
    wanted: Override,
    request_id: RequestId,
) -> Result<(), Refusal> {
    let now = control.clock().now();
    check_reason(&wanted.reason)?;
    check_end(wanted.until, now)?;
    if QuotaLimit::parse(&wanted.value).is_none() {
        return Err(Refusal::new(&kind::INVALID_QUANTITY, "The limit is not one.").field(
            "/limit",
            "malformed",
            "a decimal string that is not negative, or `unlimited`",
        ));
    }
    let transaction = control.store.write(permit).await?;
    known_meter(&transaction, meter).await?;
    let Override { value, until, reason } = wanted;
    tenancy::change_override(&transaction, tenant, meter, Some(&value), MAX).await?;
    let by = permit.principal().to_string();
    transaction
        .execute(queries::KEEP_OVERRIDE, &[&tenant.0, &meter, &value, &until, &reason, &by, &now])
        .await?;
    let details = json!({ "limit": value, "until": until });
    let change = changed("resources.quota_changed", tenant, meter, permit, request_id).details(details);
    Ok(transaction.commit(change).await?)
}

/// Gives the tier's limit back.
///
/// # Errors
/// 404 if the tenant has no override of the meter.
pub async fn clear(
    control: &Control,
    permit: &Permit,
    (tenant, meter): (TenantId, &str),
    request_id: RequestId,
) -> Result<(), Refusal> {
    let transaction = control.store.write(permit).await?;
    if !tenancy::change_override(&transaction, tenant, meter, None, MAX).await? {
        return Err(Refusal::new(&kind::NOT_FOUND, "The tenant has no override of this quota."));
    }
    transaction.execute(queries::DROP_OVERRIDE, &[&tenant.0, &meter]).await?;
    let change = changed("resources.quota_changed", tenant, meter, permit, request_id);
    Ok(transaction.commit(change.details(json!({ "limit": null }))).await?)
}

/// Takes out overrides whose time is over, unless somebody has changed the value since; the meters.
pub(super) async fn expire(
    transaction: &Transaction,
    tenant: TenantId,
    now: Timestamp,
) -> Result<Vec<String>, StoreError> {
    let rows = transaction.query(queries::EXPIRE_OVERRIDES, &[&tenant.0, &now]).await?;
    let mut ended = Vec::new();
    for row in rows {
        let (meter, value): (String, String) = (row.get(0), row.get(1));
        if tenancy::end_override(transaction, tenant, &meter, &value).await? {
            ended.push(meter);
        }
    }
    Ok(ended)
}
