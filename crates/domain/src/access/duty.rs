//! Static separation of duty, INCITS 359-2012 §5.3.1 (with hierarchies, §5.3.2): of a set of roles or permissions nobody is authorised
//! for more than so many at any one instant. Authorised means by a grant, through groups, with everyone, and by inheritance; on one
//! thing as much as on all. A denial does not help: who is forbidden something today may be allowed it tomorrow.
//!
//! What is kept apart only within a session ([`super::session`]) is kept apart so of machines, which choose nothing: of service accounts
//! and keys, and of everyone, who they are among.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Grant, GrantEffect, GrantTarget, Holder, Interval, Model, Principal, PrincipalKind};

/// Fewest and most things that a constraint keeps apart.
pub const APART: std::ops::RangeInclusive<usize> = 2..=32;

/// Where something is kept apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConstraintKind {
    /// Nobody is authorised for too many together.
    #[default]
    Static,
    /// In no session are too many active together. For machines it is as static.
    Dynamic,
}

impl ConstraintKind {
    /// The word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            ConstraintKind::Static => "static",
            ConstraintKind::Dynamic => "dynamic",
        }
    }
}

/// What nobody may have together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constraint {
    /// `[a-z][a-z0-9_-]{0,62}`.
    pub name: String,
    /// At all, or within a session.
    #[serde(default)]
    pub kind: ConstraintKind,
    /// Roles, or none if it is about permissions.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Permissions `type:action`, or none if it is about roles.
    #[serde(default)]
    pub permissions: Vec<String>,
    /// At most so many of them, 1 or more and fewer than all.
    pub at_most: u32,
}

impl Constraint {
    /// What it keeps apart, in order.
    pub fn apart(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().chain(&self.permissions).map(String::as_str)
    }

    /// Whether it forbids `who` (`None`: everyone) to be authorised for too many, and not only to have them active.
    fn forbids(&self, who: Option<Principal>) -> bool {
        self.kind == ConstraintKind::Static || who.is_none_or(|who| who.kind != PrincipalKind::User)
    }

    /// What is wrong with it as it is written: the field and what it should be.
    pub fn faults(&self) -> Vec<(&'static str, &'static str)> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        let is_named = (1..=63).contains(&self.name.len())
            && self.name.as_bytes()[0].is_ascii_lowercase()
            && self.name.bytes().all(plain);
        let mut faults = Vec::new();
        if !is_named {
            faults.push(("/name", "[a-z][a-z0-9_-]{0,62}"));
        }
        let mut all: Vec<&str> = self.apart().collect();
        let (count, field) = (all.len(), if self.permissions.is_empty() { "/roles" } else { "/permissions" });
        all.sort_unstable();
        all.dedup();
        if self.roles.is_empty() == self.permissions.is_empty() {
            faults.push(("/roles", "either roles or permissions"));
        } else if all.len() != count || !APART.contains(&count) {
            faults.push((field, "2 to 32, each once"));
        }
        if self.kind == ConstraintKind::Dynamic && !self.permissions.is_empty() {
            faults.push(("/permissions", "none: only roles are active or not"));
        }
        if self.at_most == 0 || self.at_most as usize >= count.max(2) {
            faults.push(("/at_most", "1 or more, and fewer than there are"));
        }
        faults
    }
}

/// Someone who would have too much together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offence {
    /// The constraint's name.
    pub constraint: String,
    /// Who; `None` is whoever joins the tenant, by what everyone has.
    pub principal: Option<Principal>,
    /// What they would have together, in the constraint's order.
    pub together: Vec<String>,
    /// From this instant, µs since 1970.
    pub from_us: i64,
}

/// What somebody has of a constraint's set, a bit for each in its order, and when.
type Had = Vec<(u32, Interval)>;

impl Model<'_> {
    /// Everybody who breaks one of `constraints` at some instant from `from_us` on: for each the first such instant, in the order of
    /// the constraints and the principals.
    pub fn offences(&self, constraints: &[Constraint], from_us: i64) -> Vec<Offence> {
        let to_come = Interval { from_us, until_us: i64::MAX };
        constraints.iter().flat_map(|constraint| self.offences_against(constraint, to_come)).collect()
    }

    fn offences_against(&self, constraint: &Constraint, to_come: Interval) -> Vec<Offence> {
        let mut had: BTreeMap<Option<Principal>, Had> = BTreeMap::from([(None, Had::new())]);
        for grant in self.grants.iter().filter(|grant| grant.effect == GrantEffect::Allow) {
            let bits = self.bits(constraint, grant);
            if bits != 0 {
                self.each(grant.holder, grant.interval.and(to_come), &mut Vec::new(), &mut |who, when| {
                    had.entry(who).or_default().push((bits, when));
                });
            }
        }
        let of_everyone = had.remove(&None).unwrap_or_default();
        let subjects = std::iter::once((None, Had::new())).chain(had);
        let offence = |(principal, mut own): (Option<Principal>, Had)| {
            own.extend(&of_everyone);
            let (together, from_us) = too_much(&own, constraint.at_most)?;
            let name = |(index, name): (usize, &str)| (together >> index & 1 == 1).then(|| name.to_owned());
            Some(Offence {
                constraint: constraint.name.clone(),
                principal,
                together: constraint.apart().enumerate().filter_map(name).collect(),
                from_us,
            })
        };
        subjects.filter(|(who, _)| constraint.forbids(*who)).filter_map(offence).collect()
    }

    /// Which of the constraint's set a grant authorises for.
    pub(super) fn bits(&self, constraint: &Constraint, grant: &Grant) -> u32 {
        let is_had = |index: usize, name: &str| match constraint.permissions.get(index) {
            Some(_) => self.permissions.id(name).is_some_and(|bit| self.set(grant).contains(bit)),
            None => matches!(&grant.target, GrantTarget::Role(role) if self.roles.includes(role, name)),
        };
        constraint
            .apart()
            .enumerate()
            .filter(|(index, name)| is_had(*index, name))
            .fold(0, |bits, (index, _)| bits | 1 << index)
    }

    /// Each principal that a holder stands for, and when.
    pub(super) fn each(
        &self,
        holder: Holder,
        interval: Interval,
        path: &mut Vec<Uuid>,
        found: &mut impl FnMut(Option<Principal>, Interval),
    ) {
        match holder {
            _ if interval.is_empty() => {}
            Holder::Everyone => found(None, interval),
            Holder::Principal(principal) => found(Some(principal), interval),
            Holder::Group(group) if path.contains(&group) => {}
            Holder::Group(group) => {
                path.push(group);
                for one in self.memberships.iter().filter(|one| one.group == group) {
                    self.each(one.member, interval.and(one.interval), path, found);
                }
                path.pop();
            }
        }
    }
}

impl Model<'_> {
    /// Each principal that a holder stands for, and when within `interval`; `None` is everyone.
    pub fn holders(&self, holder: Holder, interval: Interval) -> Vec<(Option<Principal>, Interval)> {
        let mut found = Vec::new();
        self.each(holder, interval, &mut Vec::new(), &mut |who, when| found.push((who, when)));
        found
    }

    /// Whether `who` is among those whom a holder stands for, now or to come; everybody is among everyone.
    pub fn is_among(&self, who: Principal, holder: Holder, from_us: i64) -> bool {
        let mut found = holder == Holder::Everyone;
        let to_come = Interval { from_us, until_us: i64::MAX };
        self.each(holder, to_come, &mut Vec::new(), &mut |one, _| found |= one == Some(who));
        found
    }
}

/// The first instant at which more than `at_most` are had, and what is had then. What is had grows only where an interval begins.
fn too_much(had: &Had, at_most: u32) -> Option<(u32, i64)> {
    let mut beginnings: Vec<i64> = had.iter().map(|(_, when)| when.from_us).collect();
    beginnings.sort_unstable();
    beginnings.dedup();
    beginnings.into_iter().find_map(|at_us| {
        let then = had.iter().filter(|(_, when)| when.from_us <= at_us && at_us < when.until_us);
        let bits = then.fold(0, |bits, (own, _)| bits | own);
        (bits.count_ones() > at_most).then_some((bits, at_us))
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Membership, Permissions, RoleCatalogue, RoleDefinition, Sessions};
    use super::*;

    fn user(id: u128) -> Principal {
        Principal { kind: PrincipalKind::User, id: Uuid::from_u128(id) }
    }

    fn role(name: &str, permissions: &[&str], inherits: &[&str]) -> RoleDefinition {
        let own = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
        RoleDefinition {
            name: name.into(),
            title: String::new(),
            permissions: own(permissions),
            inherits: own(inherits),
            ..RoleDefinition::default()
        }
    }

    fn grant(holder: Holder, target: &str, interval: (Option<i64>, Option<i64>)) -> Grant {
        let target = match target.contains(':') {
            true => GrantTarget::Permission(target.to_owned()),
            false => GrantTarget::Role(target.to_owned()),
        };
        let interval = Interval::new(interval.0, interval.1);
        Grant {
            id: Uuid::nil(),
            holder,
            effect: GrantEffect::Allow,
            target,
            resource: None,
            interval,
            condition: None,
        }
    }

    const GOOD: (Option<i64>, Option<i64>) = (None, None);

    fn constraint(of: &str, at_most: u32) -> Constraint {
        let all: Vec<String> = of.split(' ').map(str::to_owned).collect();
        let (roles, permissions) = if of.contains(':') { (vec![], all) } else { (all, vec![]) };
        Constraint { name: "apart".into(), kind: ConstraintKind::Static, roles, permissions, at_most }
    }

    /// `who+what+what@from` of each offence.
    fn told(grants: &[Grant], memberships: &[Membership], constraint: &Constraint) -> Vec<String> {
        let types = [("pay".to_owned(), ["order", "release", "read"].map(str::to_owned).to_vec())];
        let permissions = Permissions::new(&types.into()).expect("few");
        let roles = [
            role("clerk", &["pay:order"], &[]),
            role("signer", &["pay:release"], &[]),
            role("boss", &["pay:read"], &["signer"]),
            role("owner", &["pay:*"], &["boss"]),
            role("auditor", &["pay:read"], &[]),
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
        let word = |offence: &Offence| {
            let who = offence.principal.map_or("everyone".to_owned(), |own| own.id.as_u128().to_string());
            format!("{who}+{}@{}", offence.together.join("+"), offence.from_us)
        };
        model.offences(std::slice::from_ref(constraint), 100).iter().map(word).collect()
    }

    fn one(id: u128) -> Holder {
        Holder::Principal(user(id))
    }

    #[test]
    fn grants_inheritance_permissions_and_everyone_count_together() {
        let apart = constraint("clerk signer", 1);
        let both = [grant(one(1), "clerk", GOOD), grant(one(1), "boss", GOOD), grant(one(2), "owner", GOOD)];
        assert_eq!(
            told(&both, &[], &apart),
            ["1+clerk+signer@100"],
            "boss inherits signer; owner is one of the two"
        );
        let with_everyone = [grant(Holder::Everyone, "clerk", GOOD), grant(one(3), "owner", GOOD)];
        assert_eq!(told(&with_everyone, &[], &apart), ["3+clerk+signer@100"]);
        let everyone = [grant(Holder::Everyone, "clerk", GOOD), grant(Holder::Everyone, "signer", GOOD)];
        assert_eq!(told(&everyone, &[], &apart), ["everyone+clerk+signer@100"]);
        let things = constraint("pay:order pay:release", 1);
        let by_pattern =
            [grant(one(1), "pay:*", GOOD), grant(one(2), "owner", GOOD), grant(one(3), "boss", GOOD)];
        assert_eq!(
            told(&by_pattern, &[], &things),
            ["1+pay:order+pay:release@100", "2+pay:order+pay:release@100"]
        );
        let three = constraint("clerk signer auditor", 2);
        let two = [grant(one(1), "clerk", GOOD), grant(one(1), "auditor", GOOD)];
        assert_eq!(told(&two, &[], &three), [""; 0]);
    }

    #[test]
    fn only_what_is_had_at_one_instant_to_come_is_together() {
        let apart = constraint("clerk signer", 1);
        let after = [grant(one(1), "clerk", (None, Some(200))), grant(one(1), "signer", (Some(200), None))];
        assert_eq!(told(&after, &[], &apart), [""; 0], "one ends as the other begins");
        let overlap = [grant(one(1), "clerk", (None, Some(201))), grant(one(1), "signer", (Some(200), None))];
        assert_eq!(told(&overlap, &[], &apart), ["1+clerk+signer@200"]);
        let past = [grant(one(1), "clerk", (None, Some(100))), grant(one(1), "signer", GOOD)];
        assert_eq!(told(&past, &[], &apart), [""; 0], "what is over is over");
    }

    #[test]
    fn every_hop_through_groups_lasts_or_does_not() {
        let apart = constraint("clerk signer", 1);
        let group = |id: u128| Uuid::from_u128(id);
        let within = |group: Uuid, member: Holder, from, until| Membership {
            group,
            member,
            interval: Interval::new(from, until),
        };
        let grants = [grant(Holder::Group(group(7)), "clerk", GOOD), grant(one(1), "signer", GOOD)];
        let nested = [
            within(group(7), Holder::Group(group(8)), Some(300), None),
            within(group(8), one(1), None, Some(400)),
        ];
        assert_eq!(told(&grants, &nested, &apart), ["1+clerk+signer@300"]);
        let missed = [
            within(group(7), Holder::Group(group(8)), Some(300), None),
            within(group(8), one(1), None, Some(300)),
        ];
        assert_eq!(told(&grants, &missed, &apart), [""; 0]);
        let circle =
            [within(group(7), Holder::Group(group(7)), None, None), within(group(7), one(1), None, None)];
        assert_eq!(told(&grants, &circle, &apart), ["1+clerk+signer@100"]);
    }

    #[test]
    fn a_malformed_constraint_is_told_by_its_fields() {
        let faults =
            |of: Constraint| of.faults().iter().map(|(field, _)| *field).collect::<Vec<_>>().join(" ");
        assert_eq!(faults(constraint("a b", 1)), "");
        assert_eq!(faults(constraint("a b", 2)), "/at_most");
        assert_eq!(faults(constraint("a b c", 0)), "/at_most");
        assert_eq!(faults(constraint("a a", 1)), "/roles");
        assert_eq!(faults(constraint("x:a", 1)), "/permissions");
        assert_eq!(faults(Constraint { name: "Z".into(), ..constraint("a b", 1) }), "/name");
        assert_eq!(faults(Constraint { permissions: vec!["x:y".into()], ..constraint("a b", 1) }), "/roles");
    }

    /// The sweep agrees with looking at every instant, on random models.
    #[test]
    fn the_sweep_agrees_with_looking_at_every_instant() {
        use proptest::prelude::*;
        let interval = (0_i64..12, 0_i64..12);
        proptest!(|(had in proptest::collection::vec((0_u32..8, interval), 0..8), at_most in 1_u32..3)| {
            let had: Had = had.into_iter().map(|(bits, (from_us, until_us))| (bits, Interval { from_us, until_us })).collect();
            let naive = (0..12).find_map(|at| {
                let bits = had.iter().filter(|(_, when)| when.from_us <= at && at < when.until_us).fold(0_u32, |all, (own, _)| all | own);
                (bits.count_ones() > at_most).then_some((bits, at))
            });
            prop_assert_eq!(too_much(&had, at_most), naive);
        });
    }
}
