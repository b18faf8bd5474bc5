//! Rows of secrets.

use jiff::Timestamp;
use rowhouse_domain::id::{ServiceAccountId, SessionId, TenantId};
use rowhouse_store::{StoreError, Transaction};
use tokio_postgres::Row;

/// A secret. Tokens name it as their session.
#[derive(Debug, Clone)]
pub struct SecretRow {
    pub id: SessionId,
    pub tenant: TenantId,
    pub account: ServiceAccountId,
    pub label: String,
    pub created_at: Timestamp,
    pub created_by: String,
    pub expires_at: Timestamp,
    pub used_at: Option<Timestamp>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT secret_id, tenant_id, service_account_id, label, created_at, created_by, expires_at, used_at \
             FROM identity.client_secrets WHERE revoked_at IS NULL ",
            $rest
        )
    };
}

fn secret(row: &Row) -> SecretRow {
    SecretRow {
        id: SessionId(row.get(0)),
        tenant: TenantId(row.get(1)),
        account: ServiceAccountId(row.get(2)),
        label: row.get(3),
        created_at: row.get(4),
        created_by: row.get(5),
        expires_at: row.get(6),
        used_at: row.get(7),
    }
}

/// The secrets of an account that are not revoked, oldest first.
pub async fn of_account(tx: &Transaction, account: ServiceAccountId) -> Result<Vec<SecretRow>, StoreError> {
    let sql = select!("AND service_account_id = $1 ORDER BY secret_id");
    Ok(tx.query(sql, &[&account.0]).await?.iter().map(secret).collect())
}

/// The secret of a text, by its keyed hash.
pub async fn by_digest(tx: &Transaction, digest: &[u8]) -> Result<Option<SecretRow>, StoreError> {
    Ok(tx.query_opt(select!("AND digest = $1"), &[&digest]).await?.as_ref().map(secret))
}

/// Holds an account's secrets against others who make one.
pub async fn lock_account(tx: &Transaction, account: ServiceAccountId) -> Result<(), StoreError> {
    let sql = "SELECT pg_advisory_xact_lock(hashtextextended($1, 27))";
    tx.query_one(sql, &[&account.to_string()]).await.map(drop)
}

/// Stores one.
pub async fn insert(tx: &Transaction, new: &SecretRow, digest: &[u8]) -> Result<(), StoreError> {
    let sql = "INSERT INTO identity.client_secrets (secret_id, tenant_id, service_account_id, label, digest, created_at, created_by, \
               expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let values: &[&(dyn tokio_postgres::types::ToSql + Sync)] = &[
        &new.id.0,
        &new.tenant.0,
        &new.account.0,
        &new.label,
        &digest,
        &new.created_at,
        &new.created_by,
        &new.expires_at,
    ];
    tx.execute(sql, values).await.map(drop)
}

/// Revokes one of an account; whether it was there and in use.
pub async fn revoke(
    tx: &Transaction,
    (account, id): (ServiceAccountId, SessionId),
    now: Timestamp,
) -> Result<bool, StoreError> {
    let sql = "UPDATE identity.client_secrets SET revoked_at = $3 WHERE service_account_id = $1 AND secret_id = $2 AND revoked_at IS NULL";
    Ok(tx.execute(sql, &[&account.0, &id.0, &now]).await? == 1)
}

/// It was used.
pub async fn used(tx: &Transaction, id: SessionId, now: Timestamp) -> Result<(), StoreError> {
    tx.execute("UPDATE identity.client_secrets SET used_at = $2 WHERE secret_id = $1", &[&id.0, &now])
        .await
        .map(drop)
}

/// Those that were revoked while a token of theirs may still be good.
///
/// # Errors
/// If the database fails.
pub async fn revoked_since(
    tx: &Transaction,
    tenant: Option<TenantId>,
    since: Timestamp,
) -> Result<Vec<(TenantId, SessionId)>, StoreError> {
    let sql = "SELECT tenant_id, secret_id FROM identity.client_secrets WHERE revoked_at > $1 AND ($2::uuid IS NULL OR tenant_id = $2)";
    let rows = tx.query(sql, &[&since, &tenant.map(|tenant| tenant.0)]).await?;
    Ok(rows.iter().map(|row| (TenantId(row.get(0)), SessionId(row.get(1)))).collect())
}
