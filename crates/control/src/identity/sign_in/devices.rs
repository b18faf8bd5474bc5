//! Browsers that a person trusts: each counts wrong passwords for itself, so that a stranger's tries elsewhere do not lock it out. It proves
//! nobody and opens nothing.

use jiff::Timestamp;
use rowhouse_domain::access::{Permit, Principal, PrincipalKind};
use rowhouse_domain::id::{RequestId, TenantId, UserId, encode};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, StoreError, Transaction};
use serde_json::json;

use crate::Control;

/// One.
#[derive(Debug, Clone)]
pub struct DeviceRow {
    /// `device_…`: the beginning of the digest of what the browser keeps, by which nobody can stand in for it.
    pub id: String,
    /// Where it was signed in at when it began to be trusted.
    pub tenant: TenantId,
    /// The program, as it named itself.
    pub agent: String,
    pub created_at: Timestamp,
    /// From when on it is trusted no more.
    pub expires_at: Timestamp,
    digest: Vec<u8>,
}

/// Those that a person trusts at `now`, newest first; only those of one tenant if one is named. The transaction must see the platform.
///
/// # Errors
/// If the database fails.
pub async fn of_person(
    transaction: &Transaction,
    (user, only): (UserId, Option<TenantId>),
    now: Timestamp,
) -> Result<Vec<DeviceRow>, StoreError> {
    let sql = "SELECT digest, tenant_id, agent, created_at, expires_at FROM identity.devices \
               WHERE user_id = $1 AND expires_at > $2 AND ($3::uuid IS NULL OR tenant_id = $3) ORDER BY created_at DESC, digest";
    let rows = transaction.query(sql, &[&user.0, &now, &only.map(|tenant| tenant.0)]).await?;
    let device = |row: &tokio_postgres::Row| {
        let digest: Vec<u8> = row.get(0);
        let beginning = digest.first_chunk::<16>().map_or(0, |first| u128::from_be_bytes(*first));
        DeviceRow {
            id: format!("device_{}", encode(beginning)),
            tenant: TenantId(row.get(1)),
            agent: row.get(2),
            created_at: row.get(3),
            expires_at: row.get(4),
            digest,
        }
    };
    Ok(rows.iter().map(device).collect())
}

/// A browser that is trusted.
pub async fn put(
    tx: &Transaction,
    digest: &[u8],
    (tenant, user): (TenantId, UserId),
    agent: &str,
    (now, until): (Timestamp, Timestamp),
) -> Result<(), StoreError> {
    let sql = "INSERT INTO identity.devices (digest, tenant_id, user_id, agent, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)";
    tx.execute(sql, &[&digest, &tenant.0, &user.0, &agent, &now, &until]).await.map(drop)
}

/// Whether a person trusts it.
pub async fn is_trusted(
    tx: &Transaction,
    digest: &[u8],
    user: UserId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM identity.devices WHERE digest = $1 AND user_id = $2 AND expires_at > $3";
    Ok(tx.query_opt(sql, &[&digest, &user.0, &now]).await?.is_some())
}

/// A person trusts no browser any more.
pub async fn forget_all(tx: &Transaction, user: UserId) -> Result<(), StoreError> {
    tx.execute("DELETE FROM identity.devices WHERE user_id = $1", &[&user.0]).await.map(drop)
}

/// A person trusts one of their browsers no more.
///
/// # Errors
/// 404 for one that is not theirs, or not any more.
pub async fn forget(
    control: &Control,
    whose: (UserId, Option<TenantId>),
    id: &str,
    request_id: RequestId,
) -> Result<(), Refusal> {
    let permit = Permit::for_system(None, "a browser that its person trusts no more");
    let transaction = control.store.write(&permit).await?;
    let all = of_person(&transaction, whose, control.clock().now()).await?;
    let found = all.into_iter().find(|own| own.id == id);
    let device = found.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such browser."))?;
    transaction.execute("DELETE FROM identity.devices WHERE digest = $1", &[&device.digest]).await?;
    let actor = Principal { kind: PrincipalKind::User, id: whose.0.0 };
    let change = Change::new(device.tenant, "identity.device_forgotten", "delete", actor).on("device", id);
    transaction.commit(change.details(json!({})).request(request_id)).await?;
    Ok(())
}
