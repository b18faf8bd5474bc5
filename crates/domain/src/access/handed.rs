//! What a change gives to somebody, or takes off him: what who makes it must hold himself.
//!
//! It is asked of the model that has the grants in question: of the one after a change for what the change adds, of the one
//! before it for what it takes away. Who takes away a denial gives; who adds one takes, and needs a right to that besides.

use super::condition::Condition;
use super::interval::Interval;
use super::model::{Grant, GrantEffect, Holder, Membership, Model, ResourceName};
use super::{AccessTable, PermissionSet, Principal, PrincipalKind};

/// Permissions on something for a time, which a grant allows or denies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    /// Whether they are allowed or denied.
    pub effect: GrantEffect,
    /// Which: for an allow with what they imply.
    pub set: PermissionSet,
    /// On what; `None` is the whole tenant.
    pub thing: Option<ResourceName>,
    /// When.
    pub interval: Interval,
    /// Under which condition.
    pub condition: Option<Condition>,
}

impl Model<'_> {
    /// What a grant hands to its holder.
    pub fn handed(&self, grant: &Grant) -> Handed {
        Handed {
            effect: grant.effect,
            set: self.set(grant),
            thing: grant.resource.clone(),
            interval: grant.interval,
            condition: grant.condition.clone(),
        }
    }

    /// What being in a group hands to a member: the grants of the group and of those that it is in.
    pub fn handed_by(&self, membership: &Membership) -> Vec<Handed> {
        let through = self.grants_by(membership).into_iter();
        let mut all: Vec<Handed> =
            through.map(|(grant, interval)| Handed { interval, ..self.handed(grant) }).collect();
        all.retain(|handed| !handed.interval.is_empty());
        all
    }

    /// The denials that `member` has through its groups, each for as long as it has it, as if they were its own.
    pub fn denied_by_groups(&self, member: Holder) -> Vec<Grant> {
        let own = self.memberships.iter().filter(|one| one.member == member);
        let through = own.flat_map(|one| self.grants_by(one));
        let denials =
            through.filter(|(grant, interval)| grant.effect == GrantEffect::Deny && !interval.is_empty());
        denials.map(|(grant, interval)| Grant { holder: member, interval, ..grant.clone() }).collect()
    }

    /// The grants of a membership's group and of those that it is in, and when they are for the member.
    fn grants_by(&self, membership: &Membership) -> Vec<(&Grant, Interval)> {
        let mut all = Vec::new();
        let mut open = vec![(membership.group, membership.interval)];
        let mut seen: Vec<(uuid::Uuid, Interval)> = Vec::new();
        while let Some((group, interval)) = open.pop() {
            let known =
                |(other, longer): &(uuid::Uuid, Interval)| *other == group && longer.contains(interval);
            if interval.is_empty() || seen.iter().any(known) {
                continue;
            }
            seen.push((group, interval));
            let own = Holder::Group(group);
            let here = self.grants.iter().filter(|grant| grant.holder == own);
            all.extend(here.map(|grant| (grant, grant.interval.and(interval))));
            let up = self.memberships.iter().filter(|up| up.member == own);
            open.extend(up.map(|up| (up.group, interval.and(up.interval))));
        }
        all
    }

    /// What whoever decides who a person is gets from `from_us` on: all that any person of the tenant is or will be allowed.
    pub fn lent_by_people(&self, from_us: i64) -> Vec<Handed> {
        let is_machine = |holder: Holder| matches!(holder, Holder::Principal(one) if one.kind == PrincipalKind::ServiceAccount);
        let to_come = Interval { from_us, until_us: i64::MAX };
        let theirs = self.grants.iter().filter(|grant| {
            grant.effect == GrantEffect::Allow
                && !is_machine(grant.holder)
                && !grant.interval.and(to_come).is_empty()
        });
        theirs.map(|grant| self.handed(grant)).collect()
    }

    /// What whoever stands in for `principal` gets from `from_us` on: all that it is or will be allowed, by itself, through groups and with
    /// everyone. What it is denied does not make that less, for a denial can be lifted.
    pub fn lent(&self, principal: Principal, from_us: i64) -> Vec<Handed> {
        let own = Holder::Principal(principal);
        let direct = self.grants.iter().filter(|grant| [own, Holder::Everyone].contains(&grant.holder));
        let through = self.memberships.iter().filter(|one| one.member == own);
        let mut all: Vec<Handed> = direct.map(|grant| self.handed(grant)).collect();
        all.extend(through.flat_map(|one| self.handed_by(one)));
        let to_come = Interval { from_us, until_us: i64::MAX };
        all.retain(|one| one.effect == GrantEffect::Allow && !one.interval.and(to_come).is_empty());
        all
    }

    /// What `principal` itself, or through groups, is allowed or denied of `kind` under conditions that ask for what is known of things: who
    /// says what is known decides whether it is so. What everyone is allowed or denied so is left out, for it is nobody's own.
    pub fn of_its_own_under_conditions(
        &self,
        principal: Principal,
        kind: &PermissionSet,
        from_us: i64,
    ) -> Vec<Handed> {
        let own = Holder::Principal(principal);
        let direct = self.grants.iter().filter(|grant| grant.holder == own);
        let mut all: Vec<Handed> = direct.map(|grant| self.handed(grant)).collect();
        let through = self.memberships.iter().filter(|one| one.member == own);
        all.extend(through.flat_map(|one| self.handed_by(one)));
        let to_come = Interval { from_us, until_us: i64::MAX };
        all.iter_mut().for_each(|one| one.set.intersect(kind));
        all.retain(|one| {
            let asks = one.condition.as_ref().is_some_and(|own| own.text().contains("resource"));
            asks && !one.set.is_empty() && !one.interval.and(to_come).is_empty()
        });
        all
    }

    /// What comes to `thing` by what is `above` it: the grants there, as if they were on it.
    pub fn handed_on(&self, thing: &ResourceName, above: &[ResourceName]) -> Vec<Handed> {
        let there = |grant: &&Grant| grant.resource.as_ref().is_some_and(|name| above.contains(name));
        let here = |grant| Handed { thing: Some(thing.clone()), ..self.handed(grant) };
        self.grants.iter().filter(there).map(here).collect()
    }

    /// Those of `people` who hold everything in the tenant for the whole of `interval`.
    pub fn administrators<'p>(
        &self,
        table: &AccessTable,
        people: impl IntoIterator<Item = &'p Principal>,
        interval: Interval,
    ) -> Vec<Principal> {
        let Some(all) = self.permissions.matching("*:*") else { return Vec::new() };
        let everything = |one: &&Principal| {
            one.kind == PrincipalKind::User && all.is_subset(&table.held(one, None, None, interval, None))
        };
        people.into_iter().filter(everything).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use uuid::Uuid;

    use super::super::{GrantTarget, Permissions, RoleCatalogue, Sessions};
    use super::*;

    fn group(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn grant(holder: Holder, pattern: &str, on: Option<&ResourceName>) -> Grant {
        Grant {
            id: Uuid::nil(),
            holder,
            effect: GrantEffect::Allow,
            target: GrantTarget::Permission(pattern.into()),
            resource: on.cloned(),
            interval: Interval::ALWAYS,
            condition: None,
        }
    }

    fn named(id: &str) -> ResourceName {
        ResourceName { kind: "doc".into(), id: id.into() }
    }

    #[test]
    fn a_member_is_handed_what_all_groups_above_have_for_as_long_as_every_hop_lasts() {
        let permissions =
            Permissions::new(&BTreeMap::from([("doc".into(), vec!["read".into(), "write".into()])]))
                .expect("few");
        let roles = RoleCatalogue::default();
        let p7 = named("p7");
        let grants = [
            grant(Holder::Group(group(1)), "doc:read", None),
            grant(Holder::Group(group(2)), "doc:write", Some(&p7)),
        ];
        let until = Interval::new(None, Some(50));
        let memberships = [Membership { group: group(2), member: Holder::Group(group(1)), interval: until }];
        let model = Model {
            permissions: &permissions,
            roles: &roles,
            grants: &grants,
            memberships: &memberships,
            resources: &[],
            principals: &[],
            sessions: Sessions::default(),
        };
        let joining =
            Membership { group: group(1), member: Holder::Everyone, interval: Interval::new(Some(10), None) };
        let handed = model.handed_by(&joining);
        let told: Vec<_> = handed
            .iter()
            .map(|one| (permissions.names_of(&one.set).join(","), one.thing.is_some(), one.interval))
            .collect();
        assert_eq!(
            told,
            [
                ("doc:read".to_owned(), false, Interval::new(Some(10), None)),
                ("doc:write".to_owned(), true, Interval::new(Some(10), Some(50))),
            ]
        );
    }

    #[test]
    fn a_thing_that_moves_is_handed_what_is_granted_on_everything_above() {
        let permissions =
            Permissions::new(&BTreeMap::from([("doc".into(), vec!["read".into()])])).expect("few");
        let roles = RoleCatalogue::default();
        let (top, middle, leaf) = (named("top"), named("middle"), named("leaf"));
        let grants =
            [grant(Holder::Everyone, "doc:read", Some(&top)), grant(Holder::Everyone, "doc:read", None)];
        let model = Model {
            permissions: &permissions,
            roles: &roles,
            grants: &grants,
            memberships: &[],
            resources: &[],
            principals: &[],
            sessions: Sessions::default(),
        };
        let handed = model.handed_on(&leaf, &[middle, top.clone()]);
        assert_eq!(handed.len(), 1, "what is granted everywhere reaches it anyhow");
        assert_eq!(handed[0].thing.as_ref(), Some(&leaf));
    }
}
