//! A tenant's access as it is stored: grants, groups, things, and who there is.
//!
//! Things are loaded only where a grant is about one, and who there is only where something is granted to everyone: a tenant
//! without either pays for neither.

use std::collections::HashMap;

use rowhouse_domain::access::{
    AccessTable, Chosen, Constraint, Grant, GrantTarget, Holder, Membership, Model, Principal, PrincipalKind,
    Resource, RoleCatalogue, Sessions,
};
use rowhouse_domain::id::{OPERATOR_TENANT, TenantId, UserId};
use rowhouse_store::{StoreError, Transaction};

use super::{Rules, constraint, group_queries, queries, resource_queries};
use crate::{identity, keys};

/// What a tenant's rights are made of, besides roles.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    /// Grants that were not taken back, over or not.
    pub grants: Vec<Grant>,
    /// Who is in which group.
    pub memberships: Vec<Membership>,
    /// What holds what.
    pub resources: Vec<Resource>,
    /// Who belongs to the tenant, if anything is for everyone.
    pub principals: Vec<Principal>,
    /// What is kept apart within sessions.
    pub apart: Vec<Constraint>,
    /// What was chosen in sessions, if anything is kept apart in them.
    pub chosen: Vec<Chosen>,
    /// The access version.
    pub version: u64,
}

impl Stored {
    /// With the roles that go with it.
    pub fn model<'s>(&'s self, rules: &'s Rules) -> Model<'s> {
        Model {
            permissions: &rules.permissions,
            roles: rules.roles(),
            grants: &self.grants,
            memberships: &self.memberships,
            resources: &self.resources,
            principals: &self.principals,
            sessions: self.sessions(),
        }
    }

    /// What sessions are held to.
    pub fn sessions(&self) -> Sessions<'_> {
        Sessions { apart: &self.apart, chosen: &self.chosen }
    }

    /// Ready to decide with.
    pub(super) fn compile(&self, rules: &Rules) -> AccessTable {
        self.model(rules).compile(self.version)
    }
}

/// The access of one tenant or of all. Grants of a role that was the catalogue's and now is a tenant's own by name, or the
/// other way round, are left out: they were of another.
///
/// # Errors
/// If the database fails.
pub async fn load_stored(
    transaction: &Transaction,
    tenant: Option<TenantId>,
    catalogue: &RoleCatalogue,
) -> Result<HashMap<TenantId, Stored>, StoreError> {
    let (grants, memberships, versions, apart) = tokio::try_join!(
        queries::load_grants(transaction, tenant),
        group_queries::load_memberships(transaction, tenant),
        queries::load_versions(transaction, tenant),
        constraint::load_dynamic(transaction, tenant),
    )?;
    let mut all: HashMap<TenantId, Stored> = HashMap::new();
    for (tenant, grant, own) in grants {
        let of_another = match &grant.target {
            GrantTarget::Role(role) => own == catalogue.permissions(role).is_some(),
            GrantTarget::Permission(_) => false,
        };
        if !of_another {
            all.entry(tenant).or_default().grants.push(grant);
        }
    }
    for (tenant, membership) in memberships {
        all.entry(tenant).or_default().memberships.push(membership);
    }
    for (tenant, version) in versions {
        all.entry(tenant).or_default().version = version;
    }
    put_sessions(transaction, &mut all, apart).await?;
    let about_things =
        |stored: &Stored| stored.grants.iter().any(|one| one.resource.is_some() || one.condition.is_some());
    let with_things: Vec<_> = all.iter().filter(|(_, own)| about_things(own)).map(|(id, _)| id.0).collect();
    if !with_things.is_empty() {
        for (tenant, resource) in resource_queries::load_held(transaction, &with_things).await? {
            all.entry(tenant).or_default().resources.push(resource);
        }
    }
    let for_all = |stored: &Stored| stored.grants.iter().any(|grant| grant.holder == Holder::Everyone);
    let with_everyone: Vec<_> = all.iter().filter(|(_, own)| for_all(own)).map(|(id, _)| id.0).collect();
    if !with_everyone.is_empty() {
        for (tenant, principal) in everybody(transaction, &with_everyone).await? {
            all.entry(tenant).or_default().principals.push(principal);
        }
    }
    Ok(all)
}

/// What is kept apart within sessions, and what was chosen in them: only tenants with the one are asked for the other.
async fn put_sessions(
    transaction: &Transaction,
    all: &mut HashMap<TenantId, Stored>,
    apart: Vec<(Option<TenantId>, Constraint)>,
) -> Result<(), StoreError> {
    for (id, stored) in all.iter_mut() {
        let holds = |owner: &Option<TenantId>| owner.map_or(*id != OPERATOR_TENANT, |owner| owner == *id);
        let own = apart.iter().filter(|(owner, _)| holds(owner));
        stored.apart = own.map(|(_, constraint)| constraint.clone()).collect();
    }
    let held = all.iter().filter(|(_, stored)| !stored.apart.is_empty());
    let held: Vec<uuid::Uuid> = held.map(|(id, _)| id.0).collect();
    if held.is_empty() {
        return Ok(());
    }
    let now = transaction.store().clock().now();
    for (tenant, chosen) in identity::load_active_roles(transaction, &held, now).await? {
        all.entry(tenant).or_default().chosen.push(chosen);
    }
    Ok(())
}

/// The access of one tenant.
pub(super) async fn of_one(
    transaction: &Transaction,
    tenant: TenantId,
    rules: &Rules,
) -> Result<Stored, StoreError> {
    let mut all = load_stored(transaction, Some(tenant), &rules.catalogue).await?;
    Ok(all.remove(&tenant).unwrap_or_default())
}

/// The access of one tenant, with everybody who belongs to it.
pub(super) async fn with_everybody(
    transaction: &Transaction,
    tenant: TenantId,
    rules: &Rules,
) -> Result<Stored, StoreError> {
    let principals = everybody(transaction, &[tenant.0]).await?;
    let principals = principals.into_iter().map(|(_, principal)| principal).collect();
    Ok(Stored { principals, ..of_one(transaction, tenant, rules).await? })
}

/// Active people and service accounts.
async fn everybody(
    transaction: &Transaction,
    tenants: &[uuid::Uuid],
) -> Result<Vec<(TenantId, Principal)>, StoreError> {
    let people = identity::active_people(transaction, tenants).await?;
    let machines = keys::accounts_in(transaction, tenants).await?;
    let user = |(tenant, id): (TenantId, UserId)| (tenant, Principal { kind: PrincipalKind::User, id: id.0 });
    let account = |(tenant, id)| (tenant, Principal { kind: PrincipalKind::ServiceAccount, id });
    Ok(people.into_iter().map(user).chain(machines.into_iter().map(account)).collect())
}
