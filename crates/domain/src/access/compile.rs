//! Compiles a tenant's access into what each principal may do.
//!
//! Most principals come out as two bit sets. Those with grants for a time or on single things have a pointer to these
//! besides, which is all that the others pay for it.

use std::collections::{BTreeMap, HashMap, HashSet};

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::condition::Condition;
use super::decide::{Asked, Moment};
use super::interval::Interval;
use super::model::{Grant, GrantDefinition, GrantEffect, GrantTarget, Holder, Model, ResourceKey};
use super::permission::{PermissionSet, Permissions};
use super::role::RoleCatalogue;
use super::{Membership, Principal};
use crate::directory::written;

/// How far up a thing's holders are looked at.
const ANCESTORS_MAX: usize = 16;

/// What a grant says, compared with the clock at each decision: expiry needs no message.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rule {
    /// Gives or forbids.
    pub effect: GrantEffect,
    /// When.
    pub interval: Interval,
    /// What.
    pub permissions: PermissionSet,
    /// Under which condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
}

/// Grants on single things that a principal has of its own or through one group, while it is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Carrier {
    index: u32,
    interval: Interval,
}

/// What two bit sets cannot say.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Flagged {
    pub(super) timed: Vec<Rule>,
    pub(super) carriers: Vec<Carrier>,
    /// Who it is, for conditions; none where nothing has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) asker: Option<Asker>,
}

/// Who is asked about, as conditions see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asker {
    pub(super) principal: Principal,
    pub(super) groups: Vec<(Uuid, Interval)>,
}

/// What one principal may do in one tenant.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PrincipalRights {
    pub(super) allow: PermissionSet,
    pub(super) deny: PermissionSet,
    pub(super) flagged: Option<Box<Flagged>>,
    /// Names of the roles granted without a time, for the signed context.
    pub roles: Vec<Box<str>>,
}

impl PrincipalRights {
    /// Has the processor fetch what a decision reads, without waiting for it.
    pub fn touch(&self) {
        std::hint::black_box((self.allow.any_word(), self.deny.any_word(), self.flagged.is_some()));
    }

    fn flagged(&mut self) -> &mut Flagged {
        self.flagged.get_or_insert_default()
    }
}

/// All principals of one tenant.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct AccessTable {
    #[serde(with = "written::pairs")]
    principals: HashMap<Principal, PrincipalRights, FixedState>,
    /// By carrier: things in order, each with the index of a rule.
    on_things: Vec<Vec<(ResourceKey, u32)>>,
    rules: Vec<Rule>,
    #[serde(with = "written::pairs")]
    parents: HashMap<ResourceKey, ResourceKey, FixedState>,
    /// What is known of things; empty where no grant has a condition.
    #[serde(with = "written::pairs", default)]
    pub(super) attributes: HashMap<ResourceKey, Map<String, Value>, FixedState>,
    /// The tenant's access version, raised with every change.
    pub version: u64,
}

impl AccessTable {
    /// What `principal` may do, if anything was ever granted.
    pub fn rights(&self, principal: &Principal) -> Option<&PrincipalRights> {
        self.principals.get(principal)
    }

    /// Every principal that something was ever granted, in no order.
    pub fn principals(&self) -> impl Iterator<Item = &Principal> {
        self.principals.keys()
    }

    /// A thing and what holds it, inside out.
    pub(super) fn ancestry(&self, thing: ResourceKey) -> impl Iterator<Item = ResourceKey> {
        let up = |key: &ResourceKey| self.parents.get(key).copied();
        std::iter::successors(Some(thing), up).take(ANCESTORS_MAX + 1)
    }

    /// What `carrier` says of exactly this thing.
    pub(super) fn rules_on<'t>(
        &'t self,
        carrier: &Carrier,
        thing: ResourceKey,
    ) -> impl Iterator<Item = Said<'t>> + use<'t> {
        let all = &self.on_things[carrier.index as usize];
        let from = all.partition_point(|(key, _)| *key < thing);
        let interval = carrier.interval;
        all[from..].iter().take_while(move |(key, _)| *key == thing).map(move |(_, rule)| {
            let rule = &self.rules[*rule as usize];
            let interval = rule.interval.and(interval);
            Said { interval, ..Said::from(rule) }
        })
    }

    /// Everything `principal` may do at `now_us` on the whole tenant, or on one thing.
    pub fn effective<'a>(
        &self,
        principal: &Principal,
        thing: Option<ResourceKey>,
        at: impl Into<Moment<'a>>,
    ) -> PermissionSet {
        let Some(rights) = self.rights(principal) else { return PermissionSet::default() };
        let (mut allow, mut deny) = (rights.allow, rights.deny);
        if let Some(flagged) = &rights.flagged {
            let asked = Asked::new(at.into(), flagged, thing.and_then(|thing| self.attributes.get(&thing)));
            let mut see = |said: Said<'_>| match said.effect {
                _ if said.interval.state(asked.at.now_us) != super::State::Active => {}
                GrantEffect::Allow if asked.allows(said.condition) => allow.extend(said.permissions),
                GrantEffect::Deny if asked.denies(said.condition) => deny.extend(said.permissions),
                _ => {}
            };
            flagged.timed.iter().for_each(|rule| see(rule.into()));
            for key in thing.into_iter().flat_map(|thing| self.ancestry(thing)) {
                flagged.carriers.iter().flat_map(|carrier| self.rules_on(carrier, key)).for_each(&mut see);
            }
        }
        allow.subtract(&deny);
        allow
    }
}

/// What may be if conditions hold.
impl AccessTable {
    /// Everything `principal` could do at `now_us`, whichever way its conditions come out.
    pub fn possible(&self, principal: &Principal, thing: Option<ResourceKey>, now_us: i64) -> PermissionSet {
        let Some(rights) = self.rights(principal) else { return PermissionSet::default() };
        let (mut allow, mut deny) = (rights.allow, rights.deny);
        if let Some(flagged) = &rights.flagged {
            let mut see = |said: Said<'_>| match said.effect {
                _ if said.interval.state(now_us) != super::State::Active => {}
                GrantEffect::Allow => allow.extend(said.permissions),
                GrantEffect::Deny if said.condition.is_none() => deny.extend(said.permissions),
                GrantEffect::Deny => {}
            };
            flagged.timed.iter().for_each(|rule| see(rule.into()));
            for key in thing.into_iter().flat_map(|thing| self.ancestry(thing)) {
                flagged.carriers.iter().flat_map(|carrier| self.rules_on(carrier, key)).for_each(&mut see);
            }
        }
        allow.subtract(&deny);
        allow
    }
}

/// What one may hand on.
impl AccessTable {
    /// Everything that `principal` holds on the whole tenant, or on one thing, for the whole of `interval`, without a condition or
    /// under the very one that it is `under`. What is denied to it anywhere at any time of the interval, under whichever
    /// condition, is not held: who hands it on for more would give what he does not have.
    pub fn held(
        &self,
        principal: &Principal,
        thing: Option<ResourceKey>,
        interval: Interval,
        under: Option<&Condition>,
    ) -> PermissionSet {
        let Some(rights) = self.rights(principal) else { return PermissionSet::default() };
        let (mut allow, mut deny) = (rights.allow, rights.deny);
        let Some(flagged) = &rights.flagged else {
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
        flagged.timed.iter().for_each(|rule| see(rule, rule.interval, true));
        let things: Vec<ResourceKey> = thing.into_iter().flat_map(|thing| self.ancestry(thing)).collect();
        for carrier in &flagged.carriers {
            for (key, rule) in &self.on_things[carrier.index as usize] {
                let rule = &self.rules[*rule as usize];
                let when = rule.interval.and(carrier.interval);
                see(rule, when, things.contains(key));
            }
        }
        allow.subtract(&deny);
        allow
    }

    /// How many conditions could be asked for one question about `principal`.
    pub fn conditions(&self, principal: &Principal) -> usize {
        let flagged = self.rights(principal).and_then(|rights| rights.flagged.as_ref());
        let Some(flagged) = flagged.filter(|flagged| flagged.asker.is_some()) else { return 0 };
        let on_things = flagged.carriers.iter().flat_map(|carrier| &self.on_things[carrier.index as usize]);
        let on_things = on_things.map(|(_, rule)| &self.rules[*rule as usize]);
        flagged.timed.iter().chain(on_things).filter(|rule| rule.condition.is_some()).count()
    }

    /// Whether anything was granted to `principal` on a single thing.
    pub fn has_things(&self, principal: &Principal) -> bool {
        let flagged = self.rights(principal).and_then(|rights| rights.flagged.as_ref());
        flagged.is_some_and(|flagged| !flagged.carriers.is_empty())
    }
}

/// A rule as it reaches one principal.
pub(super) struct Said<'t> {
    pub(super) effect: GrantEffect,
    pub(super) interval: Interval,
    pub(super) permissions: &'t PermissionSet,
    pub(super) condition: Option<&'t Condition>,
}

impl<'t> From<&'t Rule> for Said<'t> {
    fn from(rule: &'t Rule) -> Self {
        let Rule { effect, interval, permissions, condition } = rule;
        Said { effect: *effect, interval: *interval, permissions, condition: condition.as_ref() }
    }
}

/// Compiles grants of principals on the whole tenant. A role or permission that does not exist (any more) gives nothing.
pub fn compile(
    version: u64,
    grants: &[GrantDefinition],
    roles: &RoleCatalogue,
    permissions: &Permissions,
) -> AccessTable {
    let grants: Vec<Grant> = grants.iter().map(Grant::from).collect();
    let model =
        Model { permissions, roles, grants: &grants, memberships: &[], resources: &[], principals: &[] };
    model.compile(version)
}

impl Model<'_> {
    /// Everything, ready to decide with.
    pub fn compile(&self, version: u64) -> AccessTable {
        let mut table = AccessTable { version, ..AccessTable::default() };
        for resource in self.resources {
            if let Some(parent) = &resource.parent {
                table.parents.insert(resource.name.key(), parent.key());
            }
        }
        let conditional = self.grants.iter().any(|grant| grant.condition.is_some());
        if conditional {
            let known = self.resources.iter().filter(|resource| !resource.attributes.is_empty());
            table.attributes = known.map(|one| (one.name.key(), one.attributes.clone())).collect();
        }
        let carriers = self.things(&mut table);
        let sets: Vec<PermissionSet> = self.grants.iter().map(|grant| self.set(grant)).collect();
        let mut by_holder: HashMap<Holder, Vec<usize>, FixedState> = HashMap::default();
        for (index, grant) in self.grants.iter().enumerate().filter(|(_, grant)| grant.resource.is_none()) {
            by_holder.entry(grant.holder).or_default().push(index);
        }
        let groups = Groups::new(self);
        for principal in self.everybody() {
            let mut rights = PrincipalRights::default();
            let holders = groups.of(principal);
            for &(holder, interval) in &holders {
                for &index in by_holder.get(&holder).into_iter().flatten() {
                    let grant = &self.grants[index];
                    let condition = grant.condition.as_ref().and_then(|_| self.condition(grant));
                    add(&mut rights, grant, interval, (sets[index], condition));
                }
                if let Some(&index) = carriers.get(&holder) {
                    rights.flagged().carriers.push(Carrier { index, interval });
                }
            }
            if let Some(flagged) = rights.flagged.as_mut().filter(|_| conditional) {
                let groups = holders.into_iter().filter_map(|(holder, interval)| match holder {
                    Holder::Group(group) => Some((group, interval)),
                    _ => None,
                });
                flagged.asker = Some(Asker { principal, groups: groups.collect() });
            }
            table.principals.insert(principal, rights);
        }
        table
    }

    /// Who has something of its own or belongs to the tenant.
    fn everybody(&self) -> HashSet<Principal, FixedState> {
        let holders = self.grants.iter().map(|grant| grant.holder);
        let members = self.memberships.iter().map(|membership| membership.member);
        let alone = holders.chain(members).filter_map(|holder| match holder {
            Holder::Principal(principal) => Some(principal),
            Holder::Group(_) | Holder::Everyone => None,
        });
        self.principals.iter().copied().chain(alone).collect()
    }

    /// Grants on single things, by holder.
    fn things(&self, table: &mut AccessTable) -> HashMap<Holder, u32> {
        let mut carriers = HashMap::new();
        let mut interned: HashMap<Rule, u32> = HashMap::new();
        for grant in self.grants {
            let Some(resource) = &grant.resource else { continue };
            let rule = Rule {
                effect: grant.effect,
                interval: grant.interval,
                permissions: self.set(grant),
                condition: grant.condition.as_ref().and_then(|_| self.condition(grant)),
            };
            let next = interned.len() as u32;
            let index = *interned.entry(rule.clone()).or_insert_with(|| {
                table.rules.push(rule);
                next
            });
            let carrier = *carriers.entry(grant.holder).or_insert_with(|| {
                table.on_things.push(Vec::new());
                table.on_things.len() as u32 - 1
            });
            table.on_things[carrier as usize].push((resource.key(), index));
        }
        table.on_things.iter_mut().for_each(|things| things.sort_unstable());
        carriers
    }
}

fn add(
    rights: &mut PrincipalRights,
    grant: &Grant,
    interval: Interval,
    (permissions, condition): (PermissionSet, Option<Condition>),
) {
    let interval = grant.interval.and(interval);
    if interval != Interval::ALWAYS || condition.is_some() {
        if !interval.is_empty() {
            rights.flagged().timed.push(Rule { effect: grant.effect, interval, permissions, condition });
        }
        return;
    }
    match grant.effect {
        GrantEffect::Allow => rights.allow.extend(&permissions),
        GrantEffect::Deny => rights.deny.extend(&permissions),
    }
    if let (GrantTarget::Role(role), GrantEffect::Allow) = (&grant.target, grant.effect)
        && !rights.roles.iter().any(|own| **own == **role)
    {
        rights.roles.push(role.as_str().into());
    }
}

/// Who is in what, ready to be asked.
struct Groups<'a> {
    by_member: HashMap<Holder, Vec<&'a Membership>, FixedState>,
    everyone: HashSet<Principal, FixedState>,
}

impl<'a> Groups<'a> {
    fn new(model: &Model<'a>) -> Self {
        let mut by_member: HashMap<Holder, Vec<&Membership>, FixedState> = HashMap::default();
        for membership in model.memberships {
            by_member.entry(membership.member).or_default().push(membership);
        }
        Groups { by_member, everyone: model.principals.iter().copied().collect() }
    }

    /// The principal itself, everyone, and each group that it is in, with when. A group that is reached on several ways
    /// is there once for each time that no other way contains.
    fn of(&self, principal: Principal) -> Vec<(Holder, Interval)> {
        let own = Holder::Principal(principal);
        let mut all: BTreeMap<Holder, Vec<Interval>> = BTreeMap::new();
        let mut open = vec![(own, Interval::ALWAYS)];
        if self.everyone.contains(&principal) {
            open.push((Holder::Everyone, Interval::ALWAYS));
        }
        while let Some((holder, interval)) = open.pop() {
            let known = all.entry(holder).or_default();
            if interval.is_empty() || known.iter().any(|longer| longer.contains(interval)) {
                continue;
            }
            known.retain(|shorter| !interval.contains(*shorter));
            known.push(interval);
            let up = self.by_member.get(&holder).into_iter().flatten();
            open.extend(up.map(|up| (Holder::Group(up.group), interval.and(up.interval))));
        }
        all.into_iter()
            .flat_map(|(holder, whens)| whens.into_iter().map(move |when| (holder, when)))
            .collect()
    }
}
