//! Rows and SQL of holds.

use jiff::Timestamp;
use rowhouse_domain::id::{HoldId, TenantId};
use rowhouse_store::{StoreError, Transaction};
use tokio_postgres::Row;
use uuid::Uuid;

use super::Held;

/// A hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldRow {
    /// Its id.
    pub id: HoldId,
    /// Whose data it keeps.
    pub tenant: TenantId,
    /// Of that, one thing; `None`: all.
    pub resource: Option<Held>,
    /// The case.
    pub case_id: String,
    /// The law or order.
    pub basis: String,
    /// Who answers for it.
    pub owner: String,
    /// When it must be looked at again.
    pub review_at: Timestamp,
    /// The principal that placed it.
    pub placed_by: String,
    /// When.
    pub placed_at: Timestamp,
    /// The principal that released it.
    pub released_by: Option<String>,
    /// When.
    pub released_at: Option<Timestamp>,
    /// Why.
    pub release_reason: Option<String>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT hold_id, tenant_id, resource_kind, resource_id, case_id, basis, owner, review_at, placed_by, \
             placed_at, released_by, released_at, release_reason FROM audit.holds ",
            $rest
        )
    };
}

fn parse(row: &Row) -> HoldRow {
    let (kind, id): (Option<String>, Option<String>) = (row.get(2), row.get(3));
    HoldRow {
        id: HoldId(row.get(0)),
        tenant: TenantId(row.get(1)),
        resource: kind.zip(id).map(|(kind, id)| Held { kind, id }),
        case_id: row.get(4),
        basis: row.get(5),
        owner: row.get(6),
        review_at: row.get(7),
        placed_by: row.get(8),
        placed_at: row.get(9),
        released_by: row.get(10),
        released_at: row.get(11),
        release_reason: row.get(12),
    }
}

/// Enters a hold.
pub async fn insert(transaction: &Transaction, row: &HoldRow) -> Result<(), StoreError> {
    let (kind, id) = row.resource.as_ref().map(|held| (&held.kind, &held.id)).unzip();
    transaction
        .execute(
            "INSERT INTO audit.holds (hold_id, tenant_id, resource_kind, resource_id, case_id, basis, owner, review_at, \
               placed_by, placed_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            &[
                &row.id.0,
                &row.tenant.0,
                &kind,
                &id,
                &row.case_id,
                &row.basis,
                &row.owner,
                &row.review_at,
                &row.placed_by,
                &row.placed_at,
            ],
        )
        .await
        .map(drop)
}

/// One hold, locked.
pub async fn lock(transaction: &Transaction, id: HoldId) -> Result<Option<HoldRow>, StoreError> {
    let sql = select!("WHERE hold_id = $1 FOR UPDATE");
    Ok(transaction.query_opt(sql, &[&id.0]).await?.as_ref().map(parse))
}

/// One hold.
pub async fn get(transaction: &Transaction, id: HoldId) -> Result<Option<HoldRow>, StoreError> {
    let sql = select!("WHERE hold_id = $1");
    Ok(transaction.query_opt(sql, &[&id.0]).await?.as_ref().map(parse))
}

/// A page, newest first; only those in force or not, if that is said.
pub async fn list(
    transaction: &Transaction,
    (tenant, is_released): (Option<TenantId>, Option<bool>),
    before: Option<Uuid>,
    size: i64,
) -> Result<Vec<HoldRow>, StoreError> {
    let sql = select!(
        "WHERE ($1::uuid IS NULL OR tenant_id = $1) AND ($2::boolean IS NULL OR (released_at IS NOT NULL) = $2) \
           AND ($3::uuid IS NULL OR hold_id < $3) ORDER BY hold_id DESC LIMIT $4"
    );
    let rows =
        transaction.query(sql, &[&tenant.map(|tenant| tenant.0), &is_released, &before, &size]).await?;
    Ok(rows.iter().map(parse).collect())
}

/// Holds of a tenant that are in force, oldest first.
///
/// # Errors
/// If the control database failed.
pub async fn of(transaction: &Transaction, tenant: TenantId) -> Result<Vec<HoldRow>, StoreError> {
    let sql = select!("WHERE tenant_id = $1 AND released_at IS NULL ORDER BY hold_id");
    Ok(transaction.query(sql, &[&tenant.0]).await?.iter().map(parse).collect())
}

/// Every hold that is in force: there are few.
///
/// # Errors
/// If the control database failed.
pub async fn in_force(transaction: &Transaction) -> Result<Vec<HoldRow>, StoreError> {
    let sql = select!("WHERE released_at IS NULL ORDER BY hold_id");
    Ok(transaction.query(sql, &[]).await?.iter().map(parse).collect())
}

/// Sets the day of the review.
pub async fn set_review(transaction: &Transaction, id: HoldId, at: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE audit.holds SET review_at = $2 WHERE hold_id = $1";
    transaction.execute(sql, &[&id.0, &at]).await.map(drop)
}

/// Releases one.
pub async fn release(
    transaction: &Transaction,
    id: HoldId,
    by: &str,
    reason: &str,
) -> Result<(), StoreError> {
    let sql = "UPDATE audit.holds SET released_by = $2, released_at = $3, release_reason = $4 \
         WHERE hold_id = $1 AND released_at IS NULL";
    let now = transaction.store().clock().now();
    transaction.execute(sql, &[&id.0, &by, &now, &reason]).await.map(drop)
}
