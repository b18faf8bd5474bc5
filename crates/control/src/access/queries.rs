//! Rows of grants and of access versions.

use jiff::Timestamp;
use rowhouse_domain::access::{GrantDefinition, GrantEffect, GrantTarget, Principal};
use rowhouse_domain::id::{GrantId, TenantId};
use rowhouse_store::{StoreError, Transaction};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::api::stored_kind;

/// A grant with who gave it and why.
#[derive(Debug, Clone, PartialEq)]
pub struct GrantRow {
    /// Its id.
    pub id: GrantId,
    /// In which tenant.
    pub tenant: TenantId,
    /// What it says.
    pub definition: GrantDefinition,
    /// Why it was given.
    pub reason: String,
    /// Who gave it.
    pub granted_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it was taken back.
    pub removed_at: Option<Timestamp>,
}

const STORED: StoreError = StoreError::Stored { what: "a grant" };

fn definition(row: &Row, from: usize) -> Result<GrantDefinition, StoreError> {
    let kind = stored_kind(row.get(from)).ok_or(STORED)?;
    let effect = match row.get(from + 2) {
        "allow" => GrantEffect::Allow,
        "deny" => GrantEffect::Deny,
        _ => return Err(STORED),
    };
    let (role, permission): (Option<String>, Option<String>) = (row.get(from + 3), row.get(from + 4));
    let role = role.map(GrantTarget::Role);
    let target = role.or_else(|| permission.map(GrantTarget::Permission)).ok_or(STORED)?;
    let time = |at: usize| row.get::<_, Option<Timestamp>>(at).map(|time| time.as_microsecond());
    Ok(GrantDefinition {
        principal: Principal { kind, id: row.get(from + 1) },
        effect,
        target,
        valid_from_us: time(from + 5),
        valid_until_us: time(from + 6),
    })
}

/// Grants that were not taken back, of one tenant or of all; expired ones too.
pub async fn load_grants(
    transaction: &Transaction,
    tenant: Option<TenantId>,
) -> Result<Vec<(TenantId, GrantDefinition)>, StoreError> {
    let rows = match tenant {
        Some(tenant) => {
            transaction
                .query(
                    "SELECT tenant_id, principal_kind, principal_id, effect, role, permission, valid_from, \
                     valid_until FROM access.grants WHERE removed_at IS NULL AND tenant_id = $1 ORDER BY grant_id",
                    &[&tenant.0],
                )
                .await?
        }
        None => {
            transaction
                .query(
                    "SELECT tenant_id, principal_kind, principal_id, effect, role, permission, valid_from, \
                     valid_until FROM access.grants WHERE removed_at IS NULL ORDER BY tenant_id, grant_id",
                    &[],
                )
                .await?
        }
    };
    rows.iter().map(|row| Ok((TenantId(row.get(0)), definition(row, 1)?))).collect()
}

/// Access versions of one tenant or of all; a tenant that never had a grant is not there.
pub async fn load_versions(
    transaction: &Transaction,
    tenant: Option<TenantId>,
) -> Result<Vec<(TenantId, u64)>, StoreError> {
    let rows = match tenant {
        Some(tenant) => {
            transaction
                .query("SELECT tenant_id, version FROM access.versions WHERE tenant_id = $1", &[&tenant.0])
                .await?
        }
        None => transaction.query("SELECT tenant_id, version FROM access.versions", &[]).await?,
    };
    Ok(rows.iter().map(|row| (TenantId(row.get(0)), row.get::<_, i64>(1) as u64)).collect())
}

fn grant(row: &Row) -> Result<GrantRow, StoreError> {
    Ok(GrantRow {
        id: GrantId(row.get(0)),
        tenant: TenantId(row.get(1)),
        definition: definition(row, 2)?,
        reason: row.get(9),
        granted_by: row.get(10),
        created_at: row.get(11),
        removed_at: row.get(12),
    })
}

/// Which grants a list is about.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Filter {
    pub tenant: Option<Uuid>,
    pub principal: Option<Uuid>,
    pub after: Option<Uuid>,
}

/// At most `limit` grants that were not taken back, in the order of their ids.
pub(super) async fn list(tx: &Transaction, filter: Filter, limit: i64) -> Result<Vec<GrantRow>, StoreError> {
    let rows = tx
        .query(
            "SELECT grant_id, tenant_id, principal_kind, principal_id, effect, role, permission, valid_from, \
             valid_until, reason, granted_by, created_at, removed_at FROM access.grants \
             WHERE removed_at IS NULL \
               AND ($1::uuid IS NULL OR tenant_id = $1) \
               AND ($2::uuid IS NULL OR principal_id = $2) \
               AND ($3::uuid IS NULL OR grant_id > $3) \
             ORDER BY grant_id LIMIT $4",
            &[&filter.tenant, &filter.principal, &filter.after, &limit],
        )
        .await?;
    rows.iter().map(grant).collect()
}

/// What one principal of a tenant was granted and still has, expired or not.
pub async fn grants_of(
    transaction: &Transaction,
    tenant: TenantId,
    principal: Uuid,
) -> Result<Vec<(GrantId, GrantDefinition)>, StoreError> {
    let filter = Filter { tenant: Some(tenant.0), principal: Some(principal), after: None };
    let rows = list(transaction, filter, i64::from(i32::MAX)).await?;
    Ok(rows.into_iter().map(|row| (row.id, row.definition)).collect())
}

/// One grant, taken back or not.
pub(super) async fn one(transaction: &Transaction, id: GrantId) -> Result<Option<GrantRow>, StoreError> {
    let row = transaction
        .query_opt(
            "SELECT grant_id, tenant_id, principal_kind, principal_id, effect, role, permission, valid_from, \
             valid_until, reason, granted_by, created_at, removed_at FROM access.grants WHERE grant_id = $1",
            &[&id.0],
        )
        .await?;
    row.as_ref().map(grant).transpose()
}

/// Stores a grant.
pub(super) async fn insert(transaction: &Transaction, grant: &GrantRow) -> Result<(), StoreError> {
    let definition = &grant.definition;
    let effect = match definition.effect {
        GrantEffect::Allow => "allow",
        GrantEffect::Deny => "deny",
    };
    let (role, permission) = match &definition.target {
        GrantTarget::Role(role) => (Some(role), None),
        GrantTarget::Permission(permission) => (None, Some(permission)),
    };
    let time =
        |us: Option<i64>| us.map(|us| Timestamp::from_microsecond(us).expect("it was made from a timestamp"));
    transaction
        .execute(
            "INSERT INTO access.grants (grant_id, tenant_id, principal_kind, principal_id, effect, role, \
             permission, valid_from, valid_until, reason, granted_by, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            &[
                &grant.id.0,
                &grant.tenant.0,
                &definition.principal.kind.as_str(),
                &definition.principal.id,
                &effect,
                &role,
                &permission,
                &time(definition.valid_from_us),
                &time(definition.valid_until_us),
                &grant.reason,
                &grant.granted_by,
                &grant.created_at,
            ],
        )
        .await
        .map(drop)
}

/// Takes a grant back; false if it was taken back before.
pub(super) async fn remove(tx: &Transaction, id: GrantId, now: Timestamp) -> Result<bool, StoreError> {
    let touched = tx
        .execute(
            "UPDATE access.grants SET removed_at = $2 WHERE grant_id = $1 AND removed_at IS NULL",
            &[&id.0, &now],
        )
        .await?;
    Ok(touched == 1)
}

/// Raises the tenant's access version and returns it.
pub(super) async fn raise_version(transaction: &Transaction, tenant: TenantId) -> Result<i64, StoreError> {
    let row = transaction
        .query_one(
            "INSERT INTO access.versions (tenant_id, version) VALUES ($1, 1) \
             ON CONFLICT ON CONSTRAINT versions_pkey DO UPDATE SET version = versions.version + 1 \
             RETURNING version",
            &[&tenant.0],
        )
        .await?;
    Ok(row.get(0))
}
