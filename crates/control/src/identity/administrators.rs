//! Who administers a tenant, as people with an address: active members who hold everything in it now.

use rowhouse_domain::id::{TenantId, UserId};
use rowhouse_domain::messages::Address;
use rowhouse_store::{StoreError, Transaction};

use super::queries::{self, UserRow, UserStatus};
use crate::access;

/// People who administer `tenant` now. The transaction must see the tenant.
///
/// # Errors
/// If the database fails.
pub async fn administrators(transaction: &Transaction, tenant: TenantId) -> Result<Vec<UserRow>, StoreError> {
    let holders = access::administrators(transaction, tenant).await?;
    let members = queries::active_members(transaction, tenant).await?;
    Ok(members.into_iter().filter(|member| holders.contains(&member.id)).collect())
}

/// Where mail for a person goes; none if there is no such person, or they are not active.
///
/// # Errors
/// If the database fails.
pub async fn address_of(transaction: &Transaction, user: UserId) -> Result<Option<Address>, StoreError> {
    let row = queries::find_user(transaction, user).await?;
    Ok(row.filter(|row| row.status == UserStatus::Active).and_then(|row| address(&row)))
}

/// The address of a row.
pub(super) fn address(row: &UserRow) -> Option<Address> {
    row.email.as_deref().and_then(|email| Address::parse(email).ok())
}
