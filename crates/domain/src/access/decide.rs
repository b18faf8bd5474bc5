//! The decision. Pure: rights, permission, instant in; a permit or the reason why not out.

use serde_json::{Map, Value};

use super::condition::{Condition, Facts, Outcome, Subject, Work};
use super::interval::State;
use super::model::{GrantEffect, ResourceKey};
use super::permission::{PermissionId, PermissionSet};
use super::table::{AccessTable, Asker, Flagged, PrincipalRights, Said};
use super::{Principal, PrincipalKind};
use crate::id::TenantId;

/// Why a decision came out as it did; the first that holds is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A grant allows it and none denies it.
    Granted,
    /// A grant forbids it.
    Denied,
    /// A grant would allow it under a condition that asks for what is not known, or that cannot be evaluated.
    ContextMissing,
    /// A grant would allow it under a condition that does not hold.
    ConditionFalse,
    /// A grant would allow it, but a role that it gives is not active in the session.
    InactiveRole,
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
            Reason::ContextMissing => "context_missing",
            Reason::ConditionFalse => "condition_false",
            Reason::InactiveRole => "inactive_role",
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

/// When something is asked, and what is known then. An instant alone knows nothing else: conditions on more are not fulfilled.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// µs since 1970.
    pub now_us: i64,
    /// What conditions can ask for.
    pub facts: &'a Facts<'a>,
}

impl From<i64> for Moment<'static> {
    fn from(now_us: i64) -> Self {
        Moment { now_us, facts: &Facts::NONE }
    }
}

impl<'a> From<(i64, &'a Facts<'a>)> for Moment<'a> {
    fn from((now_us, facts): (i64, &'a Facts<'a>)) -> Self {
        Moment { now_us, facts }
    }
}

/// Whether `rights` contain `permission` on the whole tenant at a moment, and why.
#[inline]
pub fn may<'a>(
    rights: Option<PrincipalRights<'_>>,
    permission: PermissionId,
    at: impl Into<Moment<'a>>,
) -> Reason {
    let Some(rights) = rights else { return Reason::NoGrant };
    match (rights.shape.sets.of(permission), rights.flagged) {
        ((_, true), _) => Reason::Denied,
        ((true, _), None) => Reason::Granted,
        ((false, _), None) => Reason::NoGrant,
        ((granted, _), Some(flagged)) => {
            let mut verdict = Verdict { granted, ..Verdict::default() };
            verdict.timed(rights, &Asked::new(at.into(), flagged, None), permission);
            verdict.reason()
        }
    }
}

/// Whether `rights` contain `permission` on `resource` or something that holds it, at a moment, and why. Nothing is
/// allocated unless a condition is asked; the cost is a search for each of the resource's ancestors in the grants of each group of
/// the principal that has grants on resources.
pub fn may_on<'a>(
    table: &AccessTable,
    rights: Option<PrincipalRights<'_>>,
    permission: PermissionId,
    resource: ResourceKey,
    at: impl Into<Moment<'a>>,
) -> Reason {
    let Some(rights) = rights else { return Reason::NoGrant };
    let (granted, denied) = rights.shape.sets.of(permission);
    if denied {
        return Reason::Denied;
    }
    let mut verdict = Verdict { granted, ..Verdict::default() };
    if let Some(flagged) = rights.flagged {
        let stored = flagged.asker.as_ref().and_then(|_| table.attributes.get(&resource));
        let asked = Asked::new(at.into(), flagged, stored);
        verdict.timed(rights, &asked, permission);
        for key in table.ancestry(resource) {
            for said in rights.on(key).filter(|said| said.permissions.contains(permission)) {
                verdict.see(said, &asked);
            }
        }
    }
    verdict.reason()
}

/// A question to conditions.
pub(super) struct Asked<'a> {
    pub(super) at: Moment<'a>,
    flagged: &'a Flagged,
    stored: Option<&'a Map<String, Value>>,
    work: Work,
}

impl<'a> Asked<'a> {
    pub(super) fn new(at: Moment<'a>, flagged: &'a Flagged, stored: Option<&'a Map<String, Value>>) -> Self {
        Asked { at, flagged, stored, work: Work::default() }
    }

    #[cold]
    fn outcome(&self, condition: &Condition) -> Outcome {
        let Some(Asker { principal, groups }) = self.flagged.asker.as_deref() else {
            return Outcome::Error("nobody is asked about".to_owned());
        };
        let active = groups.iter().filter(|(_, when)| when.state(self.at.now_us) == State::Active);
        let mut groups: Vec<uuid::Uuid> = active.map(|(group, _)| *group).collect();
        groups.dedup();
        let subject = Subject { principal: *principal, groups: &groups };
        condition.evaluate(subject, self.stored, self.at.facts, (self.at.now_us, &self.work))
    }

    /// Whether an allow applies: what cannot be said does not allow.
    pub(super) fn allows(&self, condition: Option<&Condition>) -> bool {
        condition.is_none_or(|condition| self.outcome(condition) == Outcome::True)
    }

    /// Whether a deny applies: what cannot be said denies.
    pub(super) fn denies(&self, condition: Option<&Condition>) -> bool {
        condition.is_none_or(|condition| self.outcome(condition) != Outcome::False)
    }
}

/// What is known so far of a question. The first that holds is told: denied, granted, context missing, condition false, inactive
/// role, expired, pending, no grant.
#[derive(Default)]
struct Verdict {
    denied: bool,
    granted: bool,
    context_missing: bool,
    condition_false: bool,
    inactive_role: bool,
    expired: bool,
    pending: bool,
}

impl Verdict {
    fn timed(&mut self, rights: PrincipalRights<'_>, asked: &Asked<'_>, permission: PermissionId) {
        for said in rights.timed().filter(|said| said.permissions.contains(permission)) {
            self.see(said, asked);
        }
    }

    fn see(&mut self, said: Said<'_>, asked: &Asked<'_>) {
        match (said.effect, said.interval.state(asked.at.now_us)) {
            (GrantEffect::Deny, State::Active) => {
                self.denied = self.denied || asked.denies(said.condition);
            }
            (GrantEffect::Allow, State::Active) => self.allowed(&said, asked),
            (GrantEffect::Allow, State::Expired) => self.expired = true,
            (GrantEffect::Allow, State::Pending) => self.pending = true,
            (GrantEffect::Deny, State::Expired | State::Pending) | (_, State::Never) => {}
        }
    }

    fn allowed(&mut self, said: &Said<'_>, asked: &Asked<'_>) {
        match said.condition.filter(|_| !self.granted).map(|condition| asked.outcome(condition)) {
            None | Some(Outcome::True) if said.is_inactive => self.inactive_role = true,
            None | Some(Outcome::True) => self.granted = true,
            Some(Outcome::False) => self.condition_false = true,
            Some(Outcome::Missing(_) | Outcome::Error(_)) => self.context_missing = true,
        }
    }

    fn reason(&self) -> Reason {
        match () {
            () if self.denied => Reason::Denied,
            () if self.granted => Reason::Granted,
            () if self.context_missing => Reason::ContextMissing,
            () if self.condition_false => Reason::ConditionFalse,
            () if self.inactive_role => Reason::InactiveRole,
            () if self.expired => Reason::Expired,
            () if self.pending => Reason::Pending,
            () => Reason::NoGrant,
        }
    }
}

/// Decides for a principal of `tenant` (`None`: the platform).
#[inline]
pub fn decide<'a>(
    table: &AccessTable,
    tenant: Option<TenantId>,
    principal: Principal,
    permission: PermissionId,
    at: impl Into<Moment<'a>>,
) -> Decision {
    decide_of(table.rights(&principal), tenant, principal, permission, at)
}

/// [`decide`] when the rights have been looked up already: those that the principal has in its session.
#[inline]
pub fn decide_of<'a>(
    rights: Option<PrincipalRights<'_>>,
    tenant: Option<TenantId>,
    principal: Principal,
    permission: PermissionId,
    at: impl Into<Moment<'a>>,
) -> Decision {
    let reason = may(rights, permission, at);
    let permit = Permit { tenant, principal, reason: "decided" };
    // Chosen and not branched on: the answer differs with each question, and a processor that guessed wrong would begin the next one
    // only when this one's memory has come.
    std::hint::select_unpredictable(reason == Reason::Granted, Ok(permit), Err(reason))
}

/// Decides for an API key: its own block **and** its owner's must permit, so taking a right from the owner
/// takes it from the key at once.
pub fn decide_key<'a>(
    table: &AccessTable,
    tenant: Option<TenantId>,
    key: Principal,
    key_permits: &PermissionSet,
    owner: Principal,
    permission: PermissionId,
    at: impl Into<Moment<'a>>,
) -> Decision {
    decide_key_of(table.rights(&owner), tenant, key, key_permits, permission, at)
}

/// [`decide_key`] when the owner's rights have been looked up already.
#[inline]
pub fn decide_key_of<'a>(
    owner: Option<PrincipalRights<'_>>,
    tenant: Option<TenantId>,
    key: Principal,
    key_permits: &PermissionSet,
    permission: PermissionId,
    at: impl Into<Moment<'a>>,
) -> Decision {
    match of_key(Some(key_permits.contains(permission)), may(owner, permission, at)) {
        Reason::Granted => Ok(Permit { tenant, principal: key, reason: "decided" }),
        reason => Err(reason),
    }
}

/// What comes of a key's own scope and its owner's right; without a key the right itself.
#[inline]
pub fn of_key(in_scope: Option<bool>, owner: Reason) -> Reason {
    match (in_scope, owner) {
        (Some(false), Reason::Granted) => Reason::KeyScope,
        (Some(true), Reason::NoGrant) => Reason::OwnerLacks,
        (_, reason) => reason,
    }
}

/// Decides about one thing for a principal of `tenant`, or for its key, whose own scope is `in_scope`. The thing is asked for
/// only if something was granted to the principal on a single one, or under a condition.
pub fn decide_on<'a>(
    (table, tenant): (&AccessTable, TenantId),
    (principal, in_scope): (Principal, Option<bool>),
    rights: Option<PrincipalRights<'_>>,
    (permission, thing): (PermissionId, impl FnOnce() -> ResourceKey),
    at: impl Into<Moment<'a>>,
) -> Decision {
    let on_things = rights
        .and_then(|rights| rights.flagged)
        .is_some_and(|flagged| !flagged.carriers.is_empty() || flagged.asker.is_some());
    let owned = match on_things {
        true => may_on(table, rights, permission, thing(), at),
        false => may(rights, permission, at),
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
            permissions: vec!["doc:*".into()],
            ..RoleDefinition::default()
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
