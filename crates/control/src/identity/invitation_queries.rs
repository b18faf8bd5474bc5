//! Rows of invitations.

use jiff::Timestamp;
use rowhouse_domain::access::{Principal, PrincipalKind};
use rowhouse_domain::id::{InvitationId, TenantId, UserId};
use rowhouse_domain::messages::Address;
use rowhouse_store::{StoreError, Transaction};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::api::stored_kind;

/// An invitation.
#[derive(Debug, Clone)]
pub struct InvitationRow {
    pub id: InvitationId,
    pub tenant: TenantId,
    pub email: String,
    pub full_name: String,
    pub roles: Vec<String>,
    pub state: String,
    pub sends: i32,
    pub expires_at: Option<Timestamp>,
    /// Whose rights bound it, and in which tenant they hold them; none for Rowhouse itself.
    pub inviter: Option<(TenantId, Principal)>,
    pub created_by: String,
    pub created_at: Timestamp,
}

fn invitation(row: &Row) -> Result<InvitationRow, StoreError> {
    let (tenant, kind, id) =
        (row.get::<_, Option<Uuid>>(8), row.get::<_, Option<&str>>(9), row.get::<_, Option<Uuid>>(10));
    let inviter = match (tenant, kind, id) {
        (Some(tenant), Some(kind), Some(id)) => {
            let kind = stored_kind(kind).ok_or(StoreError::Stored { what: "who invited" })?;
            Some((TenantId(tenant), Principal { kind, id }))
        }
        _ => None,
    };
    Ok(InvitationRow {
        id: InvitationId(row.get(0)),
        tenant: TenantId(row.get(1)),
        email: row.get(2),
        full_name: row.get(3),
        roles: row.get(4),
        state: row.get(5),
        sends: row.get(6),
        expires_at: row.get(7),
        inviter,
        created_by: row.get(11),
        created_at: row.get(12),
    })
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT invitation_id, tenant_id, email, full_name, roles, state, sends, expires_at, inviter_tenant, \
             inviter_kind, inviter_id, created_by, created_at FROM identity.invitations ",
            $rest
        )
    };
}

/// Stores an invitation; false if the address has an open one in the tenant.
pub(super) async fn insert(
    tx: &Transaction,
    row: &InvitationRow,
    email: &Address,
    digest: Option<&[u8]>,
) -> Result<bool, StoreError> {
    let (tenant, kind, id) = match row.inviter {
        Some((tenant, Principal { kind, id })) => (Some(tenant.0), Some(kind.as_str()), Some(id)),
        None => (None, None, None),
    };
    debug_assert!(
        !matches!(row.inviter, Some((_, Principal { kind: PrincipalKind::ApiKey, .. }))),
        "keys act for owners"
    );
    let stored = tx
        .execute(
            "INSERT INTO identity.invitations (invitation_id, tenant_id, email, email_key, full_name, roles, digest, state, \
             sends, expires_at, inviter_tenant, inviter_kind, inviter_id, created_by, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT DO NOTHING",
            &[
                &row.id.0,
                &row.tenant.0,
                &row.email,
                &email.key(),
                &row.full_name,
                &row.roles,
                &digest,
                &row.state,
                &row.sends,
                &row.expires_at,
                &tenant,
                &kind,
                &id,
                &row.created_by,
                &row.created_at,
            ],
        )
        .await?;
    Ok(stored == 1)
}

/// Gives an open invitation a token in the place of its former one.
pub(super) async fn renew(
    tx: &Transaction,
    id: InvitationId,
    digest: &[u8],
    expires_at: Timestamp,
) -> Result<bool, StoreError> {
    let touched = tx
        .execute(
            "UPDATE identity.invitations SET digest = $2, expires_at = $3, state = 'pending', sends = sends + 1 \
             WHERE invitation_id = $1 AND state IN ('prepared', 'pending')",
            &[&id.0, &digest, &expires_at],
        )
        .await?;
    Ok(touched == 1)
}

/// Takes an open invitation by its token, for good: whoever comes second finds nothing. The transaction must see the
/// platform.
pub(super) async fn take(
    tx: &Transaction,
    digest: &[u8],
    now: Timestamp,
) -> Result<Option<InvitationRow>, StoreError> {
    let row = tx
        .query_opt(
            "UPDATE identity.invitations SET state = 'accepted', ended_at = $2, digest = NULL \
             WHERE digest = $1 AND state = 'pending' AND expires_at > $2 \
             RETURNING invitation_id, tenant_id, email, full_name, roles, state, sends, expires_at, inviter_tenant, \
                 inviter_kind, inviter_id, created_by, created_at",
            &[&digest, &now],
        )
        .await?;
    row.as_ref().map(invitation).transpose()
}

/// Looks at an open invitation by its token.
pub(super) async fn look(
    tx: &Transaction,
    digest: &[u8],
    now: Timestamp,
) -> Result<Option<InvitationRow>, StoreError> {
    let sql = select!("WHERE digest = $1 AND state = 'pending' AND expires_at > $2");
    tx.query_opt(sql, &[&digest, &now]).await?.as_ref().map(invitation).transpose()
}

/// Says who accepted. What was known of them is the user's now.
pub(super) async fn accepted_by(tx: &Transaction, id: InvitationId, user: UserId) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE identity.invitations SET accepted_by = $2, email = '', email_key = '', full_name = '' \
         WHERE invitation_id = $1",
        &[&id.0, &user.0],
    )
    .await
    .map(drop)
}

/// Takes an open invitation back.
pub(super) async fn revoke(tx: &Transaction, id: InvitationId, now: Timestamp) -> Result<bool, StoreError> {
    let touched = tx
        .execute(
            "UPDATE identity.invitations SET state = 'revoked', ended_at = $2, digest = NULL \
             WHERE invitation_id = $1 AND state IN ('prepared', 'pending')",
            &[&id.0, &now],
        )
        .await?;
    Ok(touched == 1)
}

/// One invitation that the transaction sees.
pub(super) async fn one(tx: &Transaction, id: InvitationId) -> Result<Option<InvitationRow>, StoreError> {
    tx.query_opt(select!("WHERE invitation_id = $1"), &[&id.0]).await?.as_ref().map(invitation).transpose()
}

/// Invitations by state, oldest first.
pub(super) async fn list(
    tx: &Transaction,
    tenant: Option<TenantId>,
    states: &[String],
    after: Option<InvitationId>,
    size: i64,
) -> Result<Vec<InvitationRow>, StoreError> {
    let sql = select!(
        "WHERE ($1::uuid IS NULL OR tenant_id = $1) AND state = ANY ($2) \
           AND ($3::uuid IS NULL OR invitation_id > $3) ORDER BY invitation_id LIMIT $4"
    );
    let (tenant, after) = (tenant.map(|tenant| tenant.0), after.map(|after| after.0));
    let rows = tx.query(sql, &[&tenant, &states, &after, &size]).await?;
    rows.iter().map(invitation).collect()
}

/// How many messages were sent for invitations that a tenant has made since an instant: to one address, unless it was accepted, and in
/// all.
pub(super) async fn sent_since(
    tx: &Transaction,
    tenant: TenantId,
    email: &Address,
    since: Timestamp,
) -> Result<(i64, i64), StoreError> {
    let sql = "SELECT coalesce(sum(sends) FILTER (WHERE email_key = $2), 0), coalesce(sum(sends), 0) \
               FROM identity.invitations WHERE tenant_id = $1 AND created_at > $3";
    let row = tx.query_one(sql, &[&tenant.0, &email.key(), &since]).await?;
    Ok((row.get(0), row.get(1)))
}

/// How many are open in a tenant.
pub(super) async fn count_open(
    tx: &Transaction,
    tenant: TenantId,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM identity.invitations WHERE tenant_id = $1 AND (state = 'prepared' \
               OR state = 'pending' AND expires_at > $2)";
    Ok(tx.query_one(sql, &[&tenant.0, &now]).await?.get::<_, i64>(0) as u64)
}

/// Removes those of a tenant that nobody was told of.
pub(super) async fn forget_prepared(tx: &Transaction, tenant: TenantId) -> Result<u64, StoreError> {
    tx.execute("DELETE FROM identity.invitations WHERE tenant_id = $1 AND state = 'prepared'", &[&tenant.0])
        .await
}
