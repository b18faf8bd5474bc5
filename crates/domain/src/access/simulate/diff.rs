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

/// Permissions, each with whether a condition decides.
type Held<'r> = BTreeSet<(&'r str, bool)>;

pub(super) fn diff(before: At<'_>, after: At<'_>) -> Diff {
    let mut parties: BTreeSet<&Party> = BTreeSet::new();
    for (ready, _) in [before, after] {
        parties.extend(ready.table.principals().map(|principal| ready.names.party(principal.id)));
    }
    let mut all = Diff::default();
    for party in parties {
        let (was, is) = (held(before, party, None), held(after, party, None));
        let gained: Held<'_> = is.difference(&was).copied().collect();
        let lost: Held<'_> = was.difference(&is).copied().collect();
        all.put(party, None, &gained, &lost);
        for thing in things(before, after, party) {
            let (was, is) = (held(before, party, Some(thing)), held(after, party, Some(thing)));
            // What is different everywhere has been told.
            let (more, less) = (beyond(&is, &was, &gained), beyond(&was, &is, &lost));
            all.put(party, Some(thing), &more, &less);
        }
    }
    all
}

/// What is in one and not in the other, and was not told.
fn beyond<'r>(one: &Held<'r>, other: &Held<'r>, told: &Held<'r>) -> Held<'r> {
    one.difference(other).copied().filter(|held| !told.contains(held)).collect()
}

impl Diff {
    fn put(&mut self, party: &Party, thing: Option<&ResourceName>, gained: &Held<'_>, lost: &Held<'_>) {
        let Diff { gained: more, lost: less, gained_count, lost_count, truncated } = self;
        for (names, list, count) in [(gained, more, gained_count), (lost, less, lost_count)] {
            for (name, conditional) in names {
                *count += 1;
                if list.len() == LISTED_MAX {
                    *truncated = true;
                    continue;
                }
                let resource = thing.map(|thing| Thing { kind: thing.kind.clone(), id: thing.id.clone() });
                let (principal, permission) = (party.clone(), (*name).to_owned());
                list.push(Difference { principal, resource, permission, conditional: *conditional });
            }
        }
    }
}

fn held<'r>((ready, now_us): At<'r>, party: &Party, thing: Option<&ResourceName>) -> Held<'r> {
    let Some(principal) = ready.names.known(party) else { return Held::new() };
    let key = thing.map(ResourceName::key);
    let firm = ready.table.effective(&principal, key, now_us);
    let mut possible = ready.table.possible(&principal, key, now_us);
    possible.subtract(&firm);
    let named =
        |set, conditional| ready.permissions.names_of(set).into_iter().map(move |name| (name, conditional));
    named(&firm, false).chain(named(&possible, true)).collect()
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
