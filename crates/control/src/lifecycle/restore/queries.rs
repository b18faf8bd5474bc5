//! Rows and SQL of restored copies.

use jiff::Timestamp;
use rowhouse_domain::id::{BackupId, RestoreId, TenantId};
use rowhouse_store::{StoreError, Transaction};
use rowhouse_tenantdb::Place;
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

/// A restored copy.
#[derive(Debug, Clone)]
pub struct RestoreRow {
    pub id: RestoreId,
    pub tenant: TenantId,
    pub backup: BackupId,
    pub operation: Uuid,
    pub mode: String,
    pub state: String,
    pub cell: String,
    pub place: Place,
    pub secret: Option<Vec<u8>>,
    pub rows: Option<i64>,
    pub services: Value,
    pub created_by: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT restore_id, tenant_id, backup_id, operation_id, mode, state, cell, place, secret, rows, services, \
             created_by, created_at, expires_at FROM lifecycle.restores ",
            $rest
        )
    };
}

fn parse(row: &Row) -> RestoreRow {
    RestoreRow {
        id: RestoreId(row.get(0)),
        tenant: TenantId(row.get(1)),
        backup: BackupId(row.get(2)),
        operation: row.get(3),
        mode: row.get(4),
        state: row.get(5),
        cell: row.get(6),
        place: row.get::<_, Json<Place>>(7).0,
        secret: row.get(8),
        rows: row.get(9),
        services: row.get(10),
        created_by: row.get(11),
        created_at: row.get(12),
        expires_at: row.get(13),
    }
}

/// A copy that is about to be made.
#[derive(Debug, Clone)]
pub struct NewRestore<'a> {
    pub id: RestoreId,
    pub backup: BackupId,
    pub operation: Uuid,
    pub mode: &'static str,
    pub cell: &'a str,
    pub place: &'a Place,
    pub created_by: &'a str,
    pub expires_at: Timestamp,
}

/// Enters it as `running`. Twice is once.
pub async fn insert(transaction: &Transaction, new: &NewRestore<'_>) -> Result<(), StoreError> {
    transaction
        .execute(
            "INSERT INTO lifecycle.restores (restore_id, tenant_id, backup_id, operation_id, mode, state, cell, place, \
               created_by, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, 'running', $6, $7, $8, $9, $10) ON CONFLICT (restore_id) DO NOTHING",
            &[
                &new.id.0,
                &new.place.tenant.0,
                &new.backup.0,
                &new.operation,
                &new.mode,
                &new.cell,
                &Json(new.place),
                &new.created_by,
                &transaction.store().clock().now(),
                &new.expires_at,
            ],
        )
        .await?;
    Ok(())
}

/// One copy that the transaction sees; those of verifications are not shown.
pub async fn get(transaction: &Transaction, id: RestoreId) -> Result<Option<RestoreRow>, StoreError> {
    let sql = select!("WHERE restore_id = $1 AND mode = 'beside'");
    Ok(transaction.query_opt(sql, &[&id.0]).await?.as_ref().map(parse))
}

/// A page, newest first.
pub async fn list(
    transaction: &Transaction,
    tenant: Option<TenantId>,
    before: Option<Uuid>,
    size: i64,
) -> Result<Vec<RestoreRow>, StoreError> {
    let sql = select!(
        "WHERE mode = 'beside' AND ($1::uuid IS NULL OR tenant_id = $1) AND ($2::uuid IS NULL OR restore_id < $2) \
         ORDER BY restore_id DESC LIMIT $3"
    );
    let rows = transaction.query(sql, &[&tenant.map(|tenant| tenant.0), &before, &size]).await?;
    Ok(rows.iter().map(parse).collect())
}

/// Keeps the login's password, sealed.
pub async fn keep_secret(transaction: &Transaction, id: RestoreId, secret: &[u8]) -> Result<(), StoreError> {
    let sql = "UPDATE lifecycle.restores SET secret = $2 WHERE restore_id = $1";
    transaction.execute(sql, &[&id.0, &secret]).await.map(drop)
}

/// Opens a copy to its readers.
pub async fn open(
    transaction: &Transaction,
    id: RestoreId,
    rows: i64,
    services: &Value,
) -> Result<(), StoreError> {
    let sql = "UPDATE lifecycle.restores SET state = 'open', rows = $2, services = $3 \
         WHERE restore_id = $1 AND state = 'running'";
    transaction.execute(sql, &[&id.0, &rows, services]).await.map(drop)
}

/// Ends a copy as `state`; whether it was not over.
pub async fn end(transaction: &Transaction, id: RestoreId, state: &'static str) -> Result<bool, StoreError> {
    let sql = "UPDATE lifecycle.restores SET state = $2, secret = NULL \
         WHERE restore_id = $1 AND state IN ('running', 'open')";
    Ok(transaction.execute(sql, &[&id.0, &state]).await? == 1)
}

/// Lets the time of an open copy be over.
pub async fn is_over(transaction: &Transaction, id: RestoreId) -> Result<(), StoreError> {
    let sql = "UPDATE lifecycle.restores SET expires_at = least(expires_at, $2) WHERE restore_id = $1 AND state = 'open'";
    transaction.execute(sql, &[&id.0, &transaction.store().clock().now()]).await.map(drop)
}

/// Copies whose time is over.
pub async fn expiring(transaction: &Transaction) -> Result<Vec<RestoreRow>, StoreError> {
    let sql = select!("WHERE state = 'open' AND expires_at <= $1 ORDER BY expires_at LIMIT 20");
    let rows = transaction.query(sql, &[&transaction.store().clock().now()]).await?;
    Ok(rows.iter().map(parse).collect())
}

/// Copies of a tenant that are there.
pub async fn open_ones(transaction: &Transaction, tenant: TenantId) -> Result<Vec<RestoreRow>, StoreError> {
    let sql = select!("WHERE tenant_id = $1 AND state IN ('running', 'open') ORDER BY restore_id");
    Ok(transaction.query(sql, &[&tenant.0]).await?.iter().map(parse).collect())
}

/// Says that things of a tenant are gone, whoever made them.
pub async fn are_gone(
    transaction: &Transaction,
    tenant: TenantId,
    external_id: &str,
) -> Result<(), StoreError> {
    let sql = "UPDATE lifecycle.inventory SET state = 'gone', at = $3 \
         WHERE tenant_id = $1 AND external_id = $2 AND kind IN ('role', 'database') AND state <> 'gone'";
    let now = transaction.store().clock().now();
    transaction.execute(sql, &[&tenant.0, &external_id, &now]).await.map(drop)
}

/// How many of a tenant count against what it may have, and when the first of them goes.
pub async fn kept(
    transaction: &Transaction,
    tenant: TenantId,
) -> Result<(i64, Option<Timestamp>), StoreError> {
    let sql = "SELECT count(*), min(expires_at) FROM lifecycle.restores WHERE tenant_id = $1 AND \
         mode = 'beside' AND state IN ('running', 'open')";
    let row = transaction.query_one(sql, &[&tenant.0]).await?;
    Ok((row.get(0), row.get(1)))
}
