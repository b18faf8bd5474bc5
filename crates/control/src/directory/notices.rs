//! Notices, in order.

use rowhouse_domain::id::TenantId;
use rowhouse_store::{StoreError, Transaction};
use uuid::Uuid;

/// What one notice says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Touched {
    pub id: i64,
    pub topic: String,
    pub tenant: Option<TenantId>,
}

/// Most notices taken at once.
pub(super) const BATCH: i64 = 1_000;

/// The id of the last notice; 0 before the first.
pub(super) async fn last(transaction: &Transaction) -> Result<i64, StoreError> {
    let row = transaction.query_one("SELECT coalesce(max(id), 0) FROM api.notices", &[]).await?;
    Ok(row.get(0))
}

/// The notices after `id`, at most [`BATCH`].
pub(super) async fn after(transaction: &Transaction, id: i64) -> Result<Vec<Touched>, StoreError> {
    let rows = transaction
        .query(
            "SELECT id, topic, tenant_id FROM api.notices WHERE id > $1 ORDER BY id LIMIT $2",
            &[&id, &BATCH],
        )
        .await?;
    let touched = |row: &tokio_postgres::Row| Touched {
        id: row.get(0),
        topic: row.get(1),
        tenant: row.get::<_, Option<Uuid>>(2).map(TenantId),
    };
    Ok(rows.iter().map(touched).collect())
}

/// Whether notices after `id` may have been swept away unread, as by who was away for a day: the sweep takes the oldest
/// and always leaves the newest, so whoever was near the end still finds the notice it read last.
pub(super) async fn missed(transaction: &Transaction, id: i64) -> Result<bool, StoreError> {
    let row = transaction.query_one("SELECT coalesce(min(id) > $1, false) FROM api.notices", &[&id]).await?;
    Ok(row.get(0))
}
