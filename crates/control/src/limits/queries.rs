//! Rows of overrides.

use jiff::Timestamp;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::limits::LimitValue;
use rowhouse_store::{StoreError, Transaction};
use tokio_postgres::Row;
use tokio_postgres::types::Json;

use super::Override;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT tenant_id, limit_name, value, reason, until, set_by, set_at FROM limits.overrides ",
            $rest
        )
    };
}

fn own(row: &Row) -> (TenantId, Override) {
    let own = Override {
        limit: row.get(1),
        value: row.get::<_, Json<LimitValue>>(2).0,
        reason: row.get(3),
        until: row.get(4),
        set_by: row.get(5),
        set_at: row.get(6),
    };
    (TenantId(row.get(0)), own)
}

/// The overrides that hold at `now`: of all tenants, or of one.
pub async fn load_overrides(
    transaction: &Transaction,
    tenant: Option<TenantId>,
    now: Timestamp,
) -> Result<Vec<(TenantId, Override)>, StoreError> {
    let sql = select!("WHERE ($1::uuid IS NULL OR tenant_id = $1) AND (until IS NULL OR until > $2)");
    let rows = transaction.query(sql, &[&tenant.map(|tenant| tenant.0), &now]).await?;
    Ok(rows.iter().map(own).collect())
}

/// When the next override ends, after `now`.
pub async fn next_expiry(transaction: &Transaction, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let sql = "SELECT min(until) FROM limits.overrides WHERE until > $1";
    Ok(transaction.query_one(sql, &[&now]).await?.get(0))
}

/// The tenants that had an override which ended after `since`, and not after `now`.
pub async fn expired(
    transaction: &Transaction,
    since: Timestamp,
    now: Timestamp,
) -> Result<Vec<TenantId>, StoreError> {
    let sql = "SELECT DISTINCT tenant_id FROM limits.overrides WHERE until > $1 AND until <= $2";
    let rows = transaction.query(sql, &[&since, &now]).await?;
    Ok(rows.iter().map(|row| TenantId(row.get(0))).collect())
}

/// The overrides of a limit that hold at `now`, by tenant.
pub(super) async fn of_limit(
    transaction: &Transaction,
    limit: &str,
    now: Timestamp,
) -> Result<Vec<(TenantId, Override)>, StoreError> {
    let sql = select!("WHERE limit_name = $1 AND (until IS NULL OR until > $2) ORDER BY tenant_id");
    Ok(transaction.query(sql, &[&limit, &now]).await?.iter().map(own).collect())
}

/// What is stored for a tenant, ended or not.
pub(super) async fn get(
    transaction: &Transaction,
    tenant: TenantId,
    limit: &str,
) -> Result<Option<Override>, StoreError> {
    let sql = select!("WHERE tenant_id = $1 AND limit_name = $2 FOR UPDATE");
    Ok(transaction.query_opt(sql, &[&tenant.0, &limit]).await?.map(|row| own(&row).1))
}

/// Stores an override in place of the one before.
pub(super) async fn put(
    transaction: &Transaction,
    tenant: TenantId,
    own: &Override,
) -> Result<(), StoreError> {
    transaction
        .execute(
            "INSERT INTO limits.overrides (tenant_id, limit_name, value, reason, until, set_by, set_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) \
             ON CONFLICT (tenant_id, limit_name) DO UPDATE SET value = excluded.value, reason = excluded.reason, \
               until = excluded.until, set_by = excluded.set_by, set_at = excluded.set_at",
            &[&tenant.0, &own.limit, &Json(&own.value), &own.reason, &own.until, &own.set_by, &own.set_at],
        )
        .await?;
    Ok(())
}

/// Takes an override away. Whether there was one.
pub(super) async fn delete(
    transaction: &Transaction,
    tenant: TenantId,
    limit: &str,
) -> Result<bool, StoreError> {
    let sql = "DELETE FROM limits.overrides WHERE tenant_id = $1 AND limit_name = $2";
    Ok(transaction.execute(sql, &[&tenant.0, &limit]).await? == 1)
}
