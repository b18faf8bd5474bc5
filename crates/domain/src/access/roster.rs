//! Who is known in a tenant, each with the place of its rights: made once when a tenant is compiled, read by every decision.
//!
//! One among many is not in the processor's cache, and what is fetched from memory is fetched in lines of 64 bytes. So three
//! principals stand together in one line with all that tells them apart and where their rights are: a decision waits for one line
//! here, nearly always (the twelfth finds its line full and stands in the next), and whoever is not known is known not to be by the
//! same one. A general map waits for a line of its control bytes first. Which of the three it is, is computed and not branched on:
//! it is a different one each time, which no processor foresees.
//!
//! The hash is not secret. Ids are drawn by us and never chosen by who would gain from a slow look-up.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::{Principal, PrincipalKind};

/// Principals in one line.
const WIDTH: usize = 3;
/// No kind of principal: nobody stands there.
const FREE: u8 = u8::MAX;
/// Of ten places so many are taken.
const TAKEN_OF_TEN: usize = 6;

/// One line of the processor's cache.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line {
    ids: [[u64; 2]; WIDTH],
    places: [u32; WIDTH],
    kinds: [u8; WIDTH],
    /// Whether somebody who belongs here stands further on.
    is_overfull: bool,
}

const EMPTY: Line =
    Line { ids: [[0; 2]; WIDTH], places: [0; WIDTH], kinds: [FREE; WIDTH], is_overfull: false };

/// All principals of a tenant that something is known of, each with a place.
#[derive(Clone, Default)]
pub(super) struct Roster {
    lines: Box<[Line]>,
    hasher: FixedState,
    count: usize,
}

impl Roster {
    /// Of these, each once.
    pub(super) fn new(entries: &[(Principal, u32)]) -> Self {
        if entries.is_empty() {
            return Roster::default();
        }
        let lines = (entries.len() * 10).div_ceil(TAKEN_OF_TEN * WIDTH);
        let mut roster =
            Roster { lines: vec![EMPTY; lines].into_boxed_slice(), count: 0, hasher: FixedState::default() };
        entries.iter().for_each(|(principal, place)| roster.put(principal, *place));
        roster
    }

    fn put(&mut self, principal: &Principal, place: u32) {
        let id = words(principal.id);
        let mut at = self.home(id);
        loop {
            let line = &mut self.lines[at];
            if let Some(free) = line.kinds.iter().position(|kind| *kind == FREE) {
                (line.ids[free], line.places[free]) = (id, place);
                line.kinds[free] = principal.kind as u8;
                self.count += 1;
                return;
            }
            line.is_overfull = true;
            at = (at + 1) % self.lines.len();
        }
    }

    /// The place of a principal. At least four tenths are free, so that a look-up ends.
    #[inline]
    pub(super) fn find(&self, principal: &Principal) -> Option<u32> {
        if self.lines.is_empty() {
            return None;
        }
        let id = words(principal.id);
        let mut at = self.home(id);
        loop {
            let line = &self.lines[at];
            if let Some(found) = line.find(id, principal.kind as u8) {
                return Some(found);
            }
            if !line.is_overfull {
                return None;
            }
            at = if at + 1 == self.lines.len() { 0 } else { at + 1 };
        }
    }

    /// The line that one belongs to: the upper half of hash times lines, which needs no division.
    #[inline]
    fn home(&self, id: [u64; 2]) -> usize {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u128(u128::from(id[0]) << 64 | u128::from(id[1]));
        ((u128::from(hasher.finish()) * self.lines.len() as u128) >> 64) as usize
    }

    /// All of them with their places, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Principal, u32)> {
        self.lines.iter().flat_map(|line| (0..WIDTH).filter_map(move |at| line.entry(at)))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }
}

impl Line {
    #[inline]
    fn find(&self, id: [u64; 2], kind: u8) -> Option<u32> {
        let is = |at: usize| {
            let differs = (self.ids[at][0] ^ id[0]) | (self.ids[at][1] ^ id[1]);
            u32::from(differs == 0) & u32::from(self.kinds[at] == kind)
        };
        let found = is(0) | is(1) << 1 | is(2) << 2;
        // Of none there are as many zeros as bits.
        self.places.get(found.trailing_zeros() as usize).copied()
    }

    fn entry(&self, at: usize) -> Option<(Principal, u32)> {
        let kind = KINDS.into_iter().find(|kind| *kind as u8 == self.kinds[at])?;
        let [high, low] = self.ids[at];
        Some((Principal { kind, id: Uuid::from_u64_pair(high, low) }, self.places[at]))
    }
}

const KINDS: [PrincipalKind; 5] = [
    PrincipalKind::User,
    PrincipalKind::ServiceAccount,
    PrincipalKind::ApiKey,
    PrincipalKind::System,
    PrincipalKind::Anonymous,
];

#[inline]
fn words(id: Uuid) -> [u64; 2] {
    let (high, low) = id.as_u64_pair();
    [high, low]
}

impl Serialize for Roster {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        // In one order, whatever they were put in by: what is equal is told equally.
        let mut all: Vec<_> = self.iter().collect();
        all.sort_unstable_by_key(|(principal, _)| *principal);
        out.collect_seq(all)
    }
}

impl<'de> Deserialize<'de> for Roster {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let mut entries = Vec::<(Principal, u32)>::deserialize(input)?;
        // Of one that is told twice the later word counts, as in a map.
        entries.reverse();
        entries.sort_by_key(|(principal, _)| *principal);
        entries.dedup_by_key(|(principal, _)| *principal);
        Ok(Roster::new(&entries))
    }
}

impl std::fmt::Debug for Roster {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn three_stand_in_one_line_of_the_cache() {
        assert_eq!((size_of::<Line>(), align_of::<Line>()), (64, 64));
    }

    fn principal() -> impl Strategy<Value = Principal> {
        let id = prop_oneof![any::<u128>(), 0..40u128];
        (0..KINDS.len(), id).prop_map(|(kind, id)| Principal { kind: KINDS[kind], id: Uuid::from_u128(id) })
    }

    proptest! {
        #[test]
        fn it_says_what_a_map_says(
            known in prop::collection::btree_map(principal(), any::<u32>(), 0..300),
            others in prop::collection::vec(principal(), 0..50),
        ) {
            let entries: Vec<_> = known.iter().map(|(principal, place)| (*principal, *place)).collect();
            let roster = Roster::new(&entries);
            prop_assert_eq!(roster.len(), known.len());
            for principal in known.keys().chain(&others) {
                prop_assert_eq!(roster.find(principal), known.get(principal).copied());
            }
            prop_assert_eq!(roster.iter().collect::<BTreeMap<_, _>>(), known);
            let sent = serde_json::to_string(&roster).expect("JSON");
            let read: Roster = serde_json::from_str(&sent).expect("it was written so");
            prop_assert_eq!(read.iter().collect::<BTreeMap<_, _>>(), roster.iter().collect());
        }
    }

    #[test]
    fn most_stand_in_their_own_line() {
        let id = |number: u128| {
            Uuid::from_u128(number << 80 | number.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060))
        };
        let of = |number| Principal { kind: PrincipalKind::User, id: id(number) };
        let entries: Vec<_> = (0..10_000).map(|number| (of(number), 7)).collect();
        let roster = Roster::new(&entries);
        let at_home = |(principal, _): &&(Principal, u32)| {
            let id = words(principal.id);
            roster.lines[roster.home(id)].find(id, principal.kind as u8).is_some()
        };
        let share = entries.iter().filter(at_home).count();
        assert!(share > 8_500, "{share} of 10,000");
        assert!(size_of_val(&*roster.lines) / roster.len() < 40, "bytes of each");
    }
}
