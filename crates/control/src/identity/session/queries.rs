//! Rows of sessions and refresh tokens.

use jiff::Timestamp;
use rowhouse_domain::id::{ApplicationId, SessionId, TenantId, UserId};
use rowhouse_domain::identity::Evidence;
use rowhouse_domain::refusal::Refusal;
use rowhouse_store::{StoreError, Transaction};
use tokio_postgres::Row;
use tokio_postgres::types::Json;

use crate::api::not_for_applications;

/// What a session of an application is bounded by.
#[derive(Debug, Clone)]
pub struct ForApplication {
    pub id: ApplicationId,
    /// What it is told of the person, and the permissions that it may use, apart by spaces.
    pub scope: String,
}

/// A session.
#[derive(Debug, Clone)]
pub struct SessionRow {
    pub id: SessionId,
    pub tenant: TenantId,
    pub user: UserId,
    pub evidence: Evidence,
    pub assurance: i16,
    pub auth_time: Timestamp,
    pub created_at: Timestamp,
    pub last_seen_at: Timestamp,
    pub idle_until: Timestamp,
    pub absolute_until: Timestamp,
    pub ip: String,
    pub agent: String,
    pub by_cookie: bool,
    /// The application that has it; none for one of the person's own.
    pub application: Option<ForApplication>,
}

impl SessionRow {
    /// Whether it is over by time.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.idle_until <= now || self.absolute_until <= now
    }

    /// 403 `access.denied` for a session that an application has: what it was let in with is the person's proof, and not its own.
    pub fn refuse_application(&self) -> Result<(), Refusal> {
        match self.application {
            None => Ok(()),
            Some(_) => Err(not_for_applications()),
        }
    }

    /// The only tenant whose sessions it shows and ends: its own where a provider's word alone began it. `None` is all of the person's.
    pub fn reach(&self) -> Option<TenantId> {
        (!self.evidence.has_own()).then_some(self.tenant)
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT session_id, tenant_id, user_id, evidence, assurance, auth_time, created_at, last_seen_at, idle_until, \
             absolute_until, ip, agent, digest IS NOT NULL, application_id, scope FROM identity.sessions ",
            $rest
        )
    };
}

fn session(row: &Row) -> SessionRow {
    SessionRow {
        id: SessionId(row.get(0)),
        tenant: TenantId(row.get(1)),
        user: UserId(row.get(2)),
        evidence: row.get::<_, Json<Evidence>>(3).0,
        assurance: row.get(4),
        auth_time: row.get(5),
        created_at: row.get(6),
        last_seen_at: row.get(7),
        idle_until: row.get(8),
        absolute_until: row.get(9),
        ip: row.get(10),
        agent: row.get(11),
        by_cookie: row.get(12),
        application: row.get::<_, Option<uuid::Uuid>>(13).map(|id| ForApplication {
            id: ApplicationId(id),
            scope: row.get::<_, Option<String>>(14).unwrap_or_default(),
        }),
    }
}

/// Stores a session; `digest` is that of its cookie.
pub async fn insert(tx: &Transaction, new: &SessionRow, digest: Option<&[u8]>) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO identity.sessions (session_id, tenant_id, user_id, digest, evidence, assurance, auth_time, created_at, \
         last_seen_at, idle_until, absolute_until, ip, agent, application_id, scope) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        &[
            &new.id.0,
            &new.tenant.0,
            &new.user.0,
            &digest,
            &Json(&new.evidence),
            &new.assurance,
            &new.auth_time,
            &new.created_at,
            &new.last_seen_at,
            &new.idle_until,
            &new.absolute_until,
            &new.ip,
            &new.agent,
            &new.application.as_ref().map(|own| own.id.0),
            &new.application.as_ref().map(|own| own.scope.as_str()),
        ],
    )
    .await
    .map(drop)
}

/// A session that has not been ended, held against others.
pub async fn lock(tx: &Transaction, id: SessionId) -> Result<Option<SessionRow>, StoreError> {
    let row =
        tx.query_opt(select!("WHERE session_id = $1 AND ended_at IS NULL FOR UPDATE"), &[&id.0]).await?;
    Ok(row.as_ref().map(session))
}

/// The session of a cookie, held against others, unless it was ended.
pub async fn lock_by_cookie(tx: &Transaction, digest: &[u8]) -> Result<Option<SessionRow>, StoreError> {
    let row = tx.query_opt(select!("WHERE digest = $1 AND ended_at IS NULL FOR UPDATE"), &[&digest]).await?;
    Ok(row.as_ref().map(session))
}

/// The sessions of a person that are not over, newest first; of one tenant, or of all.
pub async fn of_user(
    tx: &Transaction,
    user: UserId,
    tenant: Option<TenantId>,
    now: Timestamp,
) -> Result<Vec<SessionRow>, StoreError> {
    let sql = select!(
        "WHERE user_id = $1 AND ended_at IS NULL AND idle_until > $2 AND absolute_until > $2 \
         AND ($3::uuid IS NULL OR tenant_id = $3) ORDER BY session_id DESC LIMIT 1000"
    );
    Ok(tx.query(sql, &[&user.0, &now, &tenant.map(|tenant| tenant.0)]).await?.iter().map(session).collect())
}

/// The application of a session, if it is of one.
pub async fn application_of(tx: &Transaction, id: SessionId) -> Result<Option<ApplicationId>, StoreError> {
    let sql = "SELECT application_id FROM identity.sessions WHERE session_id = $1";
    let row = tx.query_opt(sql, &[&id.0]).await?;
    Ok(row.and_then(|row| row.get::<_, Option<uuid::Uuid>>(0)).map(ApplicationId))
}

/// The sessions of an application that are not ended.
pub async fn open_of_application(
    tx: &Transaction,
    application: ApplicationId,
) -> Result<Vec<(TenantId, SessionId)>, StoreError> {
    let sql =
        "SELECT tenant_id, session_id FROM identity.sessions WHERE application_id = $1 AND ended_at IS NULL";
    let rows = tx.query(sql, &[&application.0]).await?;
    Ok(rows.iter().map(|row| (TenantId(row.get(0)), SessionId(row.get(1)))).collect())
}

/// Ends a session; false if it was ended before.
pub async fn end(tx: &Transaction, id: SessionId, because: &str, now: Timestamp) -> Result<bool, StoreError> {
    let sql = "UPDATE identity.sessions SET ended_at = $2, ended_because = $3 WHERE session_id = $1 AND ended_at IS NULL";
    Ok(tx.execute(sql, &[&id.0, &now, &because]).await? == 1)
}

/// Ends the sessions of a person but one, in one tenant or in all; whose they were.
pub async fn end_of_user(
    tx: &Transaction,
    user: UserId,
    (tenant, but): (Option<TenantId>, Option<SessionId>),
    because: &str,
    now: Timestamp,
) -> Result<Vec<(TenantId, SessionId)>, StoreError> {
    let sql = "UPDATE identity.sessions SET ended_at = $4, ended_because = $5 WHERE user_id = $1 AND ended_at IS NULL \
               AND ($2::uuid IS NULL OR tenant_id = $2) AND ($3::uuid IS NULL OR session_id <> $3) \
               RETURNING tenant_id, session_id";
    let (tenant, but) = (tenant.map(|tenant| tenant.0), but.map(|session| session.0));
    let rows = tx.query(sql, &[&user.0, &tenant, &but, &now, &because]).await?;
    Ok(rows.iter().map(|row| (TenantId(row.get(0)), SessionId(row.get(1)))).collect())
}

/// Forgets the sign-ins of a person that are under way: they began with what is no longer so. Before sessions and factors are touched, for so
/// does who signs in.
pub async fn forget_flows(tx: &Transaction, user: UserId) -> Result<(), StoreError> {
    tx.execute("DELETE FROM identity.flows WHERE user_id = $1 AND state = 'open'", &[&user.0]).await.map(drop)
}

/// Ends the sessions of a tenant that are proven less strongly than `assurance`; whose they were.
pub async fn end_below(
    tx: &Transaction,
    tenant: TenantId,
    assurance: i16,
    now: Timestamp,
) -> Result<Vec<(UserId, SessionId)>, StoreError> {
    let sql = "UPDATE identity.sessions SET ended_at = $3, ended_because = 'policy' WHERE tenant_id = $1 AND ended_at IS NULL \
               AND assurance < $2 RETURNING user_id, session_id";
    let rows = tx.query(sql, &[&tenant.0, &assurance, &now]).await?;
    Ok(rows.iter().map(|row| (UserId(row.get(0)), SessionId(row.get(1)))).collect())
}

/// Sessions of a tenant in force whose assurance is below, and all.
pub async fn count_below(
    tx: &Transaction,
    tenant: TenantId,
    assurance: i16,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let sql = "SELECT count(*) FROM identity.sessions WHERE tenant_id = $1 AND ended_at IS NULL AND idle_until > $3 \
               AND absolute_until > $3 AND assurance < $2";
    Ok(tx.query_one(sql, &[&tenant.0, &assurance, &now]).await?.get(0))
}

/// What was ended since `since`, of one tenant or of all.
pub async fn ended_since(
    tx: &Transaction,
    tenant: Option<TenantId>,
    since: Timestamp,
) -> Result<Vec<(TenantId, SessionId)>, StoreError> {
    let sql = "SELECT tenant_id, session_id FROM identity.sessions WHERE ended_at > $1 AND ($2::uuid IS NULL OR tenant_id = $2)";
    let rows = tx.query(sql, &[&since, &tenant.map(|tenant| tenant.0)]).await?;
    Ok(rows.iter().map(|row| (TenantId(row.get(0)), SessionId(row.get(1)))).collect())
}

/// The session was used.
pub async fn seen(
    tx: &Transaction,
    id: SessionId,
    now: Timestamp,
    idle_until: Timestamp,
) -> Result<(), StoreError> {
    let sql = "UPDATE identity.sessions SET last_seen_at = $2, idle_until = $3 WHERE session_id = $1";
    tx.execute(sql, &[&id.0, &now, &idle_until]).await.map(drop)
}

/// The person has shown more; a browser gets another cookie with it.
pub async fn raise(tx: &Transaction, raised: &SessionRow, digest: Option<&[u8]>) -> Result<(), StoreError> {
    let sql = "UPDATE identity.sessions SET evidence = $2, assurance = $3, auth_time = $4, digest = coalesce($5, digest) \
               WHERE session_id = $1";
    let values: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
        &[&raised.id.0, &Json(&raised.evidence), &raised.assurance, &raised.auth_time, &digest];
    tx.execute(sql, values).await.map(drop)
}

/// A refresh token.
#[derive(Debug)]
pub struct RefreshRow {
    pub successor: Option<Vec<u8>>,
    pub expires_at: Timestamp,
    pub used_at: Option<Timestamp>,
}

/// Stores a refresh token.
pub async fn put_refresh(
    tx: &Transaction,
    session: &SessionRow,
    digest: &[u8],
    (now, expires_at): (Timestamp, Timestamp),
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO identity.refresh_tokens (digest, tenant_id, session_id, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
        &[&digest, &session.tenant.0, &session.id.0, &now, &expires_at],
    )
    .await
    .map(drop)
}

/// The session of a refresh token, whatever became of it. It is locked before the token is read.
pub async fn refresh_session(tx: &Transaction, digest: &[u8]) -> Result<Option<SessionId>, StoreError> {
    let row =
        tx.query_opt("SELECT session_id FROM identity.refresh_tokens WHERE digest = $1", &[&digest]).await?;
    Ok(row.map(|row| SessionId(row.get(0))))
}

/// A refresh token, held against others.
pub async fn lock_refresh(tx: &Transaction, digest: &[u8]) -> Result<Option<RefreshRow>, StoreError> {
    let sql =
        "SELECT successor, expires_at, used_at FROM identity.refresh_tokens WHERE digest = $1 FOR UPDATE";
    let row = tx.query_opt(sql, &[&digest]).await?;
    Ok(row.map(|row| RefreshRow { successor: row.get(0), expires_at: row.get(1), used_at: row.get(2) }))
}

/// A refresh token was used, and what follows it.
pub async fn use_refresh(
    tx: &Transaction,
    digest: &[u8],
    successor: &[u8],
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "UPDATE identity.refresh_tokens SET used_at = coalesce(used_at, $3), successor = $2 WHERE digest = $1";
    tx.execute(sql, &[&digest, &successor, &now]).await.map(drop)
}

/// Takes a refresh token out that was not used; whether there was one. It is used from now on, and nothing follows it: whoever shows it
/// did get the answer that was asked for once more.
pub async fn void_unused_refresh(
    tx: &Transaction,
    digest: &[u8],
    now: Timestamp,
) -> Result<bool, StoreError> {
    let sql = "UPDATE identity.refresh_tokens SET used_at = $2 WHERE digest = $1 AND used_at IS NULL";
    Ok(tx.execute(sql, &[&digest, &now]).await? == 1)
}

/// Removes what is over: sessions and counters of tries since `before`, the rest at its own time.
pub async fn sweep(tx: &Transaction, before: Timestamp, now: Timestamp) -> Result<(), StoreError> {
    for (sql, at) in [
        (
            "DELETE FROM identity.sessions WHERE session_id IN (SELECT session_id FROM identity.sessions \
          WHERE coalesce(ended_at, least(idle_until, absolute_until)) < $1 LIMIT 5000)",
            before,
        ),
        ("DELETE FROM identity.flows WHERE expires_at < $1", now),
        ("DELETE FROM identity.links WHERE expires_at < $1", now),
        ("DELETE FROM identity.device_requests WHERE expires_at < $1", now),
        ("DELETE FROM identity.email_changes WHERE kept_until < $1", now),
        ("DELETE FROM identity.texts WHERE sent_at < $1", before),
        ("DELETE FROM identity.challenges WHERE expires_at < $1", now),
        // As long as a session of theirs may be.
        ("DELETE FROM identity.authorization_codes WHERE expires_at < $1", before),
        ("DELETE FROM identity.provider_answers WHERE expires_at < $1", now),
        ("DELETE FROM identity.devices WHERE expires_at < $1", now),
        (
            "DELETE FROM identity.throttles WHERE changed_at < $1 AND consecutive < 100 AND (locked_until IS NULL OR locked_until < $1)",
            before,
        ),
    ] {
        tx.execute(sql, &[&at]).await?;
    }
    Ok(())
}

/// The generation of the keys that sign tokens.
pub async fn generation(tx: &Transaction) -> Result<i32, StoreError> {
    Ok(tx.query_one("SELECT generation FROM identity.token_keys", &[]).await?.get(0))
}

/// The next generation.
pub async fn next_generation(tx: &Transaction) -> Result<i32, StoreError> {
    let sql = "UPDATE identity.token_keys SET generation = generation + 1 RETURNING generation";
    Ok(tx.query_one(sql, &[]).await?.get(0))
}
