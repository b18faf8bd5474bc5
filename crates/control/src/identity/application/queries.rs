//! Rows of applications and of the codes they are given.

use jiff::Timestamp;
use rowhouse_domain::id::{ApplicationId, SessionId, TenantId, UserId};
use rowhouse_domain::identity::Evidence;
use rowhouse_store::{StoreError, Transaction};
use tokio_postgres::Row;
use tokio_postgres::types::Json;

/// An application.
#[derive(Debug, Clone)]
pub struct ApplicationRow {
    pub id: ApplicationId,
    pub tenant: TenantId,
    pub name: String,
    pub redirect_uris: Vec<String>,
    /// What it may use at most of the permissions of who lets it in.
    pub permissions: Vec<String>,
    /// The keyed hash of its secret; none for a program on people's own devices, which can keep none.
    pub secret: Option<Vec<u8>>,
    pub created_at: Timestamp,
    pub created_by: String,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT application_id, tenant_id, name, redirect_uris, secret, created_at, created_by, permissions FROM identity.applications ",
            $rest
        )
    };
}

fn application(row: &Row) -> ApplicationRow {
    ApplicationRow {
        id: ApplicationId(row.get(0)),
        tenant: TenantId(row.get(1)),
        name: row.get(2),
        redirect_uris: row.get(3),
        secret: row.get(4),
        created_at: row.get(5),
        created_by: row.get(6),
        permissions: row.get(7),
    }
}

/// One, if the transaction sees it.
pub async fn one(tx: &Transaction, id: ApplicationId) -> Result<Option<ApplicationRow>, StoreError> {
    Ok(tx.query_opt(select!("WHERE application_id = $1"), &[&id.0]).await?.as_ref().map(application))
}

/// Those of a tenant, oldest first.
pub async fn of_tenant(tx: &Transaction, tenant: TenantId) -> Result<Vec<ApplicationRow>, StoreError> {
    let sql = select!("WHERE tenant_id = $1 ORDER BY application_id LIMIT 1000");
    Ok(tx.query(sql, &[&tenant.0]).await?.iter().map(application).collect())
}

/// Stores one.
pub async fn insert(tx: &Transaction, new: &ApplicationRow) -> Result<(), StoreError> {
    let sql = "INSERT INTO identity.applications (application_id, tenant_id, name, redirect_uris, secret, created_at, created_by, permissions) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let values: &[&(dyn tokio_postgres::types::ToSql + Sync)] = &[
        &new.id.0,
        &new.tenant.0,
        &new.name,
        &new.redirect_uris,
        &new.secret,
        &new.created_at,
        &new.created_by,
        &new.permissions,
    ];
    tx.execute(sql, values).await.map(drop)
}

/// Takes one away with its codes; whether it was there.
pub async fn delete(tx: &Transaction, (tenant, id): (TenantId, ApplicationId)) -> Result<bool, StoreError> {
    let sql = "DELETE FROM identity.applications WHERE tenant_id = $1 AND application_id = $2";
    Ok(tx.execute(sql, &[&tenant.0, &id.0]).await? == 1)
}

/// A code as it was given.
#[derive(Debug, Clone)]
pub struct CodeRow {
    pub application: ApplicationId,
    pub tenant: TenantId,
    pub user: UserId,
    /// Of the browser that gave it.
    pub session: SessionId,
    pub evidence: Evidence,
    pub redirect_uri: String,
    pub challenge: String,
    pub nonce: String,
    pub scope: String,
    pub expires_at: Timestamp,
    /// What it was used for.
    pub used_for: Option<SessionId>,
}

/// Stores one.
pub async fn put_code(tx: &Transaction, digest: &[u8], new: &CodeRow) -> Result<(), StoreError> {
    let sql = "INSERT INTO identity.authorization_codes (digest, application_id, tenant_id, user_id, session_id, evidence, redirect_uri, \
               challenge, nonce, scope, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    let values: &[&(dyn tokio_postgres::types::ToSql + Sync)] = &[
        &digest,
        &new.application.0,
        &new.tenant.0,
        &new.user.0,
        &new.session.0,
        &Json(&new.evidence),
        &new.redirect_uri,
        &new.challenge,
        &new.nonce,
        &new.scope,
        &new.expires_at,
    ];
    tx.execute(sql, values).await.map(drop)
}

/// One, held against others.
pub async fn lock_code(tx: &Transaction, digest: &[u8]) -> Result<Option<CodeRow>, StoreError> {
    let sql = "SELECT application_id, tenant_id, user_id, session_id, evidence, redirect_uri, challenge, nonce, scope, expires_at, used_for \
               FROM identity.authorization_codes WHERE digest = $1 FOR UPDATE";
    Ok(tx.query_opt(sql, &[&digest]).await?.map(|row| CodeRow {
        application: ApplicationId(row.get(0)),
        tenant: TenantId(row.get(1)),
        user: UserId(row.get(2)),
        session: SessionId(row.get(3)),
        evidence: row.get::<_, Json<Evidence>>(4).0,
        redirect_uri: row.get(5),
        challenge: row.get(6),
        nonce: row.get(7),
        scope: row.get(8),
        expires_at: row.get(9),
        used_for: row.get::<_, Option<uuid::Uuid>>(10).map(SessionId),
    }))
}

/// It was used: for this session, or for none if the try was wrong.
pub async fn use_code(tx: &Transaction, digest: &[u8], session: SessionId) -> Result<(), StoreError> {
    let sql = "UPDATE identity.authorization_codes SET used_for = $2 WHERE digest = $1";
    tx.execute(sql, &[&digest, &session.0]).await.map(drop)
}
