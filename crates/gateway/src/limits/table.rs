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
            // A clock that went back, and a window that is another one now, are noted even if nothing is charged.
            let moved = verdict.next.at < state.at || is_of_another(state, rule);
            if (!verdict.allowed || cost == 0) && !moved {
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
    let unit = match (rule.algorithm().is_bucket(), state.window) {
        (true, _) => 1,
        (false, 0) => rule.window(),
        (false, window) => window,
    };
    let stored_us = state.at.saturating_mul(unit).saturating_mul(rule.tick_us());
    if stored_us > now_us && stored_us - now_us < SKEW_US { stored_us } else { now_us }
}

/// Whether the counter was counted with another window.
fn is_of_another(state: State, rule: &Rule) -> bool {
    state.window != 0 && state.window != rule.window()
}

/// Whether a counter of this rule keeps its window beside its state, so that what is used stays used when the window changes. If not,
/// the window has to be part of its key.
pub(crate) fn keeps_window(rule: &Rule) -> bool {
    window_code(rule.window(), rule.tick_us()) != 0
}

/// Bits of the code of a window.
const CODE_BITS: u32 = 24;
/// Says that the code counts seconds; else it counts milliseconds.
const IN_SECONDS: u32 = 1 << 22;

/// A window of so many ticks: milliseconds up to 70 minutes, beyond that whole seconds, of which 31 days fit. 0 for one that is neither,
/// and for none.
fn window_code(window: i64, tick_us: i64) -> u32 {
    let ms = match tick_us {
        1 => window / 1_000,
        1_000 => window,
        _ => window * 1_000,
    };
    match ms {
        0..4_194_304 => ms as u32,
        _ if ms % 1_000 == 0 => IN_SECONDS | (ms / 1_000) as u32,
        _ => 0,
    }
}

/// The ticks that the code stands for.
#[cold]
fn window_of(code: u32, tick_us: i64) -> i64 {
    let ms = match code & IN_SECONDS {
        0 => i64::from(code),
        _ => i64::from(code ^ IN_SECONDS) * 1_000,
    };
    ms * 1_000 / tick_us
}

/// When, how much and with which window. Of sliding windows the number takes 44 bits and both counts 30, as they are at most 10⁹; of the
/// others the time takes 52 bits (ticks of a microsecond until 2112) and what is used 52, as products stay within 2⁵².
fn pack(rule: &Rule, state: State) -> u128 {
    let used = match rule.algorithm() {
        Algorithm::SlidingWindow => {
            u128::from(state.at as u64) << 60 | u128::from((state.before as u64) << 30 | state.used as u64)
        }
        _ => u128::from(state.at as u64) << 52 | u128::from(state.used as u64),
    };
    used << CODE_BITS | u128::from(window_code(state.window, rule.tick_us()))
}

fn unpack(rule: &Rule, bits: u128) -> State {
    let (code, bits) = (bits as u32 & ((1 << CODE_BITS) - 1), bits >> CODE_BITS);
    let window = match code {
        0 => 0,
        code if code == window_code(rule.window(), rule.tick_us()) => rule.window(),
        code => window_of(code, rule.tick_us()),
    };
    let least = |bits: u128, count: u32| (bits as u64 & ((1 << count) - 1)) as i64;
    match rule.algorithm() {
        Algorithm::SlidingWindow => {
            State { at: (bits >> 60) as i64, used: least(bits, 30), before: least(bits >> 30, 30), window }
        }
        _ => State { at: (bits >> 52) as i64, used: least(bits, 52), before: 0, window },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use rowhouse_domain::limits::decide_all;

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
    fn what_is_used_stays_used_when_the_window_changes() {
        use Algorithm::{FixedWindow, LeakyBucket, SlidingWindow, TokenBucket};
        // Ticks of a microsecond, and of a second.
        for (quota, windows) in [
            (40, [60_000, 1_000, 4_194_303, 86_400_000]),
            (100_000_000, [2_678_400_000, 86_400_000, 604_800_000, 259_200_000]),
        ] {
            for algorithm in [TokenBucket, LeakyBucket, SlidingWindow, FixedWindow] {
                let rules =
                    windows.map(|window_ms| Rule::new(algorithm, quota, window_ms, None).expect("in bounds"));
                let (table, mut state, mut now_us) =
                    (LimitTable::new(64), State::default(), 1_795_262_400_000_000);
                for step in 0..400 {
                    let rule = rules[step / 3 % 4];
                    if rule.tick_us() != rules[0].tick_us() {
                        continue;
                    }
                    now_us += [0, 1_999_983, 31_000_000][step % 3];
                    let cost = quota / [40, 3, 1][step % 3];
                    let expected = decide_all(&[(rule, state, false)], now_us, cost).verdicts[0];
                    state = expected.next;
                    let verdict = table.charge(key(1), &rule, now_us, cost);
                    assert_eq!(Verdict { next: state, ..verdict }, expected, "{algorithm:?}, step {step}");
                }
            }
        }
        let odd = Rule::new(TokenBucket, 1, 4_194_305, None).expect("in bounds");
        assert!(!keeps_window(&odd) && keeps_window(&bucket(1, 4_195_000, 1)));
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
