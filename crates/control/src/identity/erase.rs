//! Erasing a tenant's people, when the tenant is erased.

use rowhouse_domain::id::TenantId;
use rowhouse_store::{StoreError, Transaction};

/// What was erased.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Erased {
    /// Memberships.
    pub memberships: u64,
    /// People who belonged to this tenant alone.
    pub users: u64,
    /// Invitations.
    pub invitations: u64,
}

/// Removes everything that `tenant` has of people: memberships, invitations; and the persons who belong to no other
/// tenant, of whom only an id without meaning stays. Twice is once. The caller commits it and tells of it; any transaction
/// that sees the tenant will do.
///
/// Grants are `access`'s to remove. Whom to tell of it is asked before (`messages::addresses`).
///
/// # Errors
/// If the database fails.
pub async fn erase_tenant(transaction: &Transaction, tenant: TenantId) -> Result<Erased, StoreError> {
    let now = transaction.store().clock().now();
    let sql = "SELECT memberships, users, invitations FROM identity.erase_people($1, $2)";
    transaction.execute("SELECT identity.erase_applications($1)", &[&tenant.0]).await?;
    let row = transaction.query_one(sql, &[&tenant.0, &now]).await?;
    let count = |at: usize| row.get::<_, i64>(at) as u64;
    Ok(Erased { memberships: count(0), users: count(1), invitations: count(2) })
}
