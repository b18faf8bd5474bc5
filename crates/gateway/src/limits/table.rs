//! Counters of limits in a fixed table: no lock, no allocation, constant memory however many there are.
//!
//! A slot is 32 bytes: half of a keyed 128-bit hash of the counter (the other half chooses the place), when the
//! counter will be as new, and its state, changed by one 128-bit compare-exchange. A counter may lie in any of 8
//! neighbouring slots. When all eight are taken, the one that is empty first makes room: what is forgotten is
//! the least that can be.

use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicI64, AtomicU64};

use foldhash::quality::FixedState;
use portable_atomic::{AtomicU128, Ordering};
use rowhouse_domain::limits::{Algorithm, Rule, State, Verdict};

/// Slots a counter may lie in.
const WAYS: usize = 8;
/// Clocks of two cores may differ by this much without being taken for a clock that went back.
const SKEW_US: i64 = 1_000_000;

/// A keyed hash of (limit, scope value).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CounterKey {
    place: u64,
    tag: u64,
}

impl CounterKey {
    /// From two independent hashes. A zero tag marks a free slot, so it becomes one.
    pub(crate) fn new(place: u64, tag: u64) -> Self {
        CounterKey { place, tag: tag.max(1) }
    }

    /// The key of a counter: what it is told apart by, under two keyed hashes.
    pub(crate) fn of(hashes: &[FixedState; 2], counter: &impl Hash) -> Self {
        CounterKey::new(hashes[0].hash_one(counter), hashes[1].hash_one(counter))
    }
}

impl CounterKey {
    /// All of it as one number.
    pub(crate) fn bits(self) -> u128 {
        u128::from(self.place) << 64 | u128::from(self.tag)
    }

    /// The key whose bits these are.
    pub(crate) fn from_bits(bits: u128) -> Self {
        CounterKey::new((bits >> 64) as u64, bits as u64)
    }

    /// The key of something else about the same counter.
    pub(crate) fn changed(self, by: u64) -> Self {
        CounterKey::new(self.place ^ by.rotate_left(32), self.tag ^ by)
    }

    #[cfg(test)]
    pub(crate) const fn fixed(place: u64, tag: u64) -> Self {
        CounterKey { place, tag }
    }
}

struct Slot {
    tag: AtomicU64,
    /// Only a hint for making room.
    empty_at_us: AtomicI64,
    state: AtomicU128,
}

/// The table, shared by all cores.
pub(crate) struct LimitTable {
    slots: Box<[Slot]>,
    mask: usize,
}

impl LimitTable {
    /// A table with at least `slots` slots of 32 bytes, rounded up to a power of two.
    pub(crate) fn new(slots: usize) -> Self {
        let slots = slots.max(WAYS).next_power_of_two();
        let free =
            || Slot { tag: AtomicU64::new(0), empty_at_us: AtomicI64::new(0), state: AtomicU128::new(0) };
        LimitTable { slots: (0..slots).map(|_| free()).collect(), mask: (slots - 1) & !(WAYS - 1) }
    }

    /// Has the processor fetch a counter that will be needed. Charging waits for all memory before it goes on, so
    /// counters that are fetched one by one cost that many waits; touched first, they cost about one.
    pub(crate) fn touch(&self, key: CounterKey) {
        let first = (key.place as usize) & self.mask;
        std::hint::black_box(self.slots[first].tag.load(Ordering::Relaxed));
    }

    /// Charges `cost` units if they fit, and tells how the counter stands. A refusal charges nothing.
    pub(crate) fn charge(&self, key: CounterKey, rule: &Rule, now_us: i64, cost: i64) -> Verdict {
        let slot = self.slot(key);
        let mut seen = slot.state.load(Ordering::Acquire);
        loop {
            let state = unpack(rule, seen);
            let verdict = rule.decide(state, not_before(state, rule, now_us), cost);
            let clock_went_back = verdict.next.at < state.at;
            if !verdict.allowed && !clock_went_back {
                return verdict;
            }
            match slot.state.compare_exchange_weak(
                seen,
                pack(rule, verdict.next),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => {
                    slot.empty_at_us.store(now_us + verdict.reset_after_us, Ordering::Relaxed);
                    return verdict;
                }
                Err(newer) => seen = newer,
            }
        }
    }

    /// How the counter would stand with `cost` more units, without charging them.
    pub(crate) fn look(&self, key: CounterKey, rule: &Rule, now_us: i64, cost: i64) -> Verdict {
        let slot = self.slot(key);
        let state = unpack(rule, slot.state.load(Ordering::Acquire));
        rule.decide(state, not_before(state, rule, now_us), cost)
    }

    /// Puts a state in place of a counter's own.
    pub(crate) fn put(&self, key: CounterKey, rule: &Rule, state: State, now_us: i64) {
        let slot = self.slot(key);
        slot.state.store(pack(rule, state), Ordering::Release);
        slot.empty_at_us.store(now_us + rule.decide(state, now_us, 0).reset_after_us, Ordering::Relaxed);
    }

    /// The 128 bits of a slot that keeps something else than a counter. It makes room when nothing better does.
    pub(super) fn state(&self, key: CounterKey) -> &AtomicU128 {
        &self.slot(key).state
    }

    /// Gives `cost` units back, never above full.
    pub(crate) fn refund(&self, key: CounterKey, rule: &Rule, cost: i64) {
        let slot = self.slot(key);
        let give_back = |seen| Some(pack(rule, rule.refunded(unpack(rule, seen), cost)));
        let _ = slot.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, give_back);
    }

    fn slot(&self, key: CounterKey) -> &Slot {
        let first = (key.place as usize) & self.mask;
        let set = &self.slots[first..first + WAYS];
        loop {
            if let Some(slot) = find_or_claim(set, key.tag).or_else(|| evict(set, key.tag)) {
                return slot;
            }
        }
    }
}

fn find_or_claim(set: &[Slot], tag: u64) -> Option<&Slot> {
    set.iter().find(|slot| match slot.tag.load(Ordering::Acquire) {
        0 => match slot.tag.compare_exchange(0, tag, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(holder) => holder == tag,
        },
        holder => holder == tag,
    })
}

/// Makes room by forgetting the counter that is empty first. `None` if another core was faster.
#[cold]
fn evict(set: &[Slot], tag: u64) -> Option<&Slot> {
    let slot = set.iter().min_by_key(|slot| slot.empty_at_us.load(Ordering::Relaxed))?;
    let holder = slot.tag.load(Ordering::Acquire);
    slot.tag.compare_exchange(holder, tag, Ordering::AcqRel, Ordering::Acquire).ok()?;
    slot.state.store(0, Ordering::Release);
    Some(slot)
}

/// The instant to decide at: a core whose clock is a little behind another's does not turn the counter back.
fn not_before(state: State, rule: &Rule, now_us: i64) -> i64 {
    let unit = if rule.algorithm().is_bucket() { 1 } else { rule.window() };
    let stored_us = state.at.saturating_mul(unit).saturating_mul(rule.tick_us());
    if stored_us > now_us && stored_us - now_us < SKEW_US { stored_us } else { now_us }
}

/// The window is part of the counter's key, so that it need not be kept.
fn pack(rule: &Rule, state: State) -> u128 {
    let used = match rule.algorithm() {
        // Both are at most 10⁹.
        Algorithm::SlidingWindow => (state.before as u64) << 32 | state.used as u64 & u64::from(u32::MAX),
        _ => state.used as u64,
    };
    u128::from(state.at as u64) << 64 | u128::from(used)
}

fn unpack(rule: &Rule, bits: u128) -> State {
    let (at, low) = ((bits >> 64) as u64 as i64, bits as u64);
    let (used, before) = match rule.algorithm() {
        Algorithm::SlidingWindow => (low & u64::from(u32::MAX), low >> 32),
        _ => (low, 0),
    };
    State { at, used: used as i64, before: before as i64, window: 0 }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    fn bucket(quota: i64, window_ms: i64, burst: i64) -> Rule {
        Rule::new(Algorithm::TokenBucket, quota, window_ms, Some(burst)).expect("in bounds")
    }

    fn key(number: u64) -> CounterKey {
        CounterKey::new(0, number)
    }

    #[test]
    fn threads_at_one_instant_are_admitted_exactly_burst_times() {
        let table = LimitTable::new(64);
        let bucket = bucket(1, 1000, 500);
        let admitted = AtomicI64::new(0);
        let start = Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..500 {
                        let allowed = table.charge(key(7), &bucket, 1_000_000, 1).allowed;
                        admitted.fetch_add(i64::from(allowed), std::sync::atomic::Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), 500);
    }

    #[test]
    fn a_refund_gives_back_exactly_what_was_charged() {
        let table = LimitTable::new(64);
        let bucket = bucket(1, 1000, 3);
        for _ in 0..3 {
            assert!(table.charge(key(1), &bucket, 0, 1).allowed);
        }
        table.refund(key(1), &bucket, 2);
        assert_eq!(table.look(key(1), &bucket, 0, 1).remaining, 1);
        table.refund(key(1), &bucket, 9);
        assert_eq!(table.look(key(1), &bucket, 0, 3).remaining, 0, "never above full");
        assert!(!table.look(key(1), &bucket, 0, 4).allowed);
    }

    #[test]
    fn a_full_set_forgets_the_counter_nearest_to_empty() {
        let table = LimitTable::new(8);
        let bucket = bucket(1, 3_600_000, 100);
        for counter in 1..=8 {
            table.charge(key(counter), &bucket, 0, counter as i64 * 10);
        }
        table.charge(key(9), &bucket, 0, 1);
        assert_eq!(table.look(key(8), &bucket, 0, 0).remaining, 20, "the fullest is kept");
        assert_eq!(table.look(key(9), &bucket, 0, 0).remaining, 99, "and the newcomer starts fresh");
    }

    #[test]
    fn a_core_slightly_behind_does_not_win_units() {
        let table = LimitTable::new(64);
        let bucket = bucket(1_000, 1000, 1);
        assert!(table.charge(key(1), &bucket, 10_000, 1).allowed);
        for _ in 0..100 {
            assert!(!table.charge(key(1), &bucket, 9_500, 1).allowed);
            assert!(!table.charge(key(1), &bucket, 10_900, 1).allowed, "not yet a millisecond");
        }
        assert!(table.charge(key(1), &bucket, 11_000, 1).allowed);
    }

    #[test]
    fn states_of_every_algorithm_are_kept_whole() {
        use Algorithm::{FixedWindow, LeakyBucket, SlidingWindow, TokenBucket};
        for algorithm in [TokenBucket, LeakyBucket, SlidingWindow, FixedWindow] {
            let rule = Rule::new(algorithm, 1_000_000_000, 60_000, None).expect("in bounds");
            let (table, mut state, mut now_us) =
                (LimitTable::new(64), State::default(), 1_795_262_400_000_000);
            for (wait_us, cost) in
                [(0, 999_999_999), (60_000_000, 900_000_000), (31_000_000, 1), (1, 600_000_000)]
            {
                now_us += wait_us;
                let expected = rule.decide(state, now_us, cost);
                state = if expected.allowed { expected.next } else { state };
                let verdict = table.charge(key(1), &rule, now_us, cost);
                assert_eq!(
                    (verdict.allowed, verdict.remaining),
                    (expected.allowed, expected.remaining),
                    "{algorithm:?}"
                );
                assert_eq!(verdict.retry_after_us, expected.retry_after_us, "{algorithm:?}");
            }
        }
    }
}
