//! Rows of tenants' own roles.

use jiff::Timestamp;
use rowhouse_domain::access::RoleDefinition;
use rowhouse_domain::id::TenantId;
use rowhouse_store::{StoreError, Transaction};
use tokio_postgres::Row;
use uuid::Uuid;

/// A tenant's role as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct RoleRow {
    /// Whose.
    pub tenant: TenantId,
    /// Which it is: the next of its name is another.
    pub role_id: Uuid,
    /// What it says.
    pub definition: RoleDefinition,
    /// Raised with each change.
    pub version: i64,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

fn role(row: &Row) -> RoleRow {
    RoleRow {
        tenant: TenantId(row.get(0)),
        definition: RoleDefinition {
            name: row.get(1),
            title: row.get(2),
            permissions: row.get(3),
            inherits: row.get(4),
            requires: row.get(8),
            max_members: row.get::<_, Option<i32>>(9).map(i32::unsigned_abs),
        },
        version: row.get(5),
        updated_at: row.get(6),
        role_id: row.get(7),
    }
}

/// Own roles of one tenant or of all, by name.
pub async fn load_roles(
    transaction: &Transaction,
    tenant: Option<TenantId>,
) -> Result<Vec<RoleRow>, StoreError> {
    let tenant = tenant.map(|tenant| tenant.0);
    let rows = transaction
        .query(
            "SELECT tenant_id, name, title, permissions, inherits, version, updated_at, role_id, requires, max_members \
             FROM access.tenant_roles \
             WHERE $1::uuid IS NULL OR tenant_id = $1 ORDER BY tenant_id, name",
            &[&tenant],
        )
        .await?;
    Ok(rows.iter().map(role).collect())
}

/// Stores a role, or what it has become; its version. One that is new gets an id that no role had.
pub(super) async fn put(
    transaction: &Transaction,
    tenant: TenantId,
    role: &RoleDefinition,
    now: Timestamp,
) -> Result<(i64, Uuid), StoreError> {
    let new = transaction.store().entropy().uuid_v7(now.as_microsecond());
    let row = transaction
        .query_one(
            "INSERT INTO access.tenant_roles (tenant_id, name, title, permissions, inherits, updated_at, role_id, \
             requires, max_members) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
             ON CONFLICT ON CONSTRAINT tenant_roles_pkey DO UPDATE SET title = $3, permissions = $4, \
             inherits = $5, updated_at = $6, requires = $8, max_members = $9, version = tenant_roles.version + 1 \
             RETURNING version, role_id",
            &[
                &tenant.0,
                &role.name,
                &role.title,
                &role.permissions,
                &role.inherits,
                &now,
                &new,
                &role.requires,
                &role.max_members.map(|most| i32::try_from(most).unwrap_or(i32::MAX)),
            ],
        )
        .await?;
    Ok((row.get(0), row.get(1)))
}

/// Removes a role.
pub(super) async fn remove(
    transaction: &Transaction,
    tenant: TenantId,
    name: &str,
) -> Result<(), StoreError> {
    transaction
        .execute("DELETE FROM access.tenant_roles WHERE tenant_id = $1 AND name = $2", &[&tenant.0, &name])
        .await
        .map(drop)
}

/// Whether a grant that was not taken back gives the role.
pub(super) async fn is_granted(transaction: &Transaction, role: &RoleRow) -> Result<bool, StoreError> {
    let row = transaction
        .query_opt(
            "SELECT 1 FROM access.grants WHERE tenant_id = $1 AND role = $2 AND role_id = $3 \
             AND removed_at IS NULL LIMIT 1",
            &[&role.tenant.0, &role.definition.name, &role.role_id],
        )
        .await?;
    Ok(row.is_some())
}
