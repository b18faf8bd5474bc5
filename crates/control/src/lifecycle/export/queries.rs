//! Rows and SQL of exports.

use jiff::Timestamp;
use rowhouse_domain::id::{ExportId, TenantId};
use rowhouse_store::{StoreError, Transaction};
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

/// A file within an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Entry {
    /// As in `stamping/stamps.jsonl`.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// An export.
#[derive(Debug, Clone)]
pub struct ExportRow {
    pub id: ExportId,
    pub tenant: TenantId,
    pub operation: Uuid,
    pub state: String,
    pub region: String,
    pub file: Option<String>,
    pub contents: Option<Vec<Entry>>,
    pub bytes: Option<i64>,
    pub created_by: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT export_id, tenant_id, operation_id, state, region, file, contents, bytes, created_by, created_at, \
             expires_at FROM lifecycle.exports ",
            $rest
        )
    };
}

fn parse(row: &Row) -> ExportRow {
    ExportRow {
        id: ExportId(row.get(0)),
        tenant: TenantId(row.get(1)),
        operation: row.get(2),
        state: row.get(3),
        region: row.get(4),
        file: row.get(5),
        contents: row.get::<_, Option<Json<Vec<Entry>>>>(6).map(|json| json.0),
        bytes: row.get(7),
        created_by: row.get(8),
        created_at: row.get(9),
        expires_at: row.get(10),
    }
}

/// An export that is wanted.
#[derive(Debug, Clone)]
pub struct NewExport<'a> {
    pub id: ExportId,
    pub tenant: TenantId,
    pub operation: Uuid,
    pub region: &'a str,
    pub created_by: &'a str,
    pub expires_at: Timestamp,
}

/// Enters it as `running`.
pub async fn insert(transaction: &Transaction, new: &NewExport<'_>) -> Result<(), StoreError> {
    transaction
        .execute(
            "INSERT INTO lifecycle.exports (export_id, tenant_id, operation_id, state, region, created_by, created_at, \
               expires_at) VALUES ($1, $2, $3, 'running', $4, $5, $6, $7)",
            &[
                &new.id.0,
                &new.tenant.0,
                &new.operation,
                &new.region,
                &new.created_by,
                &transaction.store().clock().now(),
                &new.expires_at,
            ],
        )
        .await?;
    Ok(())
}

/// One export that the transaction sees.
pub async fn get(transaction: &Transaction, id: ExportId) -> Result<Option<ExportRow>, StoreError> {
    Ok(transaction.query_opt(select!("WHERE export_id = $1"), &[&id.0]).await?.as_ref().map(parse))
}

/// A page, newest first.
pub async fn list(
    transaction: &Transaction,
    tenant: Option<TenantId>,
    before: Option<Uuid>,
    size: i64,
) -> Result<Vec<ExportRow>, StoreError> {
    let sql = select!(
        "WHERE ($1::uuid IS NULL OR tenant_id = $1) AND ($2::uuid IS NULL OR export_id < $2) \
         ORDER BY export_id DESC LIMIT $3"
    );
    let rows = transaction.query(sql, &[&tenant.map(|tenant| tenant.0), &before, &size]).await?;
    Ok(rows.iter().map(parse).collect())
}

/// Says that it can be fetched.
pub async fn ready(
    transaction: &Transaction,
    id: ExportId,
    file: &str,
    contents: &[Entry],
    bytes: i64,
) -> Result<(), StoreError> {
    let sql = "UPDATE lifecycle.exports SET state = 'ok', file = $2, contents = $3, bytes = $4, ready_at = $5 \
         WHERE export_id = $1 AND state = 'running'";
    transaction
        .execute(sql, &[&id.0, &file, &Json(contents), &bytes, &transaction.store().clock().now()])
        .await
        .map(drop)
}

/// When an export of the tenant was last ready to be fetched, whatever became of it since.
pub async fn last_ready(
    transaction: &Transaction,
    tenant: TenantId,
) -> Result<Option<Timestamp>, StoreError> {
    let sql = "SELECT max(ready_at) FROM lifecycle.exports WHERE tenant_id = $1";
    Ok(transaction.query_one(sql, &[&tenant.0]).await?.get(0))
}

/// Ends one as `state`; whether it was not over.
pub async fn end(transaction: &Transaction, id: ExportId, state: &'static str) -> Result<bool, StoreError> {
    let sql = "UPDATE lifecycle.exports SET state = $2 WHERE export_id = $1 AND state IN ('running', 'ok')";
    Ok(transaction.execute(sql, &[&id.0, &state]).await? == 1)
}

/// Exports whose time is over, but for those of these tenants and these themselves.
pub async fn expiring(
    transaction: &Transaction,
    (tenants, kept): (&[Uuid], &[Uuid]),
) -> Result<Vec<ExportRow>, StoreError> {
    let sql = select!(
        "WHERE state = 'ok' AND expires_at <= $1 AND NOT tenant_id = ANY ($2) AND NOT export_id = ANY ($3) \
         ORDER BY expires_at LIMIT 50"
    );
    let rows = transaction.query(sql, &[&transaction.store().clock().now(), &tenants, &kept]).await?;
    Ok(rows.iter().map(parse).collect())
}

/// Ends all of a tenant; how many could be fetched.
pub async fn expire_all(transaction: &Transaction, tenant: TenantId) -> Result<u64, StoreError> {
    let sql =
        "UPDATE lifecycle.exports SET state = 'expired' WHERE tenant_id = $1 AND state IN ('running', 'ok')";
    transaction.execute(sql, &[&tenant.0]).await
}

/// How many of a tenant count against what it may have, and when the first of them goes.
pub async fn kept(
    transaction: &Transaction,
    tenant: TenantId,
) -> Result<(i64, Option<Timestamp>), StoreError> {
    let sql = "SELECT count(*), min(expires_at) FROM lifecycle.exports WHERE tenant_id = $1 AND \
         state IN ('running', 'ok') AND expires_at > $2";
    let row = transaction.query_one(sql, &[&tenant.0, &transaction.store().clock().now()]).await?;
    Ok((row.get(0), row.get(1)))
}
