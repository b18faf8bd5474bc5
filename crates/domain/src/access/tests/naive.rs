//! The rules, read out plainly: for each grant, is it active, is it the caller's, does it name the permission, is it about
//! this thing. No sets, no tables.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::access::{
    Chosen, Constraint, Grant, GrantEffect, GrantTarget, Holder, Interval, Membership, Principal, Reason,
    Resource, ResourceName, ResourceType, RoleDefinition,
};
use crate::id::SessionId;

/// What is said of a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Said {
    pub mfa: Option<bool>,
    pub risk: Option<i64>,
}

/// The conditions that are drawn from. `holds` says the same.
pub const CONDITIONS: [&str; 8] = [
    "context.mfa",
    "!context.mfa",
    "context.risk < 3",
    "context.mfa || context.risk > 3",
    "resource.owner != principal.id",
    "principal.groups.contains(\"group_00000000000000000000000034\")",
    "context.risk + 1 > 0",
    "resource.id == \"1\"",
];

#[derive(Debug, Clone)]
pub struct Rules {
    pub types: Vec<ResourceType>,
    pub roles: Vec<RoleDefinition>,
    pub grants: Vec<Grant>,
    pub memberships: Vec<Membership>,
    pub resources: Vec<Resource>,
    pub principals: Vec<Principal>,
    pub apart: Vec<Constraint>,
    pub chosen: Vec<Chosen>,
}

impl Rules {
    pub fn decide(
        &self,
        (who, session): (Principal, Option<SessionId>),
        (kind, action): (&str, &str),
        thing: Option<&ResourceName>,
        (now_us, said): (i64, Said),
    ) -> Reason {
        let (mut granted, mut expired, mut pending) = (false, false, false);
        let (mut missing, mut refused, mut inactive) = (false, false, false);
        let asleep = self.asleep((who, session), now_us);
        for grant in self.grants.iter().filter(|grant| self.is_about(grant, thing)) {
            if !self.names(grant, kind, action) {
                continue;
            }
            for way in self.ways(Holder::Principal(who), grant.holder) {
                let from =
                    way.iter().map(|when| when.from_us).max().expect("one").max(grant.interval.from_us);
                let until =
                    way.iter().map(|when| when.until_us).min().expect("one").min(grant.interval.until_us);
                if from >= until {
                    continue;
                }
                let holds =
                    grant.condition.as_ref().map(|own| self.holds(own.text(), (who, thing), (now_us, said)));
                match grant.effect {
                    GrantEffect::Deny if from <= now_us && now_us < until && holds == Some(Some(false)) => {}
                    GrantEffect::Deny if from <= now_us && now_us < until => return Reason::Denied,
                    GrantEffect::Deny => {}
                    GrantEffect::Allow if now_us < from => pending = true,
                    GrantEffect::Allow if now_us < until => match holds {
                        None | Some(Some(true)) if !self.given(grant).is_disjoint(&asleep) => inactive = true,
                        None | Some(Some(true)) => granted = true,
                        Some(Some(false)) => refused = true,
                        Some(None) => missing = true,
                    },
                    GrantEffect::Allow => expired = true,
                }
            }
        }
        match (granted, expired, pending) {
            (true, _, _) => Reason::Granted,
            _ if missing => Reason::ContextMissing,
            _ if refused => Reason::ConditionFalse,
            _ if inactive => Reason::InactiveRole,
            (_, true, _) => Reason::Expired,
            (_, _, true) => Reason::Pending,
            _ => Reason::NoGrant,
        }
    }

    /// The roles that are not active in a session: of each set of which somebody has too many at this instant, those that he has,
    /// but for what he chose, unless that is too much itself.
    fn asleep(&self, (who, session): (Principal, Option<SessionId>), now_us: i64) -> BTreeSet<String> {
        let is_now = |way: &Vec<Interval>, grant: &Grant| {
            way.iter().chain([&grant.interval]).all(|when| when.from_us <= now_us && now_us < when.until_us)
        };
        let reaches = |grant: &&Grant| {
            let ways = self.ways(Holder::Principal(who), grant.holder);
            grant.effect == GrantEffect::Allow && ways.iter().any(|way| is_now(way, grant))
        };
        let has: BTreeSet<String> =
            self.grants.iter().filter(reaches).flat_map(|grant| self.given(grant)).collect();
        let own = self.chosen.iter().find(|own| own.principal == who && own.session == session);
        let chosen: BTreeSet<String> =
            own.iter().flat_map(|own| &own.active).flat_map(|role| self.below(role)).collect();
        let mut asleep = BTreeSet::new();
        for set in &self.apart {
            let had: Vec<&String> = set.roles.iter().filter(|role| has.contains(*role)).collect();
            let awake = had.iter().filter(|role| chosen.contains(**role)).count();
            if had.len() > set.at_most as usize {
                let sleeps = |role: &&&String| awake > set.at_most as usize || !chosen.contains(**role);
                asleep.extend(had.iter().filter(sleeps).map(|role| (*role).clone()));
            }
        }
        asleep
    }

    fn given(&self, grant: &Grant) -> BTreeSet<String> {
        match &grant.target {
            GrantTarget::Role(role) => self.below(role),
            GrantTarget::Permission(_) => BTreeSet::new(),
        }
    }

    /// A role that there is and all that it inherits.
    fn below(&self, role: &str) -> BTreeSet<String> {
        let Some(own) = self.roles.iter().find(|own| own.name == role) else { return BTreeSet::new() };
        let inherited = own.inherits.iter().flat_map(|parent| self.below(parent));
        inherited.chain([role.to_owned()]).collect()
    }

    /// What each of the conditions means, said without the language that they are written in; `None` for what cannot be said.
    fn holds(
        &self,
        text: &str,
        (who, thing): (Principal, Option<&ResourceName>),
        (now_us, said): (i64, Said),
    ) -> Option<bool> {
        let owner = thing.and_then(|thing| {
            let known = self.resources.iter().rev().find(|one| one.name == *thing)?;
            Some(known.attributes.get("owner")?.as_str()?.to_owned())
        });
        let group = Uuid::from_u128(100);
        let in_group = || {
            let ways = self.ways(Holder::Principal(who), Holder::Group(group));
            ways.iter().any(|way| way.iter().all(|when| when.from_us <= now_us && now_us < when.until_us))
        };
        match CONDITIONS.iter().position(|own| *own == text).expect("one of them") {
            0 => said.mfa,
            1 => said.mfa.map(|mfa| !mfa),
            2 => said.risk.map(|risk| risk < 3),
            // The left side decides where it can; the right one is asked for only then.
            3 => match said.mfa? {
                true => Some(true),
                false => said.risk.map(|risk| risk > 3),
            },
            4 => owner.map(|owner| owner != who.to_string()),
            5 => Some(in_group()),
            6 => said.risk?.checked_add(1).map(|sum| sum > 0),
            _ => thing.map(|thing| thing.id == "1"),
        }
    }

    fn is_about(&self, grant: &Grant, thing: Option<&ResourceName>) -> bool {
        let Some(named) = &grant.resource else { return true };
        let mut at = thing.cloned();
        for _ in 0..17 {
            match at {
                None => return false,
                Some(own) if own == *named => return true,
                Some(own) => {
                    let found = self.resources.iter().rev().find(|resource| resource.name == own);
                    at = found.and_then(|resource| resource.parent.clone());
                }
            }
        }
        false
    }

    /// Each way from `from` to `to`, as the times of its hops.
    fn ways(&self, from: Holder, to: Holder) -> Vec<Vec<Interval>> {
        let mut all = Vec::new();
        if from == to {
            all.push(vec![Interval::ALWAYS]);
        }
        if let (Holder::Principal(principal), Holder::Everyone) = (from, to)
            && self.principals.contains(&principal)
        {
            all.push(vec![Interval::ALWAYS]);
        }
        let mut hops: Vec<&Membership> = self.memberships.iter().filter(|hop| hop.member == from).collect();
        if matches!(from, Holder::Principal(who) if self.principals.contains(&who)) {
            hops.extend(self.memberships.iter().filter(|hop| hop.member == Holder::Everyone));
        }
        for hop in hops {
            for mut way in self.ways(Holder::Group(hop.group), to) {
                way.push(hop.interval);
                all.push(way);
            }
        }
        all
    }

    fn names(&self, grant: &Grant, kind: &str, action: &str) -> bool {
        let mut patterns = BTreeSet::new();
        match &grant.target {
            GrantTarget::Permission(pattern) => drop(patterns.insert(pattern.clone())),
            GrantTarget::Role(role) => self.listed(role, &mut patterns),
        }
        let none = BTreeMap::new();
        let found = self.types.iter().find(|own| own.name == kind);
        let implies = found.map_or(&none, |found| &found.implies);
        let declared: Vec<&String> = found.map(|found| found.actions.iter().collect()).unwrap_or_default();
        let asked: Vec<&String> = match grant.effect {
            GrantEffect::Deny => declared.into_iter().filter(|own| *own == action).collect(),
            GrantEffect::Allow => declared.into_iter().filter(|own| reaches(implies, own, action)).collect(),
        };
        asked.into_iter().any(|action| {
            let matching =
                [format!("{kind}:{action}"), format!("{kind}:*"), format!("*:{action}"), "*:*".into()];
            matching.iter().any(|pattern| patterns.contains(pattern))
        })
    }

    fn listed(&self, role: &str, patterns: &mut BTreeSet<String>) {
        for own in self.roles.iter().filter(|own| own.name == role) {
            patterns.extend(own.permissions.iter().cloned());
            own.inherits.iter().for_each(|parent| self.listed(parent, patterns));
        }
    }
}

fn reaches(implies: &BTreeMap<String, Vec<String>>, from: &str, to: &str) -> bool {
    from == to || implies.get(from).into_iter().flatten().any(|next| reaches(implies, next, to))
}
