//! Whether a person may enter a tenant: identity's answer and the tenant's, in one.

use rowhouse_domain::id::{TenantId, UserId};
use rowhouse_domain::identity::{Checks, EntryReason};
use rowhouse_domain::tenancy::Status;
use rowhouse_store::{StoreError, Transaction};

use super::queries::{self, MembershipStatus, UserStatus};
use crate::tenancy;

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What was looked at.
    pub checks: Checks,
    /// Everything that is against it.
    pub reasons: Vec<EntryReason>,
}

impl Entry {
    /// Whether nothing is against it.
    pub fn is_allowed(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// Whether `user` may enter `tenant` now, with everything that is against it. The transaction must see the platform. Who does
/// not belong to the tenant looks the same whether they exist or not. Of a tenant that does not exist: `None`.
///
/// # Errors
/// If the database fails.
pub async fn may_enter(
    transaction: &Transaction,
    tenant: TenantId,
    user: UserId,
) -> Result<Option<Entry>, StoreError> {
    let Some(record) = tenancy::get(transaction, tenant).await? else { return Ok(None) };
    let is_served = match record.tenant.status {
        Status::Active => true,
        Status::Migrating => record.tenant.status_before == Some(Status::Active),
        _ => false,
    };
    let member = queries::find_member(transaction, tenant, user).await?;
    let member = member.filter(|member| member.status != MembershipStatus::Removed);
    let checks = Checks {
        user_active: member.as_ref().is_none_or(|member| member.user.status == UserStatus::Active),
        membership_active: member.as_ref().is_some_and(|member| member.status == MembershipStatus::Active),
        // Nobody signs in with a password yet, so that nobody is locked out.
        not_locked: true,
        tenant_active: is_served,
        // No tenant has a sign-in policy of its own yet: a password is enough everywhere.
        policy_met: true,
    };
    Ok(Some(Entry { reasons: checks.reasons(member.is_some()), checks }))
}
