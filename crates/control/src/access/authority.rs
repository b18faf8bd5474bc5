//! No escalation: whoever gives a right holds it himself at that moment, judged by the roles and grants of the running
//! transaction.

use std::collections::BTreeSet;

use rowhouse_domain::access::{
    GrantDefinition, GrantEffect, GrantTarget, PermissionSet, Permissions, Principal, Reason, RoleCatalogue,
    RoleDefinition, compile, key_permits, may,
};
use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::Transaction;

use super::{load_roles, queries};
use crate::api::Caller;
use crate::catalog::{self, LoadError};

/// In whose right something is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authority {
    /// Rowhouse's own work, as when a tenant is provisioned.
    System,
    /// Someone who holds these permissions in the tenant.
    Holds(BTreeSet<String>),
}

impl Authority {
    /// What the caller's key may do in `tenant` now.
    pub fn of(caller: &Caller, tenant: TenantId) -> Self {
        let all = caller.directory().permissions.all();
        let held = all.filter(|permission| caller.permit(permission, Some(tenant)).is_ok());
        Authority::Holds(held.map(str::to_owned).collect())
    }

    /// Whether it covers one permission.
    pub(super) fn may(&self, permission: &str) -> bool {
        match self {
            Authority::System => true,
            Authority::Holds(held) => held.contains(permission),
        }
    }
}

/// Permissions and roles as the running transaction sees them.
#[derive(Debug)]
pub struct Rules {
    pub(super) permissions: Permissions,
    /// The operator's roles alone.
    pub(super) catalogue: RoleCatalogue,
    /// What tenants may put into roles of their own.
    pub(super) composable: PermissionSet,
    roles: RoleCatalogue,
}

impl Rules {
    /// Loads them.
    pub async fn load(transaction: &Transaction) -> Result<Self, LoadError> {
        let (permissions, roles, composable) = catalog::load_access(transaction).await?;
        Ok(Rules { permissions, catalogue: roles.clone(), composable, roles })
    }

    /// Loads them with the roles that `tenant` has made itself.
    pub async fn load_for(transaction: &Transaction, tenant: TenantId) -> Result<Self, LoadError> {
        let rules = Rules::load(transaction).await?;
        let own = load_roles(transaction, Some(tenant)).await?;
        let own: Vec<RoleDefinition> = own.into_iter().map(|row| row.definition).collect();
        Ok(rules.with_own(&own))
    }

    /// The same with these roles of a tenant's own, in place of those that it had.
    #[must_use]
    pub(super) fn with_own(self, own: &[RoleDefinition]) -> Self {
        let roles = self.catalogue.with_tenant(own, &self.permissions, &self.composable);
        Rules { roles, ..self }
    }

    /// What a role permits; 422 `access.unknown_role` if there is none.
    pub fn role(&self, role: &str) -> Result<PermissionSet, Refusal> {
        let unknown = || Refusal::new(&kind::UNKNOWN_ROLE, format!("There is no role `{role}`."));
        self.roles.permissions(role).copied().ok_or_else(unknown)
    }

    /// What a permission or pattern means; 422 `access.unknown_permission` if nothing.
    pub fn permission(&self, pattern: &str) -> Result<PermissionSet, Refusal> {
        let unknown =
            || Refusal::new(&kind::UNKNOWN_PERMISSION, format!("There is no permission `{pattern}`."));
        self.permissions.matching(pattern).ok_or_else(unknown)
    }

    /// What a grant of `target` is about.
    pub(super) fn target(&self, target: &GrantTarget) -> Result<PermissionSet, Refusal> {
        match target {
            GrantTarget::Role(role) => self.role(role),
            GrantTarget::Permission(pattern) => self.permission(pattern),
        }
    }

    /// What roles and permissions permit together.
    pub fn union(&self, roles: &[String], permissions: &[String]) -> Result<PermissionSet, Refusal> {
        let mut set = PermissionSet::default();
        for role in roles {
            set.extend(&self.role(role)?);
        }
        for pattern in permissions {
            set.extend(&self.permission(pattern)?);
        }
        Ok(set)
    }

    /// What a key with these roles and permissions will permit; 422 for those that do not exist.
    pub fn of_key(&self, roles: &[String], permissions: &[String]) -> Result<PermissionSet, Refusal> {
        self.union(roles, permissions)?;
        Ok(key_permits(roles, permissions, &self.roles, &self.permissions))
    }

    /// 403 `access.escalation` unless `authority` holds all of `given`.
    pub fn refuse_escalation(&self, authority: &Authority, given: &PermissionSet) -> Result<(), Refusal> {
        let Authority::Holds(held) = authority else { return Ok(()) };
        let lacking = |name: &&str| !held.contains(*name);
        let missing: Vec<&str> = self.permissions.names_of(given).into_iter().filter(lacking).collect();
        refuse_missing("You do not hold", &missing)
    }

    /// 403 `access.escalation` unless `owner` holds all of `given` in the tenant now.
    pub async fn refuse_beyond_owner(
        &self,
        transaction: &Transaction,
        (tenant, owner): (TenantId, Principal),
        given: &PermissionSet,
    ) -> Result<(), Refusal> {
        let grants = queries::load_grants(transaction, Some(tenant)).await?;
        let grants: Vec<GrantDefinition> = grants.into_iter().map(|(_, grant)| grant).collect();
        let own = load_roles(transaction, Some(tenant)).await?;
        let own: Vec<RoleDefinition> = own.into_iter().map(|row| row.definition).collect();
        let roles = self.catalogue.with_tenant(&own, &self.permissions, &self.composable);
        let table = compile(0, &grants, &roles, &self.permissions);
        let now_us = transaction.store().clock().now_us();
        let lacking = |name: &&str| {
            let bit = self.permissions.id(name).expect("names of a set are declared");
            may(table.rights(&owner), bit, now_us) != Reason::Granted
        };
        let missing: Vec<&str> = self.permissions.names_of(given).into_iter().filter(lacking).collect();
        refuse_missing("The key's owner does not hold", &missing)
    }

    /// Whether `grant`'s role or pattern contains `permission`.
    pub(super) fn contains(&self, grant: &GrantDefinition, permission: &str) -> bool {
        let closed = |set: PermissionSet| match grant.effect {
            GrantEffect::Allow => self.permissions.closed(&set),
            GrantEffect::Deny => set,
        };
        let set = self.target(&grant.target).ok().map(closed);
        self.permissions.id(permission).is_some_and(|bit| set.is_some_and(|set| set.contains(bit)))
    }
}

fn refuse_missing(words: &str, missing: &[&str]) -> Result<(), Refusal> {
    const SHOWN: usize = 10;
    if missing.is_empty() {
        return Ok(());
    }
    let more = missing.len().saturating_sub(SHOWN);
    let mut names = missing[..missing.len().min(SHOWN)].join(", ");
    if more > 0 {
        names.push_str(&format!(" and {more} more"));
    }
    Err(Refusal::new(&kind::ACCESS_ESCALATION, format!("{words} {names}.")))
}
