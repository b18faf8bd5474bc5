//! Whether a person may enter a tenant: one function of everything that matters, which names all that is against it.

use serde::Serialize;

/// Something that is against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryReason {
    /// The person is disabled or erased.
    UserDisabled,
    /// The person does not belong to the tenant, or no longer.
    NotAMember,
    /// The membership is suspended.
    MembershipSuspended,
    /// Too many wrong passwords.
    Locked,
    /// The tenant is not served.
    TenantNotActive,
    /// The tenant's sign-in policy asks for more than the person has.
    PolicyNotMet,
}

/// What is looked at. Entering needs all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Checks {
    /// The person is neither disabled nor erased.
    pub user_active: bool,
    /// Belongs to the tenant, and is not suspended there.
    pub membership_active: bool,
    /// Is not locked out.
    pub not_locked: bool,
    /// The tenant is served.
    pub tenant_active: bool,
    /// Has what the tenant's sign-in policy asks for.
    pub policy_met: bool,
}

impl Checks {
    /// Everything that is against it; nothing, if the person may enter. `is_member`: belongs to the tenant at all.
    pub fn reasons(&self, is_member: bool) -> Vec<EntryReason> {
        let membership = if is_member { EntryReason::MembershipSuspended } else { EntryReason::NotAMember };
        let all = [
            (self.user_active, EntryReason::UserDisabled),
            (self.membership_active, membership),
            (self.not_locked, EntryReason::Locked),
            (self.tenant_active, EntryReason::TenantNotActive),
            (self.policy_met, EntryReason::PolicyNotMet),
        ];
        all.into_iter().filter(|(holds, _)| !holds).map(|(_, reason)| reason).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failing_check_is_named_and_only_those() {
        for bits in 0..32u8 {
            let holds = |bit: u8| bits & (1 << bit) != 0;
            let checks = Checks {
                user_active: holds(0),
                membership_active: holds(1),
                not_locked: holds(2),
                tenant_active: holds(3),
                policy_met: holds(4),
            };
            let reasons = checks.reasons(true);
            assert_eq!(reasons.len() as u32, 5 - bits.count_ones());
            assert_eq!(reasons.contains(&EntryReason::Locked), !holds(2));
            assert_eq!(checks.reasons(false).contains(&EntryReason::NotAMember), !holds(1));
        }
    }
}
