//! Rows of requests.

use jiff::Timestamp;
use rowhouse_domain::id::{ApplicationId, SessionId, TenantId, UserId};
use rowhouse_domain::identity::Evidence;
use rowhouse_store::{StoreError, Transaction};
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::identity::session::SessionRow;

/// A request as it was made.
#[derive(Debug, Clone)]
pub struct RequestRow {
    pub digest: Vec<u8>,
    pub user_code: Vec<u8>,
    /// None for our own command line.
    pub application: Option<ApplicationId>,
    pub ip: String,
    pub agent: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// How a request stands.
#[derive(Debug, Clone)]
pub struct StandingRow {
    pub application: Option<ApplicationId>,
    pub state: String,
    pub expires_at: Timestamp,
    pub polled_at: Option<Timestamp>,
    pub interval_s: i32,
    pub allowed: Option<Allowed>,
}

/// Who allowed it.
#[derive(Debug, Clone)]
pub struct Allowed {
    pub tenant: TenantId,
    pub user: UserId,
    /// The browser's.
    pub session: SessionId,
    pub evidence: Evidence,
}

/// Stores one.
pub async fn put(tx: &Transaction, row: &RequestRow, interval_s: i32) -> Result<(), StoreError> {
    let sql = "INSERT INTO identity.device_requests (digest, user_code, application_id, state, ip, agent, created_at, expires_at, \
               interval_s) VALUES ($1, $2, $3, 'waiting', $4, $5, $6, $7, $8)";
    let application = row.application.map(|own| own.0);
    let values: &[&(dyn tokio_postgres::types::ToSql + Sync)] = &[
        &row.digest,
        &row.user_code,
        &application,
        &row.ip,
        &row.agent,
        &row.created_at,
        &row.expires_at,
        &interval_s,
    ];
    tx.execute(sql, values).await.map(drop)
}

/// One that waits, by what a person types.
pub async fn waiting(
    tx: &Transaction,
    user_code: &[u8],
    now: Timestamp,
) -> Result<Option<RequestRow>, StoreError> {
    let sql = "SELECT digest, user_code, application_id, ip, agent, created_at, expires_at FROM identity.device_requests \
               WHERE user_code = $1 AND state = 'waiting' AND expires_at > $2 FOR UPDATE";
    let row = tx.query_opt(sql, &[&user_code, &now]).await?;
    Ok(row.map(|row| RequestRow {
        digest: row.get(0),
        user_code: row.get(1),
        application: row.get::<_, Option<Uuid>>(2).map(ApplicationId),
        ip: row.get(3),
        agent: row.get(4),
        created_at: row.get(5),
        expires_at: row.get(6),
    }))
}

/// What the person said.
pub async fn decide(
    tx: &Transaction,
    digest: &[u8],
    state: &str,
    session: &SessionRow,
) -> Result<(), StoreError> {
    let sql = "UPDATE identity.device_requests SET state = $2, tenant_id = $3, user_id = $4, session_id = $5, evidence = $6 \
               WHERE digest = $1 AND state = 'waiting'";
    let values: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
        &[&digest, &state, &session.tenant.0, &session.user.0, &session.id.0, &Json(&session.evidence)];
    tx.execute(sql, values).await.map(drop)
}

/// One by what its program holds, held against others.
pub async fn lock(tx: &Transaction, digest: &[u8]) -> Result<Option<StandingRow>, StoreError> {
    let sql = "SELECT application_id, state, expires_at, polled_at, interval_s, tenant_id, user_id, session_id, evidence \
               FROM identity.device_requests WHERE digest = $1 FOR UPDATE";
    let row = tx.query_opt(sql, &[&digest]).await?;
    Ok(row.map(|row| StandingRow {
        application: row.get::<_, Option<Uuid>>(0).map(ApplicationId),
        state: row.get(1),
        expires_at: row.get(2),
        polled_at: row.get(3),
        interval_s: row.get(4),
        allowed: row.get::<_, Option<Uuid>>(5).zip(row.get::<_, Option<Uuid>>(6)).map(|(tenant, user)| {
            Allowed {
                tenant: TenantId(tenant),
                user: UserId(user),
                session: SessionId(row.get::<_, Option<Uuid>>(7).unwrap_or_default()),
                evidence: row.get::<_, Option<Json<Evidence>>>(8).map(|own| own.0).unwrap_or_default(),
            }
        }),
    }))
}

/// The program asked how it stands.
pub async fn polled(
    tx: &Transaction,
    digest: &[u8],
    interval_s: i32,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "UPDATE identity.device_requests SET polled_at = $2, interval_s = $3 WHERE digest = $1";
    tx.execute(sql, &[&digest, &now, &interval_s]).await.map(drop)
}

/// It has its session; once.
pub async fn used(tx: &Transaction, digest: &[u8]) -> Result<(), StoreError> {
    tx.execute("UPDATE identity.device_requests SET state = 'used' WHERE digest = $1", &[&digest])
        .await
        .map(drop)
}
