//! No escalation: whoever gives a right holds it himself at that moment, judged by the roles and grants of the running
//! transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rowhouse_domain::access::{
    AccessTable, Attribute, Condition, Described, GrantEffect, Handed, Interval, PermissionSet, Permissions,
    Principal, Reason, ResourceName, RoleCatalogue, RoleDefinition, is_for_operator, key_permits, may,
};
use rowhouse_domain::directory::Directory;
use rowhouse_domain::id::{OPERATOR_TENANT, SessionId, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::Transaction;

use super::{load_roles, stored};
use crate::api::Caller;
use crate::catalog::{self, CompiledAccess, LoadError};

/// In whose right something is given.
#[derive(Debug, Clone)]
pub enum Authority {
    /// Rowhouse's own work, as when a tenant is provisioned.
    System,
    /// Someone who may do something in the tenant.
    Holds(Box<Holding>),
}

/// What a caller holds, and on what and for how long.
#[derive(Debug, Clone)]
pub struct Holding {
    table: Arc<AccessTable>,
    permissions: Arc<Permissions>,
    principal: Principal,
    /// A person's session.
    session: Option<SessionId>,
    /// What the caller's key or application may do at most.
    permits: Option<PermissionSet>,
    /// Its key is narrowed, or it is an application's session: what it would give is not, and would stay.
    is_narrowed: bool,
    /// Things are of the tenant alone; the operator's own people hold what they hold on all of it.
    of_home: bool,
    now_us: i64,
}

impl Authority {
    /// What the caller may do in `tenant` now.
    pub fn of(caller: &Caller, tenant: TenantId) -> Self {
        // Nothing is held in a tenant that is not there.
        let home = caller.directory().tenants.get(&caller.tenant());
        Authority::Holds(Box::new(Holding {
            table: home.map(|home| home.access.clone()).unwrap_or_default(),
            permissions: caller.directory().permissions.clone(),
            principal: caller.owner(),
            session: caller.session(),
            permits: caller.permits(),
            is_narrowed: caller.is_narrowed(),
            of_home: caller.tenant() == tenant,
            now_us: caller.now_us(),
        }))
    }

    /// What a person with their own hands may do in `tenant`, as the directory says.
    pub(super) fn of_person(
        directory: &Directory,
        (home, principal): (TenantId, Principal),
        (tenant, now_us): (TenantId, i64),
    ) -> Self {
        let table = directory.tenants.get(&home).map(|home| home.access.clone()).unwrap_or_default();
        let permissions = directory.permissions.clone();
        Authority::holds(table, permissions, (principal, now_us), home == tenant)
    }

    /// What a person with their own hands may do in their tenant, as the running transaction sees it.
    pub(super) fn as_stored(rules: &Rules, table: AccessTable, who: (Principal, i64)) -> Self {
        Authority::holds(Arc::new(table), Arc::new(rules.permissions.clone()), who, true)
    }

    fn holds(
        table: Arc<AccessTable>,
        permissions: Arc<Permissions>,
        (principal, now_us): (Principal, i64),
        of_home: bool,
    ) -> Self {
        let (session, permits, is_narrowed) = (None, None, false);
        let holding =
            Holding { table, permissions, principal, session, permits, is_narrowed, of_home, now_us };
        Authority::Holds(Box::new(holding))
    }

    /// The same for making keys: they are as narrow as the key that makes them, at least.
    pub fn of_key_maker(caller: &Caller, tenant: TenantId) -> Self {
        match Authority::of(caller, tenant) {
            Authority::Holds(holding) => {
                Authority::Holds(Box::new(Holding { is_narrowed: false, ..*holding }))
            }
            Authority::System => Authority::System,
        }
    }

    /// Who it is of, and when; none for Rowhouse's own work.
    pub(super) fn holder(&self) -> Option<(Principal, i64)> {
        match self {
            Authority::System => None,
            Authority::Holds(holding) => Some((holding.principal, holding.now_us)),
        }
    }

    /// Whether it covers one permission on the whole tenant now.
    pub(super) fn may(&self, permission: &str) -> bool {
        match self {
            Authority::System => true,
            Authority::Holds(holding) => {
                holding.names(None, holding.this_instant(), None).contains(permission)
            }
        }
    }
}

impl Holding {
    fn this_instant(&self) -> Interval {
        Interval { from_us: self.now_us, until_us: self.now_us + 1 }
    }

    /// Everything held on the whole tenant or on one thing, for all of `interval` that is still to come, without a condition or
    /// under this one.
    fn names(
        &self,
        thing: Option<&ResourceName>,
        interval: Interval,
        under: Option<&Condition>,
    ) -> BTreeSet<&str> {
        let to_come = interval.and(Interval { from_us: self.now_us, until_us: i64::MAX });
        let thing = thing.filter(|_| self.of_home).map(ResourceName::key);
        let mut held = self.table.held(&self.principal, self.session, thing, to_come, under);
        if let Some(permits) = &self.permits {
            held.intersect(permits);
        }
        self.permissions.names_of(&held).into_iter().collect()
    }
}

/// Permissions and roles as the running transaction sees them.
#[derive(Debug, Clone)]
pub struct Rules {
    pub(super) permissions: Permissions,
    /// The operator's roles alone.
    pub(super) catalogue: RoleCatalogue,
    /// What tenants may put into roles of their own.
    pub(super) composable: PermissionSet,
    parents: BTreeMap<String, String>,
    roles: RoleCatalogue,
}

/// On the whole tenant, from now on.
const EVERYWHERE: Wanted<'_> = (None, Interval::ALWAYS, None);

/// On what, for how long and under which condition something has to be held.
type Wanted<'w> = (Option<&'w ResourceName>, Interval, Option<&'w Condition>);

impl Rules {
    /// Loads them.
    pub async fn load(transaction: &Transaction) -> Result<Self, LoadError> {
        let CompiledAccess { permissions, roles, composable, parents } =
            catalog::load_access(transaction).await?;
        Ok(Rules { permissions, catalogue: roles.clone(), composable, parents, roles })
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

    /// What things of `kind` have for conditions.
    pub(super) fn attributes(&self, kind: &str) -> Vec<Attribute> {
        let set = self.permissions.matching(&format!("{kind}:*")).unwrap_or_default();
        let all = self.permissions.kinds(&set).into_values().flatten();
        all.filter(|own| own.of == Described::Resource).cloned().collect()
    }

    /// The type of what holds things of `kind`, if such things are held.
    pub(super) fn parent_type(&self, kind: &str) -> Option<&str> {
        self.parents.get(kind).map(String::as_str)
    }

    /// The catalogue's roles and the tenant's own.
    pub(super) fn roles(&self) -> &RoleCatalogue {
        &self.roles
    }

    /// What a role permits; 422 `access.unknown_role` if there is none.
    pub fn role(&self, role: &str) -> Result<PermissionSet, Refusal> {
        let unknown = || Refusal::new(&kind::UNKNOWN_ROLE, format!("There is no role `{role}`."));
        self.roles.permissions(role).copied().ok_or_else(unknown)
    }

    /// 422 `access.unknown_role` for a role of the operator's own people anywhere but in the reserved tenant.
    pub fn refuse_operators_role(tenant: TenantId, role: &str) -> Result<(), Refusal> {
        if tenant == OPERATOR_TENANT || !is_for_operator(role) {
            return Ok(());
        }
        let detail = format!("`{role}` is for the operator's own people; nobody has it in a tenant.");
        Err(Refusal::new(&kind::UNKNOWN_ROLE, detail))
    }

    /// What these roles permit together in `tenant`, with what that implies; 422 `access.unknown_role` for those that nobody can have there.
    pub fn of_roles(&self, tenant: TenantId, roles: &[String]) -> Result<PermissionSet, Refusal> {
        roles.iter().try_for_each(|role| Rules::refuse_operators_role(tenant, role))?;
        Ok(self.permissions.closed(&self.union(roles, &[])?))
    }

    /// What a permission or pattern means; 422 `access.unknown_permission` if nothing.
    pub fn permission(&self, pattern: &str) -> Result<PermissionSet, Refusal> {
        let unknown =
            || Refusal::new(&kind::UNKNOWN_PERMISSION, format!("There is no permission `{pattern}`."));
        self.permissions.matching(pattern).ok_or_else(unknown)
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

    /// 403 `access.escalation` unless `authority` holds all of `given` on the whole tenant without end.
    pub fn refuse_escalation(&self, authority: &Authority, given: &PermissionSet) -> Result<(), Refusal> {
        self.refuse_beyond(authority, given, EVERYWHERE)
    }

    fn refuse_beyond(
        &self,
        authority: &Authority,
        given: &PermissionSet,
        (thing, interval, under): Wanted<'_>,
    ) -> Result<(), Refusal> {
        let Authority::Holds(holding) = authority else { return Ok(()) };
        if holding.is_narrowed && !self.permissions.names_of(given).is_empty() {
            let words = "A key that is narrowed (to addresses, services or limits of its own), or an application, gives no rights: what it \
                         gave would not be narrowed.";
            return Err(Refusal::new(&kind::ACCESS_ESCALATION, words));
        }
        let held = holding.names(thing, interval, under);
        let lacking = |name: &&str| !held.contains(*name);
        let missing: Vec<&str> = self.permissions.names_of(given).into_iter().filter(lacking).collect();
        match thing {
            None => refuse_missing("You do not hold, on everything and for as long,", &missing),
            Some(thing) => refuse_missing(
                &format!("You do not hold, on {} `{}` and for as long,", thing.kind, thing.id),
                &missing,
            ),
        }
    }

    /// 403 `access.escalation` unless `authority` holds everything that is handed over, on that and for that long. Who
    /// denies, or lifts a denial, also needs `grant:deny`.
    pub(super) fn refuse_handing(&self, authority: &Authority, handed: &[Handed]) -> Result<(), Refusal> {
        for one in handed {
            self.refuse_beyond(
                authority,
                &one.set,
                (one.thing.as_ref(), one.interval, one.condition.as_ref()),
            )?;
        }
        match handed.iter().any(|one| one.effect == GrantEffect::Deny) {
            true => self.refuse_escalation(authority, &self.permission("grant:deny")?),
            false => Ok(()),
        }
    }

    /// 403 `access.escalation` unless `owner` holds all of `given` in the tenant now.
    pub async fn refuse_beyond_owner(
        &self,
        transaction: &Transaction,
        (tenant, owner): (TenantId, Principal),
        given: &PermissionSet,
    ) -> Result<(), Refusal> {
        let rules = Rules::load_for(transaction, tenant).await?;
        let table = stored::of_one(transaction, tenant, &rules).await?.compile(&rules);
        let now_us = transaction.store().clock().now_us();
        let lacking = |name: &&str| {
            let bit = self.permissions.id(name).expect("names of a set are declared");
            may(table.rights(&owner), bit, now_us) != Reason::Granted
        };
        let missing: Vec<&str> = self.permissions.names_of(given).into_iter().filter(lacking).collect();
        refuse_missing("The key's owner does not hold", &missing)
    }

    /// 403 `access.escalation` unless `authority` holds everything that `principal` holds or will hold, on what and for as long as it
    /// does: whoever gets its secret, or says whose tokens and certificates are its own, stands in for it.
    pub async fn refuse_standing_in(
        transaction: &Transaction,
        authority: &Authority,
        (tenant, principal): (TenantId, Principal),
    ) -> Result<(), Refusal> {
        let rules = Rules::load_for(transaction, tenant).await?;
        let stored = stored::of_one(transaction, tenant, &rules).await?;
        let now_us = transaction.store().clock().now_us();
        rules.refuse_handing(authority, &stored.model(&rules).lent(principal, now_us))
    }

    /// 403 `access.escalation` unless `authority` holds everything that any person of the tenant holds or will hold: whoever says by
    /// whose word people are known can come in as each of them.
    pub async fn refuse_standing_in_for_people(
        transaction: &Transaction,
        authority: &Authority,
        tenant: TenantId,
    ) -> Result<(), Refusal> {
        let rules = Rules::load_for(transaction, tenant).await?;
        let stored = stored::of_one(transaction, tenant, &rules).await?;
        let now_us = transaction.store().clock().now_us();
        rules.refuse_handing(authority, &stored.model(&rules).lent_by_people(now_us))
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
