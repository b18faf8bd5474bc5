//! Whether a person may enter a tenant: identity's answer and the tenant's, in one.

use rowhouse_domain::id::{TenantId, UserId};
use rowhouse_domain::identity::{Checks, EntryReason};
use rowhouse_domain::tenancy::Status;
use rowhouse_store::{StoreError, Transaction};

use super::factor;
use super::queries::{self, MemberRow, MembershipStatus, UserStatus};
use super::sign_in::{self, policy};
use crate::{Control, tenancy};

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What was looked at.
    pub checks: Checks,
    /// Everything that is against it.
    pub reasons: Vec<EntryReason>,
}

impl Entry {
    /// Whether who has proven enough may be let in, or stay: a lock is on a password, and what is asked beyond is asked elsewhere.
    pub fn may_go_on(&self) -> bool {
        self.reasons.iter().all(|reason| matches!(reason, EntryReason::Locked | EntryReason::PolicyNotMet))
    }

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
    control: &Control,
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
    let email = member.as_ref().and_then(|member| member.user.email.as_deref());
    let is_locked = match email {
        Some(email) => sign_in::is_locked(control, transaction, email).await?,
        None => false,
    };
    let checks = Checks {
        user_active: member.as_ref().is_none_or(|member| member.user.status == UserStatus::Active),
        membership_active: member.as_ref().is_some_and(|member| member.status == MembershipStatus::Active),
        not_locked: !is_locked,
        tenant_active: is_served,
        policy_met: match &member {
            Some(member) => can_meet(control, transaction, member).await?,
            None => true,
        },
    };
    Ok(Some(Entry { reasons: checks.reasons(member.is_some()), checks }))
}

/// Whether the person has what the tenant asks for beyond a password, or time to get it.
async fn can_meet(
    control: &Control,
    transaction: &Transaction,
    member: &MemberRow,
) -> Result<bool, StoreError> {
    let in_force = policy::in_force(transaction, member.tenant).await?;
    let owned = factor::owned(transaction, member.user.id).await?;
    let now = control.clock().now();
    Ok(owned.meets(&in_force.policy)
        || in_force.in_grace(transaction, member.tenant, member.user.id, now).await?)
}
