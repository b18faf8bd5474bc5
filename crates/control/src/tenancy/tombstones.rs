//! What stays of a tenant that has left: its id, the digest of its code, and when. The code is nobody's again.

use jiff::Timestamp;
use rowhouse_domain::id::TenantId;
use rowhouse_store::{StoreError, Transaction};
use sha2::{Digest, Sha256};

/// Whether a code was that of a tenant that has left.
pub async fn is_taken(transaction: &Transaction, code: &str) -> Result<bool, StoreError> {
    Ok(find(transaction, code).await?.is_some())
}

/// The tenant that has left and had this code.
pub async fn find(transaction: &Transaction, code: &str) -> Result<Option<TenantId>, StoreError> {
    // Visible to all: a tenant's own scope would not find it, and finds nothing more with it.
    let sql = "SELECT tenant_id FROM tenancy.tombstones WHERE code_sha256 = $1";
    let row = transaction.query_opt(sql, &[&Sha256::digest(code).to_vec()]).await?;
    Ok(row.map(|row| TenantId(row.get(0))))
}

/// From here on nothing that works in the background writes about the tenant: what did so before has committed, and what
/// comes later is dropped (`tenancy.drop_late_row`). Twice is once.
pub async fn begin_erasure(transaction: &Transaction, tenant: TenantId) -> Result<(), StoreError> {
    // The lock is what late writers wait for; a mere update would let them pass, and so would the lock of who changes the tenant.
    let sql = "SELECT FROM tenancy.tenants WHERE tenant_id = $1 FOR UPDATE";
    transaction.query_opt(sql, &[&tenant.0]).await?;
    let sql = "UPDATE tenancy.tenants SET erasing_at = coalesce(erasing_at, $2) WHERE tenant_id = $1";
    transaction.execute(sql, &[&tenant.0, &transaction.store().clock().now()]).await.map(drop)
}

/// Ends a tenant: nothing of it stays in its row but what says that it was, and its code goes to the tombstone. Twice is
/// once. The caller has locked the row.
pub async fn bury(
    transaction: &Transaction,
    tenant: TenantId,
    requested_at: Timestamp,
) -> Result<(), StoreError> {
    let now = transaction.store().clock().now();
    transaction
        .execute(
            "INSERT INTO tenancy.tombstones (tenant_id, code_sha256, requested_at, erased_at) \
             SELECT tenant_id, sha256(convert_to(code, 'UTF8')), $2, $3 FROM tenancy.tenants \
             WHERE tenant_id = $1 AND status <> 'terminated' ON CONFLICT DO NOTHING",
            &[&tenant.0, &requested_at, &now],
        )
        .await?;
    transaction
        .execute(
            "UPDATE tenancy.tenants SET status = 'terminated', status_before = NULL, code = 'gone-' || replace(tenant_id::text, '-', ''), \
               company_name = '', billing_contact = '{}', metadata = '{}', quota_overrides = '{}', suspension = NULL, \
               terminated_at = $2, updated_at = $2, version = version + 1 \
             WHERE tenant_id = $1 AND status <> 'terminated'",
            &[&tenant.0, &now],
        )
        .await?;
    Ok(())
}
