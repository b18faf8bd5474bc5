//! Leases of shared counters, in slots of the table beside the counters: spent by one compare-exchange.
//!
//! A lease is 128 bits: when it ends (48 bits of µs since the gateway began), the mark below which a new one is fetched
//! (10 bits and a shift of 5), whether that is under way, the units left, and what was left for others.

use portable_atomic::Ordering;
use rowhouse_domain::limits::{Algorithm, Rule};

use super::table::{CounterKey, LimitTable};

/// Turns a counter's key into its lease's, and into its pace's.
const LEASE: u64 = 0x6c65_6173_6500_0001;
const PACE: u64 = 0x7061_6365_0000_0003;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lease {
    ends_us: i64,
    low_mark: u32,
    refilling: bool,
    left: u32,
    for_others: u32,
}

/// What was spent of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spent {
    /// Units left in the lease and for others.
    pub(crate) remaining: i64,
    /// Whether this is the one to fetch another.
    pub(crate) runs_low: bool,
}

impl Lease {
    fn from_bits(bits: u128) -> Self {
        let (high, low) = ((bits >> 64) as u64, bits as u64);
        let (mantissa, shift) = ((high >> 6) as u32 & 0x3ff, (high >> 1) as u32 & 0x1f);
        Lease {
            ends_us: (high >> 16) as i64,
            low_mark: mantissa << shift,
            refilling: high & 1 == 1,
            left: (low >> 32) as u32,
            for_others: low as u32,
        }
    }

    fn to_bits(self) -> u128 {
        let shift = (32 - self.low_mark.leading_zeros()).saturating_sub(10);
        let mark = u64::from(self.low_mark >> shift) << 6 | u64::from(shift) << 1;
        let high = (self.ends_us as u64) << 16 | mark | u64::from(self.refilling);
        u128::from(high) << 64 | u128::from(self.left) << 32 | u128::from(self.for_others)
    }
}

impl LimitTable {
    /// Spends of a lease; `None` if there is none, or too little left in it.
    pub(crate) fn spend_lease(&self, key: CounterKey, now_us: i64, cost: i64) -> Option<Spent> {
        let cost = u32::try_from(cost).ok()?;
        let slot = self.state(key.changed(LEASE));
        let mut seen = slot.load(Ordering::Acquire);
        loop {
            let mut lease = Lease::from_bits(seen);
            if lease.ends_us <= now_us || lease.left < cost {
                return None;
            }
            lease.left -= cost;
            let runs_low = lease.left <= lease.low_mark && !lease.refilling;
            lease.refilling |= runs_low;
            match slot.compare_exchange_weak(seen, lease.to_bits(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    let remaining = i64::from(lease.left) + i64::from(lease.for_others);
                    return Some(Spent { remaining, runs_low });
                }
                Err(newer) => seen = newer,
            }
        }
    }

    /// Puts units back that were spent of it for a request that another limit refused.
    pub(crate) fn unspend_lease(&self, key: CounterKey, now_us: i64, cost: i64) {
        let Ok(cost) = u32::try_from(cost) else { return };
        self.change_lease(key, |lease| {
            let left = lease.left.saturating_add(cost);
            (lease.ends_us > now_us).then_some(Lease { left, ..lease })
        });
    }

    /// Puts a new lease in place; answers the units left of the one before.
    pub(crate) fn put_lease(&self, key: CounterKey, units: i64, for_others: i64, ends_us: i64) -> i64 {
        let number = |units: i64| u32::try_from(units.max(0)).unwrap_or(u32::MAX);
        let left = number(units);
        let new = Lease {
            ends_us,
            low_mark: (u64::from(left) * 3 / 10) as u32,
            refilling: false,
            left,
            for_others: number(for_others),
        };
        self.change_lease(key, |_| Some(new)).map_or(0, |before| i64::from(before.left))
    }

    /// Says that no new lease came.
    pub(crate) fn stop_refill(&self, key: CounterKey) {
        self.change_lease(key, |lease| Some(Lease { refilling: false, ..lease }));
    }

    /// Whether nobody fetches a lease yet; the caller does then. Where there is none, a spent one is put in place that
    /// says so for a second, so that an answer that never comes does not stop it for ever.
    pub(crate) fn begin_refill(&self, key: CounterKey, now_us: i64) -> bool {
        let begun = self.change_lease(key, |lease| {
            let over = lease.ends_us <= now_us;
            let free = !lease.refilling || over;
            // What an ended one had left is given back by whoever sweeps; it must stay until then.
            let ends_us = if over && lease.left == 0 { now_us + 1_000_000 } else { lease.ends_us };
            free.then_some(Lease { ends_us, refilling: true, ..lease })
        });
        begun.is_some()
    }

    /// Ends a lease that ended at `ends_us`; answers the units that nobody spent.
    pub(crate) fn end_lease(&self, key: CounterKey, ends_us: i64) -> i64 {
        let ended = self.change_lease(key, |lease| {
            (lease.ends_us == ends_us && lease.left > 0).then_some(Lease { left: 0, ..lease })
        });
        ended.map_or(0, |before| i64::from(before.left))
    }

    /// Notes units of a counter and answers how many there were in the last second.
    pub(crate) fn pace(&self, key: CounterKey, now_us: i64, units: i64) -> i64 {
        let verdict = self.charge(key.changed(PACE), &pace_rule(), now_us, units);
        pace_rule().most() - verdict.remaining
    }

    fn change_lease(&self, key: CounterKey, change: impl Fn(Lease) -> Option<Lease>) -> Option<Lease> {
        let slot = self.state(key.changed(LEASE));
        let changed = |bits| change(Lease::from_bits(bits)).map(Lease::to_bits);
        slot.fetch_update(Ordering::AcqRel, Ordering::Acquire, changed).ok().map(Lease::from_bits)
    }
}

fn pace_rule() -> Rule {
    Rule::new(Algorithm::SlidingWindow, 1_000_000_000, 1_000, None).expect("in bounds")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: CounterKey = CounterKey::fixed(3, 5);

    #[test]
    fn a_lease_is_spent_to_the_unit_and_only_until_it_ends() {
        let table = LimitTable::new(64);
        assert_eq!(table.spend_lease(KEY, 1, 1), None);
        assert!(table.begin_refill(KEY, 1) && !table.begin_refill(KEY, 2), "one fetches at a time");
        assert_eq!(table.put_lease(KEY, 10, 90, 1_000), 0);
        let spent: Vec<_> = (0..11).map(|_| table.spend_lease(KEY, 5, 1)).collect();
        let low: Vec<usize> =
            (0..11).filter(|place| spent[*place].is_some_and(|spent| spent.runs_low)).collect();
        assert_eq!(low, [6], "once, when three of ten are left");
        assert_eq!((spent[0].unwrap().remaining, spent[9].unwrap().remaining, spent[10]), (99, 90, None));
        table.unspend_lease(KEY, 5, 2);
        assert_eq!(table.put_lease(KEY, 4, 0, 2_000), 2, "what was left is told");
        assert_eq!(table.spend_lease(KEY, 2_000, 1), None, "it has ended");
        assert_eq!(
            (table.end_lease(KEY, 1_000), table.end_lease(KEY, 2_000), table.end_lease(KEY, 2_000)),
            (0, 4, 0)
        );
    }

    #[test]
    fn large_numbers_keep_and_the_mark_is_near() {
        for units in [1, 7, 1_023, 1_024, 1_000_000_007, u32::MAX] {
            let low_mark = (u64::from(units) * 3 / 10) as u32;
            let lease = Lease { ends_us: 1 << 46, low_mark, refilling: true, left: units, for_others: units };
            let read = Lease::from_bits(lease.to_bits());
            assert!(read.low_mark <= low_mark && low_mark - read.low_mark <= low_mark / 512);
            assert_eq!(Lease { low_mark, ..read }, lease);
        }
    }

    #[test]
    fn the_pace_is_that_of_the_last_second() {
        let table = LimitTable::new(64);
        for call in 0..100 {
            table.pace(KEY, 5_000_000 + call * 10_000, 1);
        }
        assert_eq!(table.pace(KEY, 6_000_000, 0), 100);
        assert_eq!(table.pace(KEY, 6_500_000, 0), 50);
        assert_eq!(table.pace(KEY, 8_000_000, 0), 0);
    }
}
