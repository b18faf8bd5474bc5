//! Compiles a tenant's grants into what each principal may do.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::Principal;
use super::permission::{PermissionSet, Permissions};
use super::role::RoleCatalogue;

/// Whether a grant gives or forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantEffect {
    /// Gives.
    Allow,
    /// Forbids; wins over every allow.
    Deny,
}

/// What a grant is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantTarget {
    /// All permissions of a role.
    Role(String),
    /// One permission or pattern.
    Permission(String),
}

/// A grant on the whole tenant, in force in `[from, until)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantDefinition {
    /// Whom it is for.
    pub principal: Principal,
    /// Gives or forbids.
    pub effect: GrantEffect,
    /// What.
    pub target: GrantTarget,
    /// From this instant, µs since 1970.
    pub valid_from_us: Option<i64>,
    /// Until before this instant.
    pub valid_until_us: Option<i64>,
}

/// A grant that the clock switches on or off, compared at each decision: expiry needs no message.
#[derive(Debug, Clone)]
pub struct TimedGrant {
    pub(super) effect: GrantEffect,
    pub(super) from_us: i64,
    pub(super) until_us: i64,
    pub(super) permissions: PermissionSet,
}

/// What one principal may do in one tenant.
#[derive(Debug, Clone, Default)]
pub struct PrincipalRights {
    pub(super) allow: PermissionSet,
    pub(super) deny: PermissionSet,
    pub(super) timed: Vec<TimedGrant>,
    /// Names of the roles granted without a time, for the signed context.
    pub roles: Vec<Box<str>>,
}

impl PrincipalRights {
    /// Has the processor fetch what a decision reads, without waiting for it.
    pub fn touch(&self) {
        std::hint::black_box((self.allow.any_word(), self.deny.any_word(), self.timed.len()));
    }
}

/// All principals of one tenant.
#[derive(Debug, Clone, Default)]
pub struct AccessTable {
    principals: HashMap<Principal, PrincipalRights, FixedState>,
    /// The tenant's access version, raised with every change.
    pub version: u64,
}

impl AccessTable {
    /// What `principal` may do, if anything was ever granted.
    pub fn rights(&self, principal: &Principal) -> Option<&PrincipalRights> {
        self.principals.get(principal)
    }
}

/// Compiles grants. A role or permission that does not exist (any more) gives nothing.
pub fn compile(
    version: u64,
    grants: &[GrantDefinition],
    roles: &RoleCatalogue,
    permissions: &Permissions,
) -> AccessTable {
    let mut table = AccessTable { version, ..AccessTable::default() };
    for grant in grants {
        let set = match &grant.target {
            GrantTarget::Role(role) => roles.permissions(role).copied(),
            GrantTarget::Permission(pattern) => permissions.matching(pattern),
        };
        let rights = table.principals.entry(grant.principal).or_default();
        add(rights, grant, set.unwrap_or_default());
    }
    table
}

fn add(rights: &mut PrincipalRights, grant: &GrantDefinition, set: PermissionSet) {
    if grant.valid_from_us.is_some() || grant.valid_until_us.is_some() {
        rights.timed.push(TimedGrant {
            effect: grant.effect,
            from_us: grant.valid_from_us.unwrap_or(i64::MIN),
            until_us: grant.valid_until_us.unwrap_or(i64::MAX),
            permissions: set,
        });
        return;
    }
    match grant.effect {
        GrantEffect::Allow => rights.allow.extend(&set),
        GrantEffect::Deny => rights.deny.extend(&set),
    }
    if let (GrantTarget::Role(role), GrantEffect::Allow) = (&grant.target, grant.effect) {
        rights.roles.push(role.as_str().into());
    }
}
