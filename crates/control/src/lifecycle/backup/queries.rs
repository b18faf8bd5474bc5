//! Rows and SQL of backups.

use jiff::Timestamp;
use rowhouse_domain::id::{BackupId, TenantId};
use rowhouse_store::{StoreError, Topic, Transaction};
use serde_json::Value;
use tokio_postgres::Row;
use uuid::Uuid;

use super::take::{Taken, hexadecimal};

/// A backup.
#[derive(Debug, Clone)]
pub struct BackupRow {
    pub id: BackupId,
    pub tenant: TenantId,
    pub kind: String,
    pub cause: String,
    pub note: String,
    pub state: String,
    pub region: String,
    pub cell: Option<String>,
    pub created_by: String,
    pub created_at: Timestamp,
    pub attempts: i32,
    pub problem: Option<String>,
    pub taken_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub expires_at: Timestamp,
    pub file: Option<String>,
    pub manifest_sha256: Option<String>,
    pub bytes: Option<i64>,
    pub rows: Option<i64>,
    pub services: Value,
    pub last_verified_at: Option<Timestamp>,
    pub verified: Option<Value>,
}

macro_rules! columns {
    () => {
        "backup_id, tenant_id, kind, cause, note, state, region, cell, created_by, created_at, attempts, problem, \
         taken_at, finished_at, expires_at, file, manifest_sha256, bytes, rows, services, last_verified_at, verified"
    };
}

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT ", columns!(), " FROM lifecycle.backups ", $rest)
    };
}

fn parse(row: &Row) -> BackupRow {
    BackupRow {
        id: BackupId(row.get(0)),
        tenant: TenantId(row.get(1)),
        kind: row.get(2),
        cause: row.get(3),
        note: row.get(4),
        state: row.get(5),
        region: row.get(6),
        cell: row.get(7),
        created_by: row.get(8),
        created_at: row.get(9),
        attempts: row.get(10),
        problem: row.get(11),
        taken_at: row.get(12),
        finished_at: row.get(13),
        expires_at: row.get(14),
        file: row.get(15),
        manifest_sha256: row.get(16),
        bytes: row.get(17),
        rows: row.get(18),
        services: row.get(19),
        last_verified_at: row.get(20),
        verified: row.get(21),
    }
}

/// A backup that is wanted.
#[derive(Debug, Clone)]
pub struct NewBackup<'a> {
    pub id: BackupId,
    pub tenant: TenantId,
    pub cause: &'a str,
    /// The day (its first instant) that a scheduled one is of.
    pub day: Option<Timestamp>,
    pub note: &'a str,
    pub region: &'a str,
    pub created_by: &'a str,
    pub expires_at: Timestamp,
}

/// Enters a backup to be taken; not if the day has one.
pub async fn insert(transaction: &Transaction, new: &NewBackup<'_>) -> Result<bool, StoreError> {
    let inserted = transaction
        .execute(
            "INSERT INTO lifecycle.backups (backup_id, tenant_id, kind, cause, day, note, state, region, created_by, \
               created_at, run_at, expires_at) \
             VALUES ($1, $2, 'snapshot', $3, ($4::timestamptz AT TIME ZONE 'UTC')::date, $5, 'running', $6, $7, $8, $8, $9) \
             ON CONFLICT (tenant_id, day) WHERE day IS NOT NULL DO NOTHING",
            &[
                &new.id.0,
                &new.tenant.0,
                &new.cause,
                &new.day,
                &new.note,
                &new.region,
                &new.created_by,
                &transaction.store().clock().now(),
                &new.expires_at,
            ],
        )
        .await?;
    transaction.touch(Topic::Backups);
    Ok(inserted == 1)
}

/// One backup that the transaction sees.
pub async fn get(transaction: &Transaction, id: BackupId) -> Result<Option<BackupRow>, StoreError> {
    Ok(transaction.query_opt(select!("WHERE backup_id = $1"), &[&id.0]).await?.as_ref().map(parse))
}

/// A page, newest first.
pub async fn list(
    transaction: &Transaction,
    tenant: Option<TenantId>,
    before: Option<Uuid>,
    size: i64,
) -> Result<Vec<BackupRow>, StoreError> {
    let sql = select!(
        "WHERE ($1::uuid IS NULL OR tenant_id = $1) AND ($2::uuid IS NULL OR backup_id < $2) \
         ORDER BY backup_id DESC LIMIT $3"
    );
    let rows = transaction.query(sql, &[&tenant.map(|tenant| tenant.0), &before, &size]).await?;
    Ok(rows.iter().map(parse).collect())
}

/// The newest backup of a tenant that was taken no later than `at` and can be restored.
pub async fn newest(
    transaction: &Transaction,
    tenant: TenantId,
    at: Option<Timestamp>,
) -> Result<Option<BackupRow>, StoreError> {
    let sql = select!(
        "WHERE tenant_id = $1 AND state = 'ok' AND ($2::timestamptz IS NULL OR taken_at <= $2) \
         ORDER BY taken_at DESC LIMIT 1"
    );
    Ok(transaction.query_opt(sql, &[&tenant.0, &at]).await?.as_ref().map(parse))
}

/// Claims the backup that has been due longest.
pub async fn claim(
    transaction: &Transaction,
    node: &str,
    until: Timestamp,
) -> Result<Option<BackupRow>, StoreError> {
    let now = transaction.store().clock().now();
    let sql = concat!(
        "UPDATE lifecycle.backups SET attempts = attempts + 1, lease_until = $2, node = $3 \
         WHERE backup_id = (SELECT backup_id FROM lifecycle.backups \
             WHERE state = 'running' AND run_at <= $1 AND (lease_until IS NULL OR lease_until < $1) \
             ORDER BY run_at LIMIT 1 FOR UPDATE SKIP LOCKED)",
        " RETURNING ",
        columns!()
    );
    Ok(transaction.query_opt(sql, &[&now, &until, &node]).await?.as_ref().map(parse))
}

/// Ends the claims of a node that has started anew; how many.
pub async fn free(transaction: &Transaction, node: &str) -> Result<u64, StoreError> {
    let sql = "UPDATE lifecycle.backups SET lease_until = NULL WHERE state = 'running' AND node = $1";
    transaction.execute(sql, &[&node]).await
}

/// Renews a claim; whether it still holds.
pub async fn renew(transaction: &Transaction, row: &BackupRow, until: Timestamp) -> Result<bool, StoreError> {
    let sql = "UPDATE lifecycle.backups SET lease_until = $3 \
         WHERE backup_id = $1 AND attempts = $2 AND state = 'running'";
    Ok(transaction.execute(sql, &[&row.id.0, &row.attempts, &until]).await? == 1)
}

/// Says that a backup is there; whether this try still had the say.
pub async fn succeed(
    transaction: &Transaction,
    row: &BackupRow,
    file: &str,
    taken: &Taken,
) -> Result<bool, StoreError> {
    let taken_at: Timestamp =
        taken.manifest.taken_at.parse().map_err(|_| StoreError::Stored { what: "a time of a backup" })?;
    let bytes = i64::try_from(taken.written.bytes).map_err(|_| StoreError::Stored { what: "a length" })?;
    let rows: i64 = taken.manifest.tables.iter().map(|line| line.sum.rows).sum();
    let services = serde_json::to_value(&taken.manifest.services).expect("plain data");
    let changed = transaction
        .execute(
            "UPDATE lifecycle.backups SET state = 'ok', lease_until = NULL, problem = NULL, taken_at = $3, \
               finished_at = $4, file = $5, file_sha256 = $6, manifest_sha256 = $7, bytes = $8, rows = $9, \
               services = $10, cell = $11 \
             WHERE backup_id = $1 AND attempts = $2 AND state = 'running'",
            &[
                &row.id.0,
                &row.attempts,
                &taken_at,
                &transaction.store().clock().now(),
                &file,
                &hexadecimal(&taken.written.sha256),
                &taken.manifest_sha256,
                &bytes,
                &rows,
                &services,
                &taken.cell,
            ],
        )
        .await?;
    Ok(changed == 1)
}

/// Says why a try failed: another one at `again`, or none.
pub async fn fail(
    transaction: &Transaction,
    row: &BackupRow,
    problem: &str,
    again: Option<Timestamp>,
) -> Result<bool, StoreError> {
    let now = transaction.store().clock().now();
    let changed = transaction
        .execute(
            "UPDATE lifecycle.backups SET problem = $3, lease_until = NULL, run_at = coalesce($4, run_at), \
               state = CASE WHEN $4::timestamptz IS NULL THEN 'failed' ELSE state END, \
               finished_at = CASE WHEN $4::timestamptz IS NULL THEN $5::timestamptz END \
             WHERE backup_id = $1 AND attempts = $2 AND state = 'running'",
            &[&row.id.0, &row.attempts, &problem, &again, &now],
        )
        .await?;
    Ok(changed == 1)
}

/// Backups whose time is over, but for those of these tenants and these themselves.
pub async fn expiring(
    transaction: &Transaction,
    (tenants, kept): (&[Uuid], &[Uuid]),
) -> Result<Vec<BackupRow>, StoreError> {
    let sql = select!(
        "WHERE state IN ('ok', 'failed') AND expires_at <= $1 AND NOT tenant_id = ANY ($2) AND NOT backup_id = ANY ($3) \
         ORDER BY expires_at LIMIT 50"
    );
    let rows = transaction.query(sql, &[&transaction.store().clock().now(), &tenants, &kept]).await?;
    Ok(rows.iter().map(parse).collect())
}

/// Says that the file of a backup is not there any more.
pub async fn expire(transaction: &Transaction, id: BackupId) -> Result<bool, StoreError> {
    let sql =
        "UPDATE lifecycle.backups SET state = 'expired' WHERE backup_id = $1 AND state IN ('ok', 'failed')";
    Ok(transaction.execute(sql, &[&id.0]).await? == 1)
}

/// Says that no backup of a tenant can be opened any more; of how many that is true now.
pub async fn shred_all(transaction: &Transaction, tenant: TenantId) -> Result<u64, StoreError> {
    let sql = "UPDATE lifecycle.backups SET state = 'shredded', lease_until = NULL \
         WHERE tenant_id = $1 AND state IN ('running', 'ok', 'failed')";
    transaction.execute(sql, &[&tenant.0]).await?;
    let sql = "SELECT count(*) FROM lifecycle.backups WHERE tenant_id = $1 AND state = 'shredded'";
    Ok(transaction.query_one(sql, &[&tenant.0]).await?.get::<_, i64>(0).unsigned_abs())
}

/// Records that a backup was restored to scratch and found whole.
pub async fn verified(transaction: &Transaction, id: BackupId, evidence: &Value) -> Result<(), StoreError> {
    let sql = "UPDATE lifecycle.backups SET last_verified_at = $2, verified = $3 WHERE backup_id = $1";
    let now = transaction.store().clock().now();
    transaction.execute(sql, &[&id.0, &now, evidence]).await.map(drop)
}

/// How many of a tenant count against what it may have, and when the first of them goes.
pub async fn kept(
    transaction: &Transaction,
    tenant: TenantId,
) -> Result<(i64, Option<Timestamp>), StoreError> {
    let sql = "SELECT count(*), min(expires_at) FROM lifecycle.backups WHERE tenant_id = $1 AND \
         cause = 'request' AND state IN ('running', 'ok') AND expires_at > $2";
    let row = transaction.query_one(sql, &[&tenant.0, &transaction.store().clock().now()]).await?;
    Ok((row.get(0), row.get(1)))
}
