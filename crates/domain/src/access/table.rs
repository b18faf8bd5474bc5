//! What a tenant's access compiles to, as decisions read it.
//!
//! Many principals may the same: those with one role are told apart by nothing but their ids. So what they may stands once for
//! all of them, in few lines that stay in the processor's cache, and of each there is only its line of the [`Roster`]. Who has grants
//! for a time, on single things or under conditions has a place of its own, which leads to the same shape and to the rest.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::Principal;
use super::condition::Condition;
use super::decide::{Asked, Moment};
use super::interval::Interval;
use super::model::{GrantEffect, ResourceKey};
use super::permission::{PermissionPair, PermissionSet};
use super::roster::Roster;
use crate::directory::written;
use crate::id::SessionId;

/// How far up a thing's holders are looked at.
const ANCESTORS_MAX: usize = 16;

/// What a grant says, compared with the clock at each decision: expiry needs no message.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Rule {
    /// Gives or forbids.
    pub(super) effect: GrantEffect,
    /// When.
    pub(super) interval: Interval,
    /// What.
    pub(super) permissions: PermissionSet,
    /// Under which condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) condition: Option<Condition>,
}

/// What reaches a principal while it does: by its place, a rule, or the grants on single things that the principal has of its own or
/// through one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reach {
    pub(super) index: u32,
    pub(super) interval: Interval,
    /// It would allow, if a role of it were active in the session.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_inactive: bool,
}

/// What all may who were granted the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(align(64))]
pub(super) struct Shape {
    pub(super) sets: PermissionPair,
    /// Names of the roles granted without a time, for the signed context.
    pub(super) roles: Vec<Box<str>>,
}

/// What a shape cannot say, in one line.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[repr(align(64))]
pub(super) struct Flagged {
    pub(super) shape: u32,
    /// Rules.
    pub(super) timed: Box<[Reach]>,
    /// Grants on single things.
    pub(super) carriers: Box<[Reach]>,
    /// Who it is, for conditions; none where nothing has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) asker: Option<Box<Asker>>,
    /// The sessions in which roles were chosen, in order, each with the place of what is so in it. In others it is as here.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub(super) sessions: Box<[(SessionId, u32)]>,
}

/// Who is asked about, as conditions see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asker {
    pub(super) principal: Principal,
    pub(super) groups: Box<[(Uuid, Interval)]>,
}

/// Grants on single things: things in order, each with the place of its rule. 20 bytes each.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Things {
    keys: Box<[ResourceKey]>,
    rules: Box<[u32]>,
}

/// What one principal may do in one tenant.
#[derive(Debug, Clone, Copy)]
pub struct PrincipalRights<'t> {
    pub(super) table: &'t AccessTable,
    pub(super) shape: &'t Shape,
    pub(super) flagged: Option<&'t Flagged>,
}

impl<'t> PrincipalRights<'t> {
    /// Names of the roles granted without a time, for the signed context.
    pub fn roles(&self) -> &'t [Box<str>] {
        &self.shape.roles
    }

    /// Has the processor fetch what a decision reads, without waiting for it.
    pub fn touch(&self) {
        std::hint::black_box((self.shape.sets.any_word(), self.flagged.map(|flagged| flagged.shape)));
    }

    /// The rules that reach it on the whole tenant.
    pub(super) fn timed(&self) -> impl Iterator<Item = Said<'t>> + use<'t> {
        let rules = &self.table.rules;
        let said = move |reach: &Reach| Said {
            interval: reach.interval,
            is_inactive: reach.is_inactive,
            ..Said::from(&rules[reach.index as usize])
        };
        self.flagged.map_or(&[][..], |flagged| &flagged.timed[..]).iter().map(said)
    }

    /// The rules that reach it about exactly this thing.
    pub(super) fn on(&self, thing: ResourceKey) -> impl Iterator<Item = Said<'t>> + use<'t> {
        let table = self.table;
        let carriers = self.flagged.map_or(&[][..], |flagged| &flagged.carriers[..]);
        carriers.iter().flat_map(move |carrier| table.rules_on(carrier, thing))
    }
}

/// All principals of one tenant. What every decision reads stands first, in one line of the processor's cache.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[repr(C, align(64))]
pub struct AccessTable {
    /// By principal: the place of a shape, or behind all shapes that of one who has more.
    pub(super) roster: Roster,
    pub(super) shapes: Box<[Shape]>,
    pub(super) flagged: Box<[Flagged]>,
    /// What some have in sessions in which they have chosen roles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) in_sessions: Vec<Flagged>,
    pub(super) on_things: Vec<Things>,
    pub(super) rules: Vec<Rule>,
    #[serde(with = "written::pairs")]
    pub(super) parents: HashMap<ResourceKey, ResourceKey, FixedState>,
    /// What is known of things; empty where no grant has a condition.
    #[serde(with = "written::pairs", default)]
    pub(super) attributes: HashMap<ResourceKey, Map<String, Value>, FixedState>,
    /// The tenant's access version, raised with every change.
    pub version: u64,
}

impl Things {
    /// Of things with the places of their rules.
    pub(super) fn new(mut entries: Vec<(ResourceKey, u32)>) -> Self {
        entries.sort_unstable();
        let (keys, rules): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
        Things { keys: keys.into(), rules: rules.into() }
    }

    /// Where `thing` begins, or would. Keys are digests and so lie evenly: it is looked for where it should be, and further away
    /// in growing steps, which reads fewer lines of memory than halving the whole.
    fn first(&self, thing: ResourceKey) -> usize {
        let all = self.keys.len();
        let guess = thing.of_evenly(all);
        let (mut low, mut high, mut step) = (guess, guess, 4);
        while low > 0 && self.keys[low - 1] >= thing {
            low = low.saturating_sub(step);
            step *= 2;
        }
        step = 4;
        while high < all && self.keys[high] < thing {
            high = (high + step).min(all);
            step *= 2;
        }
        low + self.keys[low..high].partition_point(|key| *key < thing)
    }

    /// The places of the rules about exactly this thing.
    fn of(&self, thing: ResourceKey) -> impl Iterator<Item = u32> + use<'_> {
        let from = self.first(thing);
        let entries = self.keys[from..].iter().zip(&self.rules[from..]);
        entries.take_while(move |(key, _)| **key == thing).map(|(_, rule)| *rule)
    }

    /// All of them.
    fn iter(&self) -> impl Iterator<Item = (ResourceKey, u32)> {
        self.keys.iter().copied().zip(self.rules.iter().copied())
    }
}

impl AccessTable {
    /// What `principal` may do, if anything was ever granted.
    #[inline]
    pub fn rights(&self, principal: &Principal) -> Option<PrincipalRights<'_>> {
        let place = self.roster.find(principal)? as usize;
        if let Some(shape) = self.shapes.get(place) {
            return Some(PrincipalRights { table: self, shape, flagged: None });
        }
        let flagged = self.flagged.get(place - self.shapes.len())?;
        let shape = self.shapes.get(flagged.shape as usize)?;
        Some(PrincipalRights { table: self, shape, flagged: Some(flagged) })
    }

    /// What `principal` may do in a session: with the roles that were chosen in it, where too many may not be active together
    /// ([`super::session`]). Who is under no such constraint, and who has chosen nothing, costs nothing more.
    #[inline]
    pub fn rights_in(
        &self,
        principal: &Principal,
        session: Option<SessionId>,
    ) -> Option<PrincipalRights<'_>> {
        let rights = self.rights(principal)?;
        match (rights.flagged, session) {
            (Some(flagged), Some(session)) if !flagged.sessions.is_empty() => {
                Some(self.chosen(flagged, session).unwrap_or(rights))
            }
            _ => Some(rights),
        }
    }

    /// The session, if `principal` has chosen roles in it: in others it may the same as in none.
    #[inline]
    pub fn session_with_roles(&self, principal: &Principal, session: Option<SessionId>) -> Option<SessionId> {
        let session = session.filter(|_| !self.in_sessions.is_empty())?;
        let flagged = self.rights(principal)?.flagged?;
        flagged.sessions.binary_search_by_key(&session, |(own, _)| *own).is_ok().then_some(session)
    }

    #[cold]
    fn chosen(&self, flagged: &Flagged, session: SessionId) -> Option<PrincipalRights<'_>> {
        let own = flagged.sessions.binary_search_by_key(&session, |(session, _)| *session).ok()?;
        let flagged = self.in_sessions.get(flagged.sessions[own].1 as usize)?;
        let shape = self.shapes.get(flagged.shape as usize)?;
        Some(PrincipalRights { table: self, shape, flagged: Some(flagged) })
    }

    /// Every principal that something was ever granted, in no order.
    pub fn principals(&self) -> impl Iterator<Item = Principal> {
        self.roster.iter().map(|(principal, _)| principal)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.roster.len()
    }

    /// Whether nobody was ever granted anything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A thing and what holds it, inside out.
    pub(super) fn ancestry(&self, thing: ResourceKey) -> impl Iterator<Item = ResourceKey> {
        let up = |key: &ResourceKey| self.parents.get(key).copied();
        std::iter::successors(Some(thing), up).take(ANCESTORS_MAX + 1)
    }

    /// What `carrier` says of exactly this thing.
    fn rules_on<'t>(
        &'t self,
        carrier: &Reach,
        thing: ResourceKey,
    ) -> impl Iterator<Item = Said<'t>> + use<'t> {
        let (interval, is_inactive) = (carrier.interval, carrier.is_inactive);
        self.on_things[carrier.index as usize].of(thing).map(move |rule| {
            let rule = &self.rules[rule as usize];
            let interval = rule.interval.and(interval);
            Said { interval, is_inactive, ..Said::from(rule) }
        })
    }

    /// Everything `principal` may do at `now_us` on the whole tenant, or on one thing, in no session.
    pub fn effective<'a>(
        &self,
        principal: &Principal,
        thing: Option<ResourceKey>,
        at: impl Into<Moment<'a>>,
    ) -> PermissionSet {
        self.effective_in((principal, None), thing, at)
    }

    /// The same in a session: with the roles that were chosen in it.
    pub fn effective_in<'a>(
        &self,
        (principal, session): (&Principal, Option<SessionId>),
        thing: Option<ResourceKey>,
        at: impl Into<Moment<'a>>,
    ) -> PermissionSet {
        let Some(rights) = self.rights_in(principal, session) else { return PermissionSet::default() };
        let (mut allow, mut deny) = rights.shape.sets.both();
        if let Some(flagged) = rights.flagged {
            let asked = Asked::new(at.into(), flagged, thing.and_then(|thing| self.attributes.get(&thing)));
            let mut see = |said: Said<'_>| match said.effect {
                _ if said.interval.state(asked.at.now_us) != super::State::Active => {}
                GrantEffect::Allow if said.is_inactive => {}
                GrantEffect::Allow if asked.allows(said.condition) => allow.extend(said.permissions),
                GrantEffect::Deny if asked.denies(said.condition) => deny.extend(said.permissions),
                _ => {}
            };
            rights.timed().for_each(&mut see);
            for key in thing.into_iter().flat_map(|thing| self.ancestry(thing)) {
                rights.on(key).for_each(&mut see);
            }
        }
        allow.subtract(&deny);
        allow
    }
}

/// What may be if conditions hold.
impl AccessTable {
    /// Everything `principal` could do at `now_us` in no session, whichever way its conditions come out.
    pub fn possible(&self, principal: &Principal, thing: Option<ResourceKey>, now_us: i64) -> PermissionSet {
        self.could(principal, thing, (now_us, false))
    }

    /// Everything that `principal` could do at `now_us` on the whole tenant, also by choosing other roles for a session.
    pub fn within_reach(&self, principal: &Principal, now_us: i64) -> PermissionSet {
        self.could(principal, None, (now_us, true))
    }

    fn could(
        &self,
        principal: &Principal,
        thing: Option<ResourceKey>,
        (now_us, chooses): (i64, bool),
    ) -> PermissionSet {
        let Some(rights) = self.rights(principal) else { return PermissionSet::default() };
        let (mut allow, mut deny) = rights.shape.sets.both();
        if rights.flagged.is_some() {
            let mut see = |said: Said<'_>| match said.effect {
                _ if said.interval.state(now_us) != super::State::Active => {}
                GrantEffect::Allow if said.is_inactive && !chooses => {}
                GrantEffect::Allow => allow.extend(said.permissions),
                GrantEffect::Deny if said.condition.is_none() => deny.extend(said.permissions),
                GrantEffect::Deny => {}
            };
            rights.timed().for_each(&mut see);
            for key in thing.into_iter().flat_map(|thing| self.ancestry(thing)) {
                rights.on(key).for_each(&mut see);
            }
        }
        allow.subtract(&deny);
        allow
    }
}

/// What one may hand on.
impl AccessTable {
    /// Everything that `principal` holds in a session on the whole tenant, or on one thing, for the whole of `interval`, without a condition or
    /// under the very one that it is `under`. What is denied to it anywhere at any time of the interval, under whichever
    /// condition, is not held: who hands it on for more would give what he does not have.
    pub fn held(
        &self,
        principal: &Principal,
        session: Option<SessionId>,
        thing: Option<ResourceKey>,
        interval: Interval,
        under: Option<&Condition>,
    ) -> PermissionSet {
        let Some(rights) = self.rights_in(principal, session) else { return PermissionSet::default() };
        let (mut allow, mut deny) = rights.shape.sets.both();
        let Some(flagged) = rights.flagged else {
            allow.subtract(&deny);
            return allow;
        };
        let same = |condition: Option<&Condition>| condition.is_none() || condition == under;
        let mut see = |rule: &Rule, when: Interval, about: bool| match rule.effect {
            GrantEffect::Allow if about && when.contains(interval) && same(rule.condition.as_ref()) => {
                allow.extend(&rule.permissions)
            }
            GrantEffect::Deny if !when.and(interval).is_empty() => deny.extend(&rule.permissions),
            _ => {}
        };
        for reach in &flagged.timed {
            see(&self.rules[reach.index as usize], reach.interval, !reach.is_inactive);
        }
        let things: Vec<ResourceKey> = thing.into_iter().flat_map(|thing| self.ancestry(thing)).collect();
        for carrier in &flagged.carriers {
            for (key, rule) in self.on_things[carrier.index as usize].iter() {
                let rule = &self.rules[rule as usize];
                let when = rule.interval.and(carrier.interval);
                see(rule, when, !carrier.is_inactive && things.contains(&key));
            }
        }
        allow.subtract(&deny);
        allow
    }

    /// How many conditions could be asked for one question about `principal`.
    pub fn conditions(&self, principal: &Principal) -> usize {
        let flagged = self.rights(principal).and_then(|rights| rights.flagged);
        let Some(flagged) = flagged.filter(|flagged| flagged.asker.is_some()) else { return 0 };
        let on_things =
            flagged.carriers.iter().flat_map(|carrier| self.on_things[carrier.index as usize].iter());
        let reaching = flagged.timed.iter().map(|reach| reach.index).chain(on_things.map(|(_, rule)| rule));
        reaching.filter(|rule| self.rules[*rule as usize].condition.is_some()).count()
    }

    /// Whether anything was granted to `principal` on a single thing.
    pub fn has_things(&self, principal: &Principal) -> bool {
        let flagged = self.rights(principal).and_then(|rights| rights.flagged);
        flagged.is_some_and(|flagged| !flagged.carriers.is_empty())
    }
}

/// A rule as it reaches one principal.
pub(super) struct Said<'t> {
    pub(super) effect: GrantEffect,
    pub(super) interval: Interval,
    pub(super) permissions: &'t PermissionSet,
    pub(super) condition: Option<&'t Condition>,
    pub(super) is_inactive: bool,
}

impl<'t> From<&'t Rule> for Said<'t> {
    fn from(rule: &'t Rule) -> Self {
        let Rule { effect, interval, permissions, condition } = rule;
        Said {
            effect: *effect,
            interval: *interval,
            permissions,
            condition: condition.as_ref(),
            is_inactive: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn what_a_decision_reads_of_a_tenant_is_one_line_of_the_cache() {
        assert_eq!((offset_of!(AccessTable, roster), offset_of!(AccessTable, in_sessions)), (0, 64));
        assert_eq!((size_of::<Flagged>(), size_of::<PermissionPair>()), (64, 128));
    }
}
