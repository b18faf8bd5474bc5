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
use super::session::{Authorised, Inactive, Sessions, Touched};
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
    let model = Model {
        permissions,
        roles,
        grants: &grants,
        memberships: &[],
        resources: &[],
        principals: &[],
        sessions: Sessions::default(),
    };
    model.compile(version)
}

/// A grant with what it comes to.
struct Ready<'m> {
    grant: &'m Grant,
    permissions: PermissionSet,
    condition: Option<Condition>,
    touched: Touched,
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
        let touching = touching(&ready);
        let groups = Groups::new(self);
        let (mut plain, mut flagged) = (Vec::new(), Vec::new());
        for principal in self.everybody() {
            let holders = groups.of(principal);
            let mut gather = |inactive: &Inactive| {
                let mut gathered = Gathered::default();
                for &(holder, interval) in &holders {
                    for own in by_holder.get(&holder).into_iter().flatten() {
                        gathered.add(own, interval, inactive, &mut rules);
                    }
                    for (touched, index) in carriers.get(&holder).into_iter().flatten() {
                        gathered.carry(*index, inactive.split(touched, interval));
                    }
                }
                let Gathered { shape, timed, carriers } = gathered;
                let (timed, carriers) = (timed.into(), carriers.into());
                Flagged { shape: shapes.place(shape), timed, carriers, asker: None, sessions: Box::default() }
            };
            let had = authorised(&touching, &holders);
            let inactive = self.inactive(&had, self.chosen(principal, None));
            let own = gather(&inactive);
            if own.timed.is_empty() && own.carriers.is_empty() {
                plain.push((principal, own.shape));
                continue;
            }
            let mut sessions = Vec::new();
            for chosen in self.chosen_by(principal).filter(|_| !had.is_empty()) {
                let Some(session) = chosen.session else { continue };
                sessions.push((session, table.in_sessions.len() as u32));
                table.in_sessions.push(gather(&self.inactive(&had, &chosen.active)));
            }
            sessions.sort_unstable();
            let asker = || Some(Box::new(Asker { principal, groups: only_groups(&holders) }));
            let asker = if conditional { asker() } else { None };
            for (_, place) in &sessions {
                table.in_sessions[*place as usize].asker = asker.clone();
            }
            flagged.push((principal, Flagged { asker, sessions: sessions.into(), ..own }));
        }
        (table.shapes, table.rules) = (shapes.all.into(), rules.all);
        let places = flagged.iter().zip(table.shapes.len() as u32..).map(|((who, _), place)| (*who, place));
        plain.extend(places);
        table.roster = Roster::new(&plain);
        table.flagged = flagged.into_iter().map(|(_, flagged)| flagged).collect();
        table
    }

    /// All grants with what they come to. What is granted and under which condition is mostly the same for many.
    #[allow(
        clippy::mutable_key_type,
        reason = "a condition is compared by its text and parameters, which never change"
    )]
    fn ready(&self) -> Vec<Ready<'_>> {
        let mut sets: HashMap<(GrantEffect, &GrantTarget), (PermissionSet, Touched), FixedState> =
            HashMap::default();
        let mut conditions: HashMap<(&Condition, PermissionSet), Condition, FixedState> = HashMap::default();
        let mut all = Vec::with_capacity(self.grants.len());
        for grant in self.grants {
            let key = (grant.effect, &grant.target);
            let known = sets.entry(key).or_insert_with(|| (self.set(grant), self.touched(grant)));
            let (permissions, touched) = known.clone();
            let condition = grant.condition.as_ref().map(|condition| {
                let declared = || self.permissions.attributes(&permissions).into();
                let known = conditions.entry((condition, permissions));
                known.or_insert_with(|| condition.about(declared())).clone()
            });
            all.push(Ready { grant, permissions, condition, touched });
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

/// Grants on single things, by holder: apart from each other those of roles that may be inactive at different times.
fn things(
    ready: &[Ready<'_>],
    rules: &mut Interned<Rule>,
    table: &mut AccessTable,
) -> HashMap<Holder, Vec<(Touched, u32)>, FixedState> {
    let mut carriers: HashMap<Holder, Vec<(Touched, u32)>, FixedState> = HashMap::default();
    let mut entries: Vec<Vec<_>> = Vec::new();
    for own in ready {
        let Some(resource) = &own.grant.resource else { continue };
        let rule = rules.place(own.rule(own.grant.interval));
        let of_holder = carriers.entry(own.grant.holder).or_default();
        let known = of_holder.iter().find(|(touched, _)| *touched == own.touched).map(|(_, at)| *at);
        let carrier = known.unwrap_or_else(|| {
            entries.push(Vec::new());
            let at = entries.len() as u32 - 1;
            of_holder.push((own.touched.clone(), at));
            at
        });
        entries[carrier as usize].push((resource.key(), rule));
    }
    table.on_things = entries.into_iter().map(Things::new).collect();
    carriers
}

type Touching<'r> = HashMap<Holder, Vec<(&'r [u32], Interval)>, FixedState>;

/// What authorises for members of dynamic sets, by holder.
fn touching<'r>(ready: &'r [Ready<'_>]) -> Touching<'r> {
    let mut all = Touching::default();
    for own in ready.iter().filter(|own| !own.touched.is_empty()) {
        all.entry(own.grant.holder).or_default().push((&own.touched, own.grant.interval));
    }
    all
}

/// Of that, what reaches somebody, and when.
fn authorised<'r>(touching: &Touching<'r>, holders: &[(Holder, Interval)]) -> Authorised<'r> {
    if touching.is_empty() {
        return Vec::new();
    }
    let own = |&(holder, when): &(Holder, Interval)| {
        let own = touching.get(&holder).into_iter().flatten();
        own.map(move |(touched, interval)| (*touched, interval.and(when)))
    };
    holders.iter().flat_map(own).filter(|(_, when)| !when.is_empty()).collect()
}

impl Ready<'_> {
    fn rule(&self, interval: Interval) -> Rule {
        let Ready { grant, permissions, condition, .. } = self;
        Rule { effect: grant.effect, interval, permissions: *permissions, condition: condition.clone() }
    }
}

impl Gathered {
    fn add(&mut self, own: &Ready<'_>, interval: Interval, inactive: &Inactive, rules: &mut Interned<Rule>) {
        let interval = own.grant.interval.and(interval);
        if own.touched.is_empty() || inactive.is_empty() {
            return self.reach(own, interval, rules);
        }
        for (interval, is_inactive) in inactive.split(&own.touched, interval) {
            match is_inactive {
                false => self.reach(own, interval, rules),
                true => {
                    let index = rules.place(own.rule(Interval::ALWAYS));
                    self.timed.push(Reach { index, interval, is_inactive });
                }
            }
        }
    }

    fn carry(&mut self, index: u32, pieces: Vec<(Interval, bool)>) {
        let reach = |(interval, is_inactive)| Reach { index, interval, is_inactive };
        self.carriers.extend(pieces.into_iter().map(reach));
    }

    fn reach(&mut self, own: &Ready<'_>, interval: Interval, rules: &mut Interned<Rule>) {
        let Ready { grant, permissions, condition, .. } = own;
        if interval != Interval::ALWAYS || condition.is_some() {
            if !interval.is_empty() {
                let index = rules.place(own.rule(Interval::ALWAYS));
                self.timed.push(Reach { index, interval, is_inactive: false });
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

fn only_groups(holders: &[(Holder, Interval)]) -> Box<[(uuid::Uuid, Interval)]> {
    let group = |&(holder, interval): &(Holder, Interval)| match holder {
        Holder::Group(group) => Some((group, interval)),
        Holder::Principal(_) | Holder::Everyone => None,
    };
    holders.iter().filter_map(group).collect()
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
