//! What is different between two worlds: every permission of every principal, on the whole tenant and on each thing that a
//! grant names or that is registered. Complete, not sampled.

use std::collections::BTreeSet;

use serde::Serialize;

use super::step::{Party, Thing};
use super::world::Ready;
use crate::access::{Principal, ResourceName};

/// At most so many of each are listed; all are counted.
const LISTED_MAX: usize = 1_000;

/// What was gained and lost.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Diff {
    /// What somebody may do that he could not.
    pub gained: Vec<Difference>,
    /// What somebody could do and may not.
    pub lost: Vec<Difference>,
    /// How many of the first there are.
    pub gained_count: u64,
    /// And of the second.
    pub lost_count: u64,
    /// Whether there are more than are listed.
    pub truncated: bool,
}

/// One permission of one principal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// Whose.
    pub principal: Party,
    /// On what; `None` is the whole tenant.
    pub resource: Option<Thing>,
    /// Which.
    pub permission: String,
    /// Whether a condition decides.
    pub conditional: bool,
}

type At<'r> = (&'r Ready, i64);

pub(super) fn diff(before: At<'_>, after: At<'_>) -> Diff {
    let mut parties: BTreeSet<&Party> = BTreeSet::new();
    for (ready, _) in [before, after] {
        parties.extend(ready.table.principals().map(|principal| ready.names.party(principal.id)));
    }
    let mut all = Diff::default();
    for party in parties {
        let (was, is) = (held(before, party, None), held(after, party, None));
        let gained: BTreeSet<&str> = is.difference(&was).copied().collect();
        let lost: BTreeSet<&str> = was.difference(&is).copied().collect();
        all.put(party, None, &gained, &lost);
        for thing in things(before, after, party) {
            let (was, is) = (held(before, party, Some(thing)), held(after, party, Some(thing)));
            // What is different everywhere has been told.
            let here = |one: &BTreeSet<&'_ str>, two: &BTreeSet<&'_ str>, told: &BTreeSet<&str>| {
                one.difference(two)
                    .copied()
                    .filter(|name| !told.contains(name))
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            let (more, less) = (here(&is, &was, &gained), here(&was, &is, &lost));
            let more: BTreeSet<&str> = more.iter().map(String::as_str).collect();
            let less: BTreeSet<&str> = less.iter().map(String::as_str).collect();
            all.put(party, Some(thing), &more, &less);
        }
    }
    all
}

impl Diff {
    fn put(
        &mut self,
        party: &Party,
        thing: Option<&ResourceName>,
        gained: &BTreeSet<&str>,
        lost: &BTreeSet<&str>,
    ) {
        let Diff { gained: more, lost: less, gained_count, lost_count, truncated } = self;
        for (names, list, count) in [(gained, more, gained_count), (lost, less, lost_count)] {
            for name in names {
                *count += 1;
                if list.len() == LISTED_MAX {
                    *truncated = true;
                    continue;
                }
                let resource = thing.map(|thing| Thing { kind: thing.kind.clone(), id: thing.id.clone() });
                let (principal, permission) = (party.clone(), (*name).to_owned());
                list.push(Difference { principal, resource, permission, conditional: false });
            }
        }
    }
}

fn held<'r>((ready, now_us): At<'r>, party: &Party, thing: Option<&ResourceName>) -> BTreeSet<&'r str> {
    let Some(principal) = ready.names.known(party) else { return BTreeSet::new() };
    let set = ready.table.effective(&principal, thing.map(ResourceName::key), now_us);
    ready.permissions.names_of(&set).into_iter().collect()
}

/// What the principal could have grants on in particular.
fn things<'r>(before: At<'r>, after: At<'r>, party: &Party) -> BTreeSet<&'r ResourceName> {
    let has = |(ready, _): At<'_>| {
        let known: Option<Principal> = ready.names.known(party);
        known.is_some_and(|principal| ready.table.has_things(&principal))
    };
    let mut all = BTreeSet::new();
    if has(before) || has(after) {
        for (ready, _) in [before, after] {
            all.extend(ready.grants.iter().filter_map(|grant| grant.resource.as_ref()));
            all.extend(ready.resources.iter().map(|resource| &resource.name));
        }
    }
    all
}
