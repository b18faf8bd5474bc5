//! Rows of sign-ins under way, and of what they need.

use std::collections::HashSet;

use jiff::Timestamp;
use rowhouse_domain::id::{TenantId, UserId};
use rowhouse_domain::identity::Evidence;
use rowhouse_store::{StoreError, Transaction};
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::identity::hashing::Hashed;

/// A sign-in whose password was right.
#[derive(Debug, Clone)]
pub struct FlowRow {
    pub digest: Vec<u8>,
    pub user: UserId,
    pub wanted: Option<TenantId>,
    pub evidence: Evidence,
    pub guesses: i32,
    pub code_digest: Option<Vec<u8>>,
    pub code_until: Option<Timestamp>,
    /// The counter of tries that a session clears.
    pub throttle: Vec<u8>,
    pub expires_at: Timestamp,
}

/// Stores one; the same sign-in again replaces it.
pub async fn put(
    tx: &Transaction,
    flow: &FlowRow,
    (ip, agent): (&str, &str),
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO identity.flows AS f (digest, user_id, wanted_tenant, state, evidence, throttle, ip, agent, created_at, expires_at) \
         VALUES ($1, $2, $3, 'open', $4, $5, $6, $7, $8, $9) \
         ON CONFLICT ON CONSTRAINT flows_pkey DO UPDATE SET evidence = excluded.evidence",
        &[
            &flow.digest,
            &flow.user.0,
            &flow.wanted.map(|tenant| tenant.0),
            &Json(&flow.evidence),
            &flow.throttle,
            &ip,
            &agent,
            &now,
            &flow.expires_at,
        ],
    )
    .await
    .map(drop)
}

/// Stores one that begins with a passkey; whether it was not there, for each text begins one sign-in.
pub async fn put_first(
    tx: &Transaction,
    flow: &FlowRow,
    (ip, agent): (&str, &str),
    now: Timestamp,
) -> Result<bool, StoreError> {
    let sql = "INSERT INTO identity.flows (digest, user_id, wanted_tenant, state, evidence, throttle, ip, agent, created_at, expires_at) \
               VALUES ($1, $2, $3, 'open', $4, $5, $6, $7, $8, $9) ON CONFLICT ON CONSTRAINT flows_pkey DO NOTHING";
    let wanted = flow.wanted.map(|tenant| tenant.0);
    let values: &[&(dyn tokio_postgres::types::ToSql + Sync)] = &[
        &flow.digest,
        &flow.user.0,
        &wanted,
        &Json(&flow.evidence),
        &flow.throttle,
        &ip,
        &agent,
        &now,
        &flow.expires_at,
    ];
    Ok(tx.execute(sql, values).await? == 1)
}

/// One that is under way, held against others.
pub async fn lock(tx: &Transaction, digest: &[u8], now: Timestamp) -> Result<Option<FlowRow>, StoreError> {
    let sql = "SELECT user_id, wanted_tenant, evidence, guesses, code_digest, code_until, throttle, expires_at \
               FROM identity.flows WHERE digest = $1 AND state = 'open' AND expires_at > $2 FOR UPDATE";
    let row = tx.query_opt(sql, &[&digest, &now]).await?;
    Ok(row.map(|row| FlowRow {
        digest: digest.to_vec(),
        user: UserId(row.get(0)),
        wanted: row.get::<_, Option<uuid::Uuid>>(1).map(TenantId),
        evidence: row.get::<_, Json<Evidence>>(2).0,
        guesses: row.get(3),
        code_digest: row.get(4),
        code_until: row.get(5),
        throttle: row.get(6),
        expires_at: row.get(7),
    }))
}

/// What was shown meanwhile, and which tenant is meant. A code that was mailed is used up.
pub async fn update(tx: &Transaction, flow: &FlowRow) -> Result<(), StoreError> {
    let sql = "UPDATE identity.flows SET evidence = $2, wanted_tenant = $3, guesses = $4, code_digest = $5, code_until = $6 \
               WHERE digest = $1";
    let wanted = flow.wanted.map(|tenant| tenant.0);
    let values: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
        &[&flow.digest, &Json(&flow.evidence), &wanted, &flow.guesses, &flow.code_digest, &flow.code_until];
    tx.execute(sql, values).await.map(drop)
}

/// It is done: its text begins nothing any more.
pub async fn close(tx: &Transaction, digest: &[u8]) -> Result<(), StoreError> {
    tx.execute("UPDATE identity.flows SET state = 'done' WHERE digest = $1", &[&digest]).await.map(drop)
}

/// Whether it has had its first proof.
pub async fn is_begun(tx: &Transaction, digest: &[u8]) -> Result<bool, StoreError> {
    Ok(tx.query_opt("SELECT 1 FROM identity.flows WHERE digest = $1", &[&digest]).await?.is_some())
}

/// Whether it was done before.
pub async fn is_done(tx: &Transaction, digest: &[u8]) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM identity.flows WHERE digest = $1 AND state = 'done'";
    Ok(tx.query_opt(sql, &[&digest]).await?.is_some())
}

/// The password of a person, and when it was set.
pub async fn password(tx: &Transaction, user: UserId) -> Result<Option<(Hashed, Timestamp)>, StoreError> {
    let sql = "SELECT salt, digest, memory_kib, passes, set_at FROM identity.passwords WHERE user_id = $1";
    let row = tx.query_opt(sql, &[&user.0]).await?;
    Ok(row.map(|row| (hashed(&row), row.get(4))))
}

/// The password of a person, held against others: whoever sets another one sees what was begun with this.
pub async fn hold_password(tx: &Transaction, user: UserId) -> Result<Option<Hashed>, StoreError> {
    let sql = "SELECT salt, digest, memory_kib, passes FROM identity.passwords WHERE user_id = $1 FOR UPDATE";
    Ok(tx.query_opt(sql, &[&user.0]).await?.map(|row| hashed(&row)))
}

fn hashed(row: &tokio_postgres::Row) -> Hashed {
    Hashed {
        salt: row.get(0),
        digest: row.get(1),
        memory_kib: row.get::<_, i32>(2) as u32,
        passes: row.get::<_, i32>(3) as u32,
    }
}

/// The passwords that a person had before, newest first.
pub async fn former_passwords(tx: &Transaction, user: UserId, most: i64) -> Result<Vec<Hashed>, StoreError> {
    let sql = "SELECT salt, digest, memory_kib, passes FROM identity.former_passwords WHERE user_id = $1 \
               ORDER BY set_at DESC LIMIT $2";
    Ok(tx.query(sql, &[&user.0, &most]).await?.iter().map(hashed).collect())
}

/// Keeps the present password among the former ones, of which the newest 24 stay.
pub async fn retire_password(tx: &Transaction, user: UserId) -> Result<(), StoreError> {
    let sql = "INSERT INTO identity.former_passwords (user_id, set_at, salt, digest, memory_kib, passes) \
               SELECT user_id, set_at, salt, digest, memory_kib, passes FROM identity.passwords WHERE user_id = $1 \
               ON CONFLICT DO NOTHING";
    tx.execute(sql, &[&user.0]).await?;
    let sql = "DELETE FROM identity.former_passwords WHERE user_id = $1 AND set_at NOT IN \
               (SELECT set_at FROM identity.former_passwords WHERE user_id = $1 ORDER BY set_at DESC LIMIT 24)";
    tx.execute(sql, &[&user.0]).await.map(drop)
}

/// The tenants that a person belongs to, active there.
pub async fn tenants_of(tx: &Transaction, user: UserId) -> Result<Vec<TenantId>, StoreError> {
    let sql = "SELECT tenant_id FROM identity.memberships WHERE user_id = $1 AND status = 'active' ORDER BY tenant_id LIMIT 200";
    Ok(tx.query(sql, &[&user.0]).await?.iter().map(|row| TenantId(row.get(0))).collect())
}

/// The tenants that a person belongs to, active or suspended there.
pub async fn standing_of(tx: &Transaction, user: UserId) -> Result<Vec<TenantId>, StoreError> {
    let sql = "SELECT tenant_id FROM identity.memberships WHERE user_id = $1 AND status <> 'removed' ORDER BY tenant_id";
    Ok(tx.query(sql, &[&user.0]).await?.iter().map(|row| TenantId(row.get(0))).collect())
}

/// Those of `people` who belong to a tenant other than `here`, active or suspended there. The transaction must see the platform.
pub async fn standing_elsewhere(
    tx: &Transaction,
    here: TenantId,
    people: &[Uuid],
) -> Result<HashSet<UserId>, StoreError> {
    let sql = "SELECT DISTINCT user_id FROM identity.memberships WHERE user_id = ANY ($1) AND tenant_id <> $2 AND status <> 'removed'";
    let rows = tx.query(sql, &[&people, &here.0]).await?;
    Ok(rows.iter().map(|row| UserId(row.get(0))).collect())
}

/// Puts a link in the place of the one of its purpose.
pub async fn put_link(
    tx: &Transaction,
    (user, purpose): (UserId, &str),
    digest: &[u8],
    (now, until): (Timestamp, Timestamp),
) -> Result<(), StoreError> {
    let sql = "INSERT INTO identity.links (user_id, purpose, digest, expires_at, created_at) VALUES ($1, $2, $3, $4, $5) \
               ON CONFLICT ON CONSTRAINT links_pkey DO UPDATE SET digest = excluded.digest, expires_at = excluded.expires_at, \
               created_at = excluded.created_at";
    tx.execute(sql, &[&user.0, &purpose, &digest, &until, &now]).await.map(drop)
}

/// Whose open link it is.
pub async fn link(
    tx: &Transaction,
    purpose: &str,
    digest: &[u8],
    now: Timestamp,
) -> Result<Option<UserId>, StoreError> {
    let sql = "SELECT user_id FROM identity.links WHERE purpose = $1 AND digest = $2 AND expires_at > $3";
    Ok(tx.query_opt(sql, &[&purpose, &digest, &now]).await?.map(|row| UserId(row.get(0))))
}

/// Uses a link up; whose it was. Of two who try at once one does.
pub async fn take_link(
    tx: &Transaction,
    purpose: &str,
    digest: &[u8],
    now: Timestamp,
) -> Result<Option<UserId>, StoreError> {
    let sql =
        "DELETE FROM identity.links WHERE purpose = $1 AND digest = $2 AND expires_at > $3 RETURNING user_id";
    Ok(tx.query_opt(sql, &[&purpose, &digest, &now]).await?.map(|row| UserId(row.get(0))))
}

/// Voids all links of a person, with those that would prove another address. Links by which the old address takes a change back stay:
/// they are the owner's.
pub async fn void_links(tx: &Transaction, user: UserId) -> Result<(), StoreError> {
    tx.execute("DELETE FROM identity.links WHERE user_id = $1", &[&user.0]).await?;
    let sql = "UPDATE identity.email_changes SET proven_until = created_at WHERE user_id = $1 AND confirmed_at IS NULL";
    tx.execute(sql, &[&user.0]).await.map(drop)
}
