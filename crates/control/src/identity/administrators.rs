//! Who administers a tenant: active members who hold the role `tenant_admin` there, for the operator's tenant
//! `platform_admin`. The last of them stays.

use rowhouse_domain::access::{GrantEffect, GrantTarget, PrincipalKind};
use rowhouse_domain::id::{TenantId, UserId};
use rowhouse_domain::messages::Address;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{StoreError, Transaction};

use super::queries::{self, UserRow, UserStatus};
use crate::{access, tenancy};

/// Roles whose holders administer a tenant.
pub const ADMINISTRATOR_ROLES: [&str; 2] = ["tenant_admin", "platform_admin"];

/// People who administer `tenant` now. The transaction must see the tenant.
///
/// # Errors
/// If the database fails.
pub async fn administrators(transaction: &Transaction, tenant: TenantId) -> Result<Vec<UserRow>, StoreError> {
    let now_us = transaction.store().clock().now_us();
    let grants = access::load_grants(transaction, Some(tenant)).await?;
    let holds = |user: UserId| {
        grants.iter().map(|(_, grant)| grant).any(|grant| {
            let is_role =
                matches!(&grant.target, GrantTarget::Role(role) if ADMINISTRATOR_ROLES.contains(&&**role));
            let is_now = grant.valid_from_us.is_none_or(|from| from <= now_us)
                && grant.valid_until_us.is_none_or(|until| now_us < until);
            let is_theirs = grant.principal.kind == PrincipalKind::User && grant.principal.id == user.0;
            is_role && is_now && is_theirs && grant.effect == GrantEffect::Allow
        })
    };
    let members = queries::active_members(transaction, tenant).await?;
    Ok(members.into_iter().filter(|member| holds(member.id)).collect())
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

/// 409 `access.last_admin` if `user` is the tenant's only administrator. Call it before taking anything from them, in the
/// same transaction: it holds the tenant, so that two administrators cannot remove each other at once.
///
/// # Errors
/// See above; and if the database fails.
pub async fn refuse_last_administrator(
    transaction: &Transaction,
    tenant: TenantId,
    user: UserId,
) -> Result<(), Refusal> {
    tenancy::lock(transaction, tenant).await?;
    let all = administrators(transaction, tenant).await?;
    match all.as_slice() {
        [only] if only.id == user => Err(Refusal::new(
            &kind::LAST_ADMINISTRATOR,
            "This is the only person who administers the tenant.",
        )),
        _ => Ok(()),
    }
}
