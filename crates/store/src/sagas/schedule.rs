//! Sagas whose time has not come: recorded, seen, and begun by a reconciler when it has.

use jiff::Timestamp;
use rowhouse_domain::id::TenantId;
use uuid::Uuid;

use super::orders::Start;
use crate::pool::StoreError;
use crate::transaction::Transaction;
use crate::wake::Topic;

/// Records a saga that is to begin at `at`. It stands in nobody's way until then. Whether it was recorded: a tenant has at
/// most one scheduled saga of a kind.
///
/// # Errors
/// If the control database failed.
pub async fn schedule(transaction: &Transaction, start: &Start, at: Timestamp) -> Result<bool, StoreError> {
    let now = transaction.store().clock().now();
    let tenant = start.tenant.map(|tenant| tenant.0);
    let recorded = transaction
        .execute(
            "INSERT INTO lifecycle.sagas (saga_id, kind, kind_version, tenant_id, params, state, run_at, created_by, created_at) \
             VALUES ($1, $2, $3, $4, $5, 'scheduled', $6, $7, $8) \
             ON CONFLICT (tenant_id, kind) WHERE state = 'scheduled' DO NOTHING",
            &[&start.id, &start.kind, &start.kind_version, &tenant, &start.params, &at, &start.created_by, &now],
        )
        .await?;
    Ok(recorded == 1)
}

/// A scheduled saga whose time has come.
#[derive(Debug, Clone)]
pub struct Due {
    /// Its id.
    pub id: Uuid,
    /// Its kind.
    pub kind: String,
    /// Whose.
    pub tenant: Option<TenantId>,
}

/// Scheduled sagas whose time has come, the longest waiting first; at most `limit`.
///
/// # Errors
/// If the control database failed.
pub async fn due(transaction: &Transaction, limit: i64) -> Result<Vec<Due>, StoreError> {
    let now = transaction.store().clock().now();
    let rows = transaction
        .query(
            "SELECT saga_id, kind, tenant_id FROM lifecycle.sagas WHERE state = 'scheduled' AND run_at <= $1 \
             ORDER BY run_at, saga_id LIMIT $2",
            &[&now, &limit],
        )
        .await?;
    let due = |row: &tokio_postgres::Row| Due {
        id: row.get(0),
        kind: row.get(1),
        tenant: row.get::<_, Option<Uuid>>(2).map(TenantId),
    };
    Ok(rows.iter().map(due).collect())
}

/// Begins a scheduled saga, unless it was cancelled or another one of its tenant is not over; whether it did.
///
/// # Errors
/// If the control database failed, also when another one was begun at the same instant: look again.
pub async fn begin(transaction: &Transaction, saga: Uuid) -> Result<bool, StoreError> {
    let begun = transaction
        .execute(
            "UPDATE lifecycle.sagas s SET state = 'running', run_at = least(run_at, $2) WHERE saga_id = $1 AND state = 'scheduled' \
               AND NOT EXISTS (SELECT FROM lifecycle.sagas o WHERE o.tenant_id = s.tenant_id \
                 AND o.state IN ('running', 'unwinding', 'stuck'))",
            &[&saga, &transaction.store().clock().now()],
        )
        .await?;
    transaction.touch(Topic::Sagas);
    Ok(begun == 1)
}
