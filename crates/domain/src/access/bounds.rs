//! What a role asks of those who have it: that they be few, and that they have other roles besides (prerequisites). As with
//! separation of duty, having a role is by a grant, through groups, with everyone, and by inheritance; on one thing as much as on
//! all; and what counts is each instant to come.

use std::collections::{BTreeMap, BTreeSet};

use super::model::ResourceName;
use super::{Condition, Grant, GrantEffect, GrantTarget, Interval, Model, Principal, RoleDefinition};

/// Fewest and most that a role's `max_members` may say.
pub const MEMBERS: std::ops::RangeInclusive<u32> = 1..=1_000_000;
/// Most roles that one requires.
pub const REQUIRED_MAX: usize = 8;

/// What a role asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RoleBounds {
    requires: Vec<String>,
    max_members: Option<u32>,
}

impl RoleBounds {
    /// It asks nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.requires.is_empty() && self.max_members.is_none()
    }
}

impl From<&RoleDefinition> for RoleBounds {
    fn from(role: &RoleDefinition) -> Self {
        RoleBounds { requires: role.requires.clone(), max_members: role.max_members }
    }
}

impl RoleDefinition {
    /// What is wrong with what it asks: the field and what it should be.
    pub fn bound_faults(&self) -> Vec<(&'static str, &'static str)> {
        let mut faults = Vec::new();
        let once: BTreeSet<&String> = self.requires.iter().collect();
        if self.requires.len() > REQUIRED_MAX || once.len() != self.requires.len() {
            faults.push(("requires", "at most 8, each once"));
        }
        if self.requires.contains(&self.name) {
            faults.push(("requires", "other roles than itself"));
        }
        if self.max_members.is_some_and(|most| !MEMBERS.contains(&most)) {
            faults.push(("max_members", "1 to 1,000,000"));
        }
        faults
    }
}

/// A role whose bounds do not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Breach {
    /// More have it than may.
    TooMany {
        /// The role.
        role: String,
        /// How many may have it.
        most: u32,
        /// Who has it at that instant; none for everyone, of whom there are never few.
        members: BTreeSet<Principal>,
        /// The first such instant, µs since 1970.
        from_us: i64,
    },
    /// Somebody has it without what it requires.
    Missing {
        /// The role.
        role: String,
        /// What it requires.
        required: String,
        /// Who; `None` is whoever joins the tenant, by what everyone has.
        principal: Option<Principal>,
        /// From this instant, µs since 1970.
        from_us: i64,
    },
}

impl Breach {
    /// Whether it is none of `before`, nor less of the same: who takes away from what is too much does not break anything.
    pub fn is_new(&self, before: &[Breach]) -> bool {
        let covers = |old: &Breach| match (old, self) {
            (
                Breach::TooMany { role: old_role, members: old_members, .. },
                Breach::TooMany { role, members, .. },
            ) => old_role == role && !members.is_empty() && members.is_subset(old_members),
            (old, new) => old == new,
        };
        !before.iter().any(|old| old == self || covers(old))
    }
}

/// A role as somebody has it.
#[derive(Debug, Clone, Copy)]
struct Had<'m> {
    interval: Interval,
    thing: Option<&'m ResourceName>,
    condition: Option<&'m Condition>,
}

/// What one principal has: roles with how.
type Roles<'m> = BTreeMap<&'m str, Vec<Had<'m>>>;

impl Model<'_> {
    /// Every bound of a role that does not hold at some instant from `from_us` on, in the order of the roles.
    pub fn breaches(&self, from_us: i64) -> Vec<Breach> {
        let asked: BTreeSet<&str> = self
            .roles
            .bounded()
            .flat_map(|(name, bounds)| {
                std::iter::once(name).chain(bounds.requires.iter().map(String::as_str))
            })
            .collect();
        if asked.is_empty() {
            return Vec::new();
        }
        let to_come = Interval { from_us, until_us: i64::MAX };
        let mut all: BTreeMap<Option<Principal>, Roles<'_>> = BTreeMap::from([(None, Roles::new())]);
        for grant in self.grants.iter().filter(|grant| grant.effect == GrantEffect::Allow) {
            let roles: Vec<&str> = asked.iter().copied().filter(|name| self.gives(grant, name)).collect();
            if roles.is_empty() {
                continue;
            }
            self.each(grant.holder, grant.interval.and(to_come), &mut Vec::new(), &mut |who, interval| {
                let had =
                    Had { interval, thing: grant.resource.as_ref(), condition: grant.condition.as_ref() };
                let own = all.entry(who).or_default();
                roles.iter().for_each(|role| own.entry(*role).or_default().push(had));
            });
        }
        let mut breaches = Vec::new();
        for (role, bounds) in self.roles.bounded() {
            breaches.extend(bounds.max_members.and_then(|most| too_many(&all, role, most)));
            for required in &bounds.requires {
                breaches.extend(missing(&all, role, required));
            }
        }
        breaches
    }

    fn gives(&self, grant: &Grant, role: &str) -> bool {
        matches!(&grant.target, GrantTarget::Role(own) if self.roles.includes(own, role))
    }
}

fn too_many(all: &BTreeMap<Option<Principal>, Roles<'_>>, role: &str, most: u32) -> Option<Breach> {
    let breach = |members, from_us| Some(Breach::TooMany { role: role.to_owned(), most, members, from_us });
    if let Some(first) = all[&None].get(role).and_then(|had| had.iter().map(|one| one.interval.from_us).min())
    {
        return breach(BTreeSet::new(), first);
    }
    let mut turns: Vec<(i64, bool, Principal)> = Vec::new();
    for (principal, roles) in all {
        let Some((principal, had)) = principal.zip(roles.get(role)) else { continue };
        for one in joined(had.iter().map(|one| one.interval).collect()) {
            turns.push((one.from_us, true, principal));
            turns.push((one.until_us, false, principal));
        }
    }
    // Of what happens at one instant, who goes makes room for who comes.
    turns.sort_unstable();
    let mut members = BTreeSet::new();
    for (at_us, comes, principal) in turns {
        match comes {
            false => {
                members.remove(&principal);
            }
            true => {
                members.insert(principal);
                if members.len() > most as usize {
                    return breach(members, at_us);
                }
            }
        }
    }
    None
}

/// Everybody who has `role` at an instant at which they do not have `required` where and as surely as they have it.
fn missing(all: &BTreeMap<Option<Principal>, Roles<'_>>, role: &str, required: &str) -> Vec<Breach> {
    let none = Vec::new();
    let with_everyone = all[&None].get(required).unwrap_or(&none);
    let of = |(principal, roles): (&Option<Principal>, &Roles<'_>)| {
        let own = roles.get(required).filter(|_| principal.is_some()).unwrap_or(&none);
        let firsts = roles.get(role)?.iter().filter_map(|had| {
            let same = |one: &&Had<'_>| {
                (one.thing.is_none() || one.thing == had.thing)
                    && (one.condition.is_none() || one.condition == had.condition)
            };
            let there = own.iter().chain(with_everyone).filter(same).map(|one| one.interval).collect();
            uncovered(had.interval, joined(there))
        });
        let from_us = firsts.min()?;
        Some(Breach::Missing {
            role: role.to_owned(),
            required: required.to_owned(),
            principal: *principal,
            from_us,
        })
    };
    all.iter().filter_map(of).collect()
}

/// The same instants in as few intervals as can be, in order.
fn joined(mut all: Vec<Interval>) -> Vec<Interval> {
    all.retain(|one| !one.is_empty());
    all.sort_unstable();
    let mut joined: Vec<Interval> = Vec::with_capacity(all.len());
    for one in all {
        match joined.last_mut() {
            Some(last) if one.from_us <= last.until_us => last.until_us = last.until_us.max(one.until_us),
            _ => joined.push(one),
        }
    }
    joined
}

/// The first instant of `whole` that is in none of the intervals, which are in order and apart.
fn uncovered(whole: Interval, by: Vec<Interval>) -> Option<i64> {
    let covering = by.into_iter().find(|one| one.from_us <= whole.from_us && whole.from_us < one.until_us);
    match covering {
        None => Some(whole.from_us),
        Some(one) if one.until_us < whole.until_us => Some(one.until_us),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::{Holder, Membership, Permissions, PrincipalKind, RoleCatalogue, Sessions};
    use super::*;

    fn user(id: u128) -> Principal {
        Principal { kind: PrincipalKind::User, id: Uuid::from_u128(id) }
    }

    fn one(id: u128) -> Holder {
        Holder::Principal(user(id))
    }

    fn grant(holder: Holder, role: &str, interval: (Option<i64>, Option<i64>)) -> Grant {
        Grant {
            id: Uuid::nil(),
            holder,
            effect: GrantEffect::Allow,
            target: GrantTarget::Role(role.to_owned()),
            resource: None,
            interval: Interval::new(interval.0, interval.1),
            condition: None,
        }
    }

    fn on(thing: &str, grant: Grant) -> Grant {
        Grant { resource: Some(ResourceName { kind: "pay".into(), id: thing.into() }), ..grant }
    }

    const GOOD: (Option<i64>, Option<i64>) = (None, None);

    /// At most two signers; who signs is trained; a chief signs, too.
    fn breaches(grants: &[Grant], memberships: &[Membership]) -> Vec<Breach> {
        let types = [("pay".to_owned(), vec!["release".to_owned()])];
        let permissions = Permissions::new(&types.into()).expect("few");
        let role = |name: &str, inherits: &[&str], requires: &[&str], max_members| RoleDefinition {
            name: name.into(),
            inherits: inherits.iter().map(|one| (*one).to_owned()).collect(),
            requires: requires.iter().map(|one| (*one).to_owned()).collect(),
            max_members,
            ..RoleDefinition::default()
        };
        let roles = [
            role("trained", &[], &[], None),
            role("signer", &[], &["trained"], Some(2)),
            role("chief", &["signer"], &[], None),
            role("master", &["signer", "trained"], &[], None),
        ];
        let roles = RoleCatalogue::new(&roles, &permissions).expect("roles");
        let model = Model {
            permissions: &permissions,
            roles: &roles,
            grants,
            memberships,
            resources: &[],
            principals: &[],
            sessions: Sessions::default(),
        };
        model.breaches(100)
    }

    fn told(grants: &[Grant], memberships: &[Membership]) -> Vec<String> {
        let word = |breach: &Breach| match breach {
            Breach::TooMany { role, members, from_us, .. } => {
                let ids: Vec<String> = members.iter().map(|one| one.id.as_u128().to_string()).collect();
                format!("{role}:{}@{from_us}", ids.join("+"))
            }
            Breach::Missing { role, required, principal, from_us } => {
                let who = principal.map_or("everyone".to_owned(), |own| own.id.as_u128().to_string());
                format!("{who} {role} without {required}@{from_us}")
            }
        };
        breaches(grants, memberships).iter().map(word).collect()
    }

    #[test]
    fn more_than_may_have_a_role_at_one_instant_are_too_many() {
        type Times = (Option<i64>, Option<i64>);
        let of = |times: &[(u128, Times)]| {
            told(&times.iter().map(|(id, when)| grant(one(*id), "master", *when)).collect::<Vec<_>>(), &[])
        };
        assert_eq!(of(&[(1, GOOD), (2, GOOD)]), [""; 0]);
        assert_eq!(of(&[(1, GOOD), (2, GOOD), (2, GOOD)]), [""; 0], "the same one twice");
        assert_eq!(of(&[(1, GOOD), (2, GOOD), (3, GOOD)]), ["signer:1+2+3@100"]);
        assert_eq!(of(&[(1, GOOD), (2, (None, Some(300))), (3, (Some(300), None))]), [""; 0]);
        assert_eq!(of(&[(1, GOOD), (2, (None, Some(301))), (3, (Some(300), None))]), ["signer:1+2+3@300"]);
        assert_eq!(of(&[(1, GOOD), (2, GOOD), (3, (None, Some(100)))]), [""; 0], "what is over is over");
        let group = Uuid::from_u128(7);
        let within = |id: u128| Membership { group, member: one(id), interval: Interval::ALWAYS };
        let all = [within(1), within(2), within(3)];
        assert_eq!(told(&[grant(Holder::Group(group), "master", GOOD)], &all), ["signer:1+2+3@100"]);
        assert_eq!(told(&[grant(Holder::Group(group), "master", GOOD)], &all[..2]), [""; 0]);
        assert_eq!(told(&[grant(Holder::Everyone, "master", GOOD)], &[]), ["signer:@100"]);
    }

    #[test]
    fn what_a_role_requires_is_had_all_of_the_time() {
        let both =
            |signer, trained| told(&[grant(one(1), "chief", signer), grant(one(1), "trained", trained)], &[]);
        assert_eq!(told(&[grant(one(1), "chief", GOOD)], &[]), ["1 signer without trained@100"]);
        assert_eq!(told(&[grant(one(1), "master", GOOD)], &[]), [""; 0], "it brings what it requires");
        assert_eq!(both(GOOD, GOOD), [""; 0]);
        assert_eq!(both(GOOD, (None, Some(200))), ["1 signer without trained@200"]);
        assert_eq!(both((None, Some(200)), (None, Some(200))), [""; 0]);
        assert_eq!(both(GOOD, (Some(150), None)), ["1 signer without trained@100"]);
        let relay = [
            grant(one(1), "signer", GOOD),
            grant(one(1), "trained", (None, Some(200))),
            grant(one(1), "trained", (Some(200), None)),
        ];
        assert_eq!(told(&relay, &[]), [""; 0], "one after the other, without a gap");
        let with_everyone = [grant(one(1), "signer", GOOD), grant(Holder::Everyone, "trained", GOOD)];
        assert_eq!(told(&with_everyone, &[]), [""; 0]);
        let elsewhere = [grant(one(1), "signer", GOOD), on("a", grant(one(1), "trained", GOOD))];
        assert_eq!(told(&elsewhere, &[]), ["1 signer without trained@100"], "on one thing is not on all");
        let here = [on("a", grant(one(1), "signer", GOOD)), on("a", grant(one(1), "trained", GOOD))];
        assert_eq!(told(&here, &[]), [""; 0]);
        let sometimes = Grant {
            condition: Some(Condition::new("context.mfa", serde_json::Map::new())),
            ..grant(one(1), "trained", GOOD)
        };
        assert_eq!(told(&[grant(one(1), "signer", GOOD), sometimes], &[]), ["1 signer without trained@100"]);
    }

    #[test]
    fn what_was_broken_already_is_not_new_unless_it_grows() {
        let of = |ids: &[u128]| {
            breaches(&ids.iter().map(|id| grant(one(*id), "master", GOOD)).collect::<Vec<_>>(), &[])
        };
        let (three, four) = (of(&[1, 2, 3]), of(&[1, 2, 3, 4]));
        assert!(three[0].is_new(&[]) && !three[0].is_new(&three) && !three[0].is_new(&four));
        let other = of(&[1, 2, 4]);
        assert!(other[0].is_new(&three), "somebody else has come to it");
    }

    /// The sweep agrees with looking at every instant, on random models.
    #[test]
    fn the_sweep_agrees_with_looking_at_every_instant() {
        use proptest::prelude::*;
        let had = (0_u128..5, 0_usize..4, 95_i64..112, 95_i64..112);
        proptest!(|(had in proptest::collection::vec(had, 0..9))| {
            let names = ["trained", "signer", "chief", "master"];
            let grants: Vec<Grant> = had.iter().map(|(id, role, from, until)| grant(one(*id), names[*role], (Some(*from), Some(*until)))).collect();
            let has = |id: u128, which: &[usize], at: i64| had.iter().any(|(own, role, from, until)| *own == id && which.contains(role) && *from <= at && at < *until);
            let signs = |id: u128, at: i64| has(id, &[1, 2, 3], at);
            let too_many = (100..112).find(|at| (0..5).filter(|id| signs(*id, *at)).count() > 2);
            let untrained: Vec<(u128, i64)> = (0..5).filter_map(|id| (100..112).find(|at| signs(id, *at) && !has(id, &[0, 3], *at)).map(|at| (id, at))).collect();
            let (mut seen_many, mut seen_untrained) = (None, Vec::new());
            for breach in breaches(&grants, &[]) {
                match breach {
                    Breach::TooMany { from_us, .. } => seen_many = Some(from_us),
                    Breach::Missing { principal, from_us, .. } => seen_untrained.push((principal.expect("somebody").id.as_u128(), from_us)),
                }
            }
            prop_assert_eq!(seen_many, too_many);
            prop_assert_eq!(seen_untrained, untrained);
        });
    }
}
