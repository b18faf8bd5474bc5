//! Compiles a tenant's access into what each principal may do: an [`AccessTable`].
//!
//! Whatever several principals or grants have in common is made once: sets of permissions by what they are granted for, conditions
//! by their text and what they are about, rules, and the shapes that principals have.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hash;

use foldhash::fast::FixedState;

use super::condition::Condition;
use super::interval::Interval;
use super::model::{Grant, GrantDefinition, GrantEffect, GrantTarget, Holder, Model};
use super::permission::{PermissionSet, Permissions};
use super::role::RoleCatalogue;
use super::roster::Roster;
use super::table::{AccessTable, Asker, Flagged, Reach, Rule, Shape, Things};
use super::{Membership, Principal};

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

/// A grant with what it comes to.
struct Ready<'m> {
    grant: &'m Grant,
    permissions: PermissionSet,
    condition: Option<Condition>,
}

/// Values, each with the place of the first like it.
struct Interned<T> {
    all: Vec<T>,
    places: HashMap<T, u32, FixedState>,
}

impl<T: Clone + Hash + Eq> Interned<T> {
    fn new() -> Self {
        Interned { all: Vec::new(), places: HashMap::default() }
    }

    fn place(&mut self, value: T) -> u32 {
        let next = self.all.len() as u32;
        *self.places.entry(value).or_insert_with_key(|value| {
            self.all.push(value.clone());
            next
        })
    }
}

/// What one principal has, while it is put together.
#[derive(Default)]
struct Gathered {
    shape: Shape,
    timed: Vec<Reach>,
    carriers: Vec<Reach>,
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
        let (ready, mut rules, mut shapes) = (self.ready(), Interned::new(), Interned::new());
        let carriers = things(&ready, &mut rules, &mut table);
        let mut by_holder: HashMap<Holder, Vec<&Ready<'_>>, FixedState> = HashMap::default();
        for own in ready.iter().filter(|own| own.grant.resource.is_none()) {
            by_holder.entry(own.grant.holder).or_default().push(own);
        }
        let groups = Groups::new(self);
        let (mut plain, mut flagged) = (Vec::new(), Vec::new());
        for principal in self.everybody() {
            let mut gathered = Gathered::default();
            let holders = groups.of(principal);
            for &(holder, interval) in &holders {
                for own in by_holder.get(&holder).into_iter().flatten() {
                    gathered.add(own, interval, &mut rules);
                }
                if let Some(&index) = carriers.get(&holder) {
                    gathered.carriers.push(Reach { index, interval });
                }
            }
            let Gathered { shape, timed, carriers } = gathered;
            let shape = shapes.place(shape);
            if timed.is_empty() && carriers.is_empty() {
                plain.push((principal, shape));
                continue;
            }
            let asker = conditional.then(|| Box::new(Asker { principal, groups: only_groups(holders) }));
            flagged
                .push((principal, Flagged { shape, timed: timed.into(), carriers: carriers.into(), asker }));
        }
        (table.shapes, table.rules) = (shapes.all, rules.all);
        let places = flagged.iter().zip(table.shapes.len() as u32..).map(|((who, _), place)| (*who, place));
        plain.extend(places);
        table.roster = Roster::new(&plain);
        table.flagged = flagged.into_iter().map(|(_, flagged)| flagged).collect();
        table
    }

    /// All grants with what they come to. What is granted and under which condition is mostly the same for many.
    fn ready(&self) -> Vec<Ready<'_>> {
        let mut sets: HashMap<(GrantEffect, &GrantTarget), PermissionSet, FixedState> = HashMap::default();
        let mut conditions: HashMap<(&Condition, PermissionSet), Condition, FixedState> = HashMap::default();
        let mut all = Vec::with_capacity(self.grants.len());
        for grant in self.grants {
            let key = (grant.effect, &grant.target);
            let permissions = *sets.entry(key).or_insert_with(|| self.set(grant));
            let condition = grant.condition.as_ref().map(|condition| {
                let declared = || self.permissions.attributes(&permissions).into();
                let known = conditions.entry((condition, permissions));
                known.or_insert_with(|| condition.about(declared())).clone()
            });
            all.push(Ready { grant, permissions, condition });
        }
        all
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
}

/// Grants on single things, by holder.
fn things(
    ready: &[Ready<'_>],
    rules: &mut Interned<Rule>,
    table: &mut AccessTable,
) -> HashMap<Holder, u32, FixedState> {
    let mut carriers: HashMap<Holder, u32, FixedState> = HashMap::default();
    let mut entries: Vec<Vec<_>> = Vec::new();
    for own in ready {
        let Some(resource) = &own.grant.resource else { continue };
        let rule = rules.place(own.rule(own.grant.interval));
        let carrier = *carriers.entry(own.grant.holder).or_insert_with(|| {
            entries.push(Vec::new());
            entries.len() as u32 - 1
        });
        entries[carrier as usize].push((resource.key(), rule));
    }
    table.on_things = entries.into_iter().map(Things::new).collect();
    carriers
}

impl Ready<'_> {
    fn rule(&self, interval: Interval) -> Rule {
        let Ready { grant, permissions, condition } = self;
        Rule { effect: grant.effect, interval, permissions: *permissions, condition: condition.clone() }
    }
}

impl Gathered {
    fn add(&mut self, own: &Ready<'_>, interval: Interval, rules: &mut Interned<Rule>) {
        let Ready { grant, permissions, condition } = own;
        let interval = grant.interval.and(interval);
        if interval != Interval::ALWAYS || condition.is_some() {
            if !interval.is_empty() {
                let index = rules.place(own.rule(Interval::ALWAYS));
                self.timed.push(Reach { index, interval });
            }
            return;
        }
        match grant.effect {
            GrantEffect::Allow => self.shape.sets.allow(permissions),
            GrantEffect::Deny => self.shape.sets.deny(permissions),
        }
        if let (GrantTarget::Role(role), GrantEffect::Allow) = (&grant.target, grant.effect)
            && !self.shape.roles.iter().any(|own| **own == **role)
        {
            self.shape.roles.push(role.as_str().into());
        }
    }
}

fn only_groups(holders: Vec<(Holder, Interval)>) -> Box<[(uuid::Uuid, Interval)]> {
    let group = |(holder, interval)| match holder {
        Holder::Group(group) => Some((group, interval)),
        Holder::Principal(_) | Holder::Everyone => None,
    };
    holders.into_iter().filter_map(group).collect()
}

/// Who is in what, ready to be asked.
struct Groups<'a> {
    by_member: HashMap<Holder, Vec<&'a Membership>, FixedState>,
    everyone: HashSet<Principal, FixedState>,
    is_everyone_in_groups: bool,
}

impl<'a> Groups<'a> {
    fn new(model: &Model<'a>) -> Self {
        let mut by_member: HashMap<Holder, Vec<&Membership>, FixedState> = HashMap::default();
        for membership in model.memberships {
            by_member.entry(membership.member).or_default().push(membership);
        }
        let is_everyone_in_groups = by_member.contains_key(&Holder::Everyone);
        Groups { by_member, everyone: model.principals.iter().copied().collect(), is_everyone_in_groups }
    }

    /// The principal itself, everyone, and each group that it is in, with when. A group that is reached on several ways
    /// is there once for each time that no other way contains.
    fn of(&self, principal: Principal) -> Vec<(Holder, Interval)> {
        let own = Holder::Principal(principal);
        let everyone = self.everyone.contains(&principal).then_some((Holder::Everyone, Interval::ALWAYS));
        let is_in_groups =
            self.by_member.contains_key(&own) || everyone.is_some() && self.is_everyone_in_groups;
        if !is_in_groups {
            return std::iter::once((own, Interval::ALWAYS)).chain(everyone).collect();
        }
        let mut all: BTreeMap<Holder, Vec<Interval>> = BTreeMap::new();
        let mut open = vec![(own, Interval::ALWAYS)];
        open.extend(everyone);
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
