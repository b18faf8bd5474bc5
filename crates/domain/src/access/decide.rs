//! The decision. Pure: rights, permission, instant in; a permit or the reason why not out.

use super::compile::{AccessTable, Flagged, PrincipalRights};
use super::interval::{Interval, State};
use super::model::{GrantEffect, ResourceKey};
use super::permission::{PermissionId, PermissionSet};
use super::{Principal, PrincipalKind};
use crate::id::TenantId;

/// Why a decision came out as it did; the first that holds is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A grant allows it and none denies it.
    Granted,
    /// A grant forbids it.
    Denied,
    /// A grant would allow it but is over.
    Expired,
    /// A grant would allow it but has not begun.
    Pending,
    /// No grant allows it.
    NoGrant,
    /// The owner may, the key may not.
    KeyScope,
    /// The key may, its owner may not.
    OwnerLacks,
}

impl Reason {
    /// The word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Granted => "granted",
            Reason::Denied => "denied",
            Reason::Expired => "expired",
            Reason::Pending => "pending",
            Reason::NoGrant => "no_grant",
            Reason::KeyScope => "key_scope",
            Reason::OwnerLacks => "owner_lacks",
        }
    }
}

/// Proof that someone may do something in one tenant. Only [`decide`] and [`decide_key`] make one, or
/// [`Permit::for_system`], which can be searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    tenant: Option<TenantId>,
    principal: Principal,
    reason: &'static str,
}

impl Permit {
    /// Rowhouse's own work: projections, sagas, reconcilers. `tenant` is `None` for work on the platform.
    /// `reason` says what it is for.
    pub fn for_system(tenant: Option<TenantId>, reason: &'static str) -> Self {
        let principal = Principal { kind: PrincipalKind::System, id: uuid::Uuid::nil() };
        Permit { tenant, principal, reason }
    }

    /// The tenant it is for; `None` for the platform as a whole.
    pub fn tenant(&self) -> Option<TenantId> {
        self.tenant
    }
    /// Who acts.
    pub fn principal(&self) -> Principal {
        self.principal
    }
    /// What it was given for.
    pub fn reason(&self) -> &'static str {
        self.reason
    }
    /// The same right, narrowed from the platform to one tenant. A tenant's permit stays its own.
    pub fn narrowed(&self, tenant: TenantId) -> Option<Permit> {
        match self.tenant {
            None => Some(Permit { tenant: Some(tenant), ..self.clone() }),
            Some(own) => (own == tenant).then(|| self.clone()),
        }
    }
}

/// A permit or why not.
pub type Decision = Result<Permit, Reason>;

/// Whether `rights` contain `permission` on the whole tenant at `now_us`, and why.
pub fn may(rights: Option<&PrincipalRights>, permission: PermissionId, now_us: i64) -> Reason {
    let Some(rights) = rights else { return Reason::NoGrant };
    if rights.deny.contains(permission) {
        return Reason::Denied;
    }
    match &rights.flagged {
        None if rights.allow.contains(permission) => Reason::Granted,
        None => Reason::NoGrant,
        Some(flagged) => {
            let mut verdict = Verdict::new(rights, permission);
            verdict.timed(flagged, permission, now_us);
            verdict.reason()
        }
    }
}

/// Whether `rights` contain `permission` on `resource` or something that holds it, at `now_us`, and why. Nothing is
/// allocated; the cost is a search for each of the resource's ancestors in the grants of each group of the principal that has
/// grants on resources.
pub fn may_on(
    table: &AccessTable,
    rights: Option<&PrincipalRights>,
    permission: PermissionId,
    resource: ResourceKey,
    now_us: i64,
) -> Reason {
    let Some(rights) = rights else { return Reason::NoGrant };
    if rights.deny.contains(permission) {
        return Reason::Denied;
    }
    let mut verdict = Verdict::new(rights, permission);
    if let Some(flagged) = &rights.flagged {
        verdict.timed(flagged, permission, now_us);
        for key in table.ancestry(resource) {
            for rule in flagged.carriers.iter().flat_map(|carrier| table.rules_on(carrier, key)) {
                if rule.permissions.contains(permission) {
                    verdict.see(rule.effect, rule.interval, now_us);
                }
            }
        }
    }
    verdict.reason()
}

/// What is known so far of a question. The first that holds is told: denied, granted, expired, pending, no grant.
struct Verdict {
    denied: bool,
    granted: bool,
    expired: bool,
    pending: bool,
}

impl Verdict {
    fn new(rights: &PrincipalRights, permission: PermissionId) -> Self {
        let granted = rights.allow.contains(permission);
        Verdict { denied: false, granted, expired: false, pending: false }
    }

    fn timed(&mut self, flagged: &Flagged, permission: PermissionId, now_us: i64) {
        for rule in flagged.timed.iter().filter(|rule| rule.permissions.contains(permission)) {
            self.see(rule.effect, rule.interval, now_us);
        }
    }

    fn see(&mut self, effect: GrantEffect, interval: Interval, now_us: i64) {
        match (effect, interval.state(now_us)) {
            (GrantEffect::Deny, State::Active) => self.denied = true,
            (GrantEffect::Allow, State::Active) => self.granted = true,
            (GrantEffect::Allow, State::Expired) => self.expired = true,
            (GrantEffect::Allow, State::Pending) => self.pending = true,
            (GrantEffect::Deny, State::Expired | State::Pending) | (_, State::Never) => {}
        }
    }

    fn reason(&self) -> Reason {
        match () {
            () if self.denied => Reason::Denied,
            () if self.granted => Reason::Granted,
            () if self.expired => Reason::Expired,
            () if self.pending => Reason::Pending,
            () => Reason::NoGrant,
        }
    }
}

/// Decides for a principal of `tenant` (`None`: the platform).
pub fn decide(
    table: &AccessTable,
    tenant: Option<TenantId>,
    principal: Principal,
    permission: PermissionId,
    now_us: i64,
) -> Decision {
    match may(table.rights(&principal), permission, now_us) {
        Reason::Granted => Ok(Permit { tenant, principal, reason: "decided" }),
        reason => Err(reason),
    }
}

/// Decides for an API key: its own block **and** its owner's must permit, so taking a right from the owner
/// takes it from the key at once.
pub fn decide_key(
    table: &AccessTable,
    tenant: Option<TenantId>,
    key: Principal,
    key_permits: &PermissionSet,
    owner: Principal,
    permission: PermissionId,
    now_us: i64,
) -> Decision {
    decide_key_of(table.rights(&owner), tenant, key, key_permits, permission, now_us)
}

/// [`decide_key`] when the owner's rights have been looked up already.
pub fn decide_key_of(
    owner: Option<&PrincipalRights>,
    tenant: Option<TenantId>,
    key: Principal,
    key_permits: &PermissionSet,
    permission: PermissionId,
    now_us: i64,
) -> Decision {
    match of_key(Some(key_permits.contains(permission)), may(owner, permission, now_us)) {
        Reason::Granted => Ok(Permit { tenant, principal: key, reason: "decided" }),
        reason => Err(reason),
    }
}

/// What comes of a key's own scope and its owner's right; without a key the right itself.
pub fn of_key(in_scope: Option<bool>, owner: Reason) -> Reason {
    match (in_scope, owner) {
        (Some(false), Reason::Granted) => Reason::KeyScope,
        (Some(true), Reason::NoGrant) => Reason::OwnerLacks,
        (_, reason) => reason,
    }
}

/// Decides about one thing for a principal of `tenant`, or for its key, whose own scope is `in_scope`. The thing is asked for
/// only if something was granted to the principal on a single one.
pub fn decide_on(
    (table, tenant): (&AccessTable, TenantId),
    (principal, in_scope): (Principal, Option<bool>),
    rights: Option<&PrincipalRights>,
    (permission, thing): (PermissionId, impl FnOnce() -> ResourceKey),
    now_us: i64,
) -> Decision {
    let on_things =
        rights.and_then(|rights| rights.flagged.as_ref()).is_some_and(|flagged| !flagged.carriers.is_empty());
    let owned = match on_things {
        true => may_on(table, rights, permission, thing(), now_us),
        false => may(rights, permission, now_us),
    };
    match of_key(in_scope, owned) {
        Reason::Granted => Ok(Permit { tenant: Some(tenant), principal, reason: "decided" }),
        reason => Err(reason),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use uuid::Uuid;

    use super::super::{GrantDefinition, GrantTarget, Permissions, RoleCatalogue, RoleDefinition, compile};
    use super::*;

    const ANN: Principal = Principal { kind: PrincipalKind::User, id: Uuid::from_u128(7) };

    fn grant(effect: GrantEffect, target: &str, from: Option<i64>, until: Option<i64>) -> GrantDefinition {
        let target = match target.contains(':') {
            true => GrantTarget::Permission(target.into()),
            false => GrantTarget::Role(target.into()),
        };
        GrantDefinition { principal: ANN, effect, target, valid_from_us: from, valid_until_us: until }
    }

    fn ask(grants: &[GrantDefinition], permission: &str, now_us: i64) -> Reason {
        let actions = ["read", "update"].map(str::to_owned).to_vec();
        let permissions = Permissions::new(&BTreeMap::from([("doc".to_owned(), actions)])).expect("few");
        let role = RoleDefinition {
            name: "author".into(),
            title: String::new(),
            permissions: vec!["doc:*".into()],
            inherits: vec![],
        };
        let roles = RoleCatalogue::new(&[role], &permissions).expect("roles");
        let table = compile(1, grants, &roles, &permissions);
        may(table.rights(&ANN), permissions.id(permission).expect("declared"), now_us)
    }

    #[test]
    fn deny_wins_default_denies_and_time_is_half_open() {
        use GrantEffect::*;
        let author = grant(Allow, "author", None, None);
        assert_eq!(ask(&[], "doc:read", 0), Reason::NoGrant);
        assert_eq!(ask(std::slice::from_ref(&author), "doc:read", 0), Reason::Granted);
        let no_update = grant(Deny, "doc:update", None, None);
        assert_eq!(ask(&[author.clone(), no_update.clone()], "doc:update", 0), Reason::Denied);
        assert_eq!(ask(&[author.clone(), no_update], "doc:read", 0), Reason::Granted, "only what it names");
        let timed = [grant(Allow, "author", Some(10), Some(20))];
        let at = |now| ask(&timed, "doc:read", now);
        assert_eq!(
            (at(9), at(10), at(19), at(20)),
            (Reason::Pending, Reason::Granted, Reason::Granted, Reason::Expired)
        );
        let timed_deny = [author, grant(Deny, "author", Some(10), Some(20))];
        assert_eq!(ask(&timed_deny, "doc:read", 15), Reason::Denied);
        assert_eq!(ask(&timed_deny, "doc:read", 25), Reason::Granted);
    }

    #[test]
    fn a_key_needs_its_own_right_and_its_owners() {
        let actions = ["read", "update"].map(str::to_owned).to_vec();
        let permissions = Permissions::new(&BTreeMap::from([("doc".to_owned(), actions)])).expect("few");
        let roles = RoleCatalogue::default();
        let table = compile(1, &[grant(GrantEffect::Allow, "doc:read", None, None)], &roles, &permissions);
        let key = Principal { kind: PrincipalKind::ApiKey, id: Uuid::from_u128(9) };
        let ask = |scope: &str, permission: &str| {
            let set = permissions.matching(scope).expect("declared");
            let id = permissions.id(permission).expect("declared");
            decide_key(&table, None, key, &set, ANN, id, 0).map(|permit| permit.principal())
        };
        assert_eq!(ask("doc:read", "doc:read"), Ok(key));
        assert_eq!(ask("doc:update", "doc:read"), Err(Reason::KeyScope));
        assert_eq!(ask("doc:*", "doc:update"), Err(Reason::OwnerLacks));
    }

    #[test]
    fn a_permit_narrows_but_never_crosses() {
        let (a, b) = (TenantId::from_u128(1), TenantId::from_u128(2));
        let platform = Permit::for_system(None, "test");
        assert_eq!(platform.narrowed(a).and_then(|p| p.tenant()), Some(a));
        assert_eq!(Permit::for_system(Some(a), "test").narrowed(b), None);
    }
}
