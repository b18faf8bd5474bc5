//! Why a decision comes out as it does, from the grants themselves: by which grant, through which groups, until when.
//!
//! It walks the model, not what was compiled from it, and comes to the same reason as the decision; a property test asks
//! both.

use std::collections::HashMap;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::condition::{Condition, Outcome, Subject, Work};
use super::decide::Moment;
use super::interval::{Interval, State};
use super::model::{Grant, GrantEffect, Holder, Model, ResourceKey};
use super::session::{Authorised, Touched};
use super::{PermissionId, PermissionSet, Principal, Reason};
use crate::id::SessionId;

/// At most so many grants that came near.
const NEAR_MAX: usize = 20;

/// A grant on its way to a principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step<'m> {
    /// The grant.
    pub grant: &'m Grant,
    /// The groups through which it comes, the principal's own first; empty for its own grants and for everyone's.
    pub through: Vec<Uuid>,
    /// When all of it holds.
    pub interval: Interval,
    /// What became of its condition, if it has one and was asked.
    pub outcome: Option<Outcome>,
    /// Whether a role of it is not active in the session.
    pub is_inactive: bool,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained<'m> {
    /// The same as the decision's.
    pub reason: Reason,
    /// The grant that proves an allow, or a deny by grant; none otherwise.
    pub because: Option<Step<'m>>,
    /// Grants that would have given it at another time, or were overruled; at most 20.
    pub near: Vec<Step<'m>>,
    /// The earliest instant after the asked one at which the answer could change by itself.
    pub holds_until_us: Option<i64>,
}

/// Answers for `principal`, on the whole tenant or on one thing, as where no session is named.
pub fn explain<'m, 'a>(
    model: &Model<'m>,
    principal: Principal,
    permission: PermissionId,
    thing: Option<ResourceKey>,
    at: impl Into<Moment<'a>>,
) -> Explained<'m> {
    explain_in(model, (principal, None), permission, thing, at)
}

/// The same for `principal` in one of its sessions.
pub fn explain_in<'m, 'a>(
    model: &Model<'m>,
    (principal, session): (Principal, Option<SessionId>),
    permission: PermissionId,
    thing: Option<ResourceKey>,
    at: impl Into<Moment<'a>>,
) -> Explained<'m> {
    let Moment { now_us, facts } = at.into();
    let things = ancestry(model, thing);
    let ways = ways(model, principal);
    let touching = touching(model, &ways);
    let had: Authorised<'_> = touching.iter().map(|(touched, when)| (&touched[..], *when)).collect();
    let inactive = model.inactive(&had, model.chosen(principal, session));
    let mut steps: Vec<Step<'m>> = Vec::new();
    for grant in model.grants {
        // Of many grants few reach the principal: that is asked first, and costs least.
        let reaching = || ways.iter().filter(|(holder, ..)| *holder == grant.holder);
        if reaching().next().is_none() {
            continue;
        }
        let about = grant.resource.as_ref().is_none_or(|name| things.contains(&name.key()));
        if !about || !model.set(grant).contains(permission) {
            continue;
        }
        let reaching = reaching();
        steps.extend(reaching.map(|(_, through, interval)| Step {
            grant,
            through: through.clone(),
            interval: interval.and(grant.interval),
            outcome: None,
            is_inactive: false,
        }));
    }
    steps.retain(|step| !step.interval.is_empty());
    steps.sort_by_key(|step| (step.through.len(), step.grant.id));
    let groups = groups(&ways, now_us);
    let subject = Subject { principal, groups: &groups };
    let known = |own: &&super::Resource| Some(own.name.key()) == thing && !own.attributes.is_empty();
    let stored = || model.resources.iter().find(known).map(|own| &own.attributes);
    let work = Work::default();
    for step in steps.iter_mut().filter(|step| step.interval.state(now_us) == State::Active) {
        let condition = step.grant.condition.as_ref().and_then(|_| model.condition(step.grant));
        step.outcome = condition.map(|own| own.evaluate(subject, stored(), facts, (now_us, &work)));
    }
    for step in &mut steps {
        let touched = if inactive.is_empty() { Touched::new() } else { model.touched(step.grant) };
        let pieces = inactive.split(&touched, step.interval);
        step.is_inactive = pieces.iter().any(|(when, is)| *is && when.state(now_us) == State::Active);
    }
    let found = |effect, state| {
        let fits = |step: &&Step<'_>| {
            step.grant.effect == effect
                && step.interval.state(now_us) == state
                && step.applies()
                && !step.is_inactive
        };
        steps.iter().find(fits).cloned()
    };
    let undecided = |fits: fn(&Outcome) -> bool| {
        let allows = steps.iter().filter(|step| step.grant.effect == GrantEffect::Allow);
        allows.filter_map(|step| step.outcome.as_ref()).any(fits)
    };
    let (reason, because) = if let Some(step) = found(GrantEffect::Deny, State::Active) {
        (Reason::Denied, Some(step))
    } else if let Some(step) = found(GrantEffect::Allow, State::Active) {
        (Reason::Granted, Some(step))
    } else if undecided(|outcome| matches!(outcome, Outcome::Missing(_) | Outcome::Error(_))) {
        (Reason::ContextMissing, None)
    } else if undecided(|outcome| *outcome == Outcome::False) {
        (Reason::ConditionFalse, None)
    } else if steps.iter().any(|step| step.is_inactive && step.applies()) {
        (Reason::InactiveRole, None)
    } else if found(GrantEffect::Allow, State::Expired).is_some() {
        (Reason::Expired, None)
    } else if found(GrantEffect::Allow, State::Pending).is_some() {
        (Reason::Pending, None)
    } else {
        (Reason::NoGrant, None)
    };
    let of_roles = had.iter().filter(|_| !inactive.is_empty()).flat_map(|(_, when)| when.bounds());
    let bounds = steps.iter().flat_map(|step| step.interval.bounds()).chain(of_roles);
    let holds_until_us = bounds.filter(|bound| *bound > now_us).min();
    let near = match reason {
        Reason::Granted => Vec::new(),
        _ => {
            steps.into_iter().filter(|step| step.grant.effect == GrantEffect::Allow).take(NEAR_MAX).collect()
        }
    };
    Explained { reason, because, near, holds_until_us }
}

impl Step<'_> {
    /// Whether its condition, if it has one, makes it apply: what cannot be said denies and does not allow.
    fn applies(&self) -> bool {
        match (&self.outcome, self.grant.effect) {
            (None | Some(Outcome::True), _) => true,
            (Some(outcome), GrantEffect::Deny) => *outcome != Outcome::False,
            (Some(_), GrantEffect::Allow) => false,
        }
    }
}

impl Model<'_> {
    /// What becomes of a condition of a grant of `set`, asked about one principal.
    pub fn ask<'a>(
        &self,
        condition: &Condition,
        (principal, set): (Principal, &PermissionSet),
        stored: Option<&Map<String, Value>>,
        at: impl Into<Moment<'a>>,
    ) -> Outcome {
        let Moment { now_us, facts } = at.into();
        let groups = groups(&ways(self, principal), now_us);
        let condition = condition.about(self.permissions.attributes(set).into());
        condition.evaluate(Subject { principal, groups: &groups }, stored, facts, (now_us, &Work::default()))
    }
}

/// Those that the principal is in at an instant.
fn groups(ways: &[Way], now_us: i64) -> Vec<Uuid> {
    let active = |(holder, _, interval): &Way| match holder {
        Holder::Group(group) if interval.state(now_us) == State::Active => Some(*group),
        _ => None,
    };
    ways.iter().filter_map(active).collect()
}

fn ancestry(model: &Model<'_>, thing: Option<ResourceKey>) -> Vec<ResourceKey> {
    let parents: HashMap<ResourceKey, ResourceKey> = match thing {
        None => HashMap::new(),
        Some(_) => {
            let held =
                model.resources.iter().filter_map(|own| Some((own.name.key(), own.parent.as_ref()?.key())));
            held.collect()
        }
    };
    std::iter::successors(thing, |key| parents.get(key).copied()).take(17).collect()
}

/// What reaches a principal of the sets that are kept apart within sessions, and when.
fn touching(model: &Model<'_>, ways: &[Way]) -> Vec<(Touched, Interval)> {
    if model.sessions.apart.is_empty() {
        return Vec::new();
    }
    let mut all = Vec::new();
    for grant in model.grants {
        let touched = model.touched(grant);
        let reaching = ways.iter().filter(|(holder, ..)| *holder == grant.holder && !touched.is_empty());
        let whens = reaching.map(|(.., when)| when.and(grant.interval)).filter(|when| !when.is_empty());
        all.extend(whens.map(|when| (touched.clone(), when)));
    }
    all
}

pub(super) type Way = (Holder, Vec<Uuid>, Interval);

/// Every way from the principal to a holder. A way never passes a group twice.
pub(super) fn ways(model: &Model<'_>, principal: Principal) -> Vec<Way> {
    let mut all: Vec<Way> = Vec::new();
    let mut open: Vec<Way> = vec![(Holder::Principal(principal), Vec::new(), Interval::ALWAYS)];
    if model.principals.contains(&principal) {
        open.push((Holder::Everyone, Vec::new(), Interval::ALWAYS));
    }
    while let Some(way) = open.pop() {
        for up in model.memberships.iter().filter(|up| up.member == way.0) {
            let mut through = way.1.clone();
            through.push(up.group);
            let interval = way.2.and(up.interval);
            let known =
                |(holder, _, longer): &Way| *holder == Holder::Group(up.group) && longer.contains(interval);
            if !interval.is_empty() && !all.iter().chain(&open).any(known) {
                open.push((Holder::Group(up.group), through, interval));
            }
        }
        all.push(way);
    }
    all
}
