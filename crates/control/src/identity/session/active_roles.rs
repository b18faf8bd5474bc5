//! The roles that people have made active in their sessions. What they mean is `access`'s.

use jiff::Timestamp;
use rowhouse_domain::access::{Chosen, Principal, PrincipalKind};
use rowhouse_domain::id::{SessionId, TenantId, UserId};
use rowhouse_store::{StoreError, Transaction};

/// What was chosen in the sessions of these tenants that are in force at `now`.
///
/// # Errors
/// If the database fails.
pub async fn load_active_roles(
    transaction: &Transaction,
    tenants: &[uuid::Uuid],
    now: Timestamp,
) -> Result<Vec<(TenantId, Chosen)>, StoreError> {
    let rows = transaction
        .query(
            "SELECT tenant_id, session_id, user_id, active_roles FROM identity.sessions \
             WHERE tenant_id = ANY($1) AND active_roles IS NOT NULL AND ended_at IS NULL AND absolute_until > $2 \
             ORDER BY session_id",
            &[&tenants, &now],
        )
        .await?;
    let chosen = |row: &tokio_postgres::Row| Chosen {
        session: Some(SessionId(row.get(1))),
        principal: Principal { kind: PrincipalKind::User, id: row.get(2) },
        active: row.get(3),
    };
    Ok(rows.iter().map(|row| (TenantId(row.get(0)), chosen(row))).collect())
}

/// What was chosen in a session of a person, held against others: `None` if it has ended, `Some(None)` if nothing was.
///
/// # Errors
/// If the database fails.
pub async fn active_roles(
    transaction: &Transaction,
    (tenant, session, user): (TenantId, SessionId, UserId),
    now: Timestamp,
) -> Result<Option<Option<Vec<String>>>, StoreError> {
    let row = transaction
        .query_opt(
            "SELECT active_roles FROM identity.sessions WHERE session_id = $1 AND tenant_id = $2 AND user_id = $3 \
             AND ended_at IS NULL AND absolute_until > $4 FOR UPDATE",
            &[&session.0, &tenant.0, &user.0, &now],
        )
        .await?;
    Ok(row.map(|row| row.get(0)))
}

/// Keeps what was chosen.
///
/// # Errors
/// If the database fails.
pub async fn keep_active_roles(
    transaction: &Transaction,
    session: SessionId,
    active: &[String],
) -> Result<(), StoreError> {
    let sql = "UPDATE identity.sessions SET active_roles = $2 WHERE session_id = $1";
    transaction.execute(sql, &[&session.0, &active]).await.map(drop)
}
