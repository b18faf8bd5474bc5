//! What limits cost, measured for `bench/limits`: not part of what runs.

use std::sync::Arc;
use std::time::Instant;

use rowhouse_domain::limits::{Algorithm, Rule};

use super::table::{CounterKey, LimitTable};

/// Median nanoseconds of one decision, over batches.
#[derive(Debug, Clone, Copy)]
pub struct LimitCosts {
    /// Charged in this gateway's table.
    pub local_p50_ns: f64,
    /// Six counters, charged as a request with six limits does: all are fetched, then one after the other is charged.
    pub local_six_p50_ns: f64,
    /// Spent of a lease that is there.
    pub leased_p50_ns: f64,
}

const BATCHES: usize = 2_001;
const BATCH: usize = 500;
const COUNTERS: u64 = 1_024;

/// Measures on this thread.
pub fn limit_costs() -> LimitCosts {
    let table = Arc::new(LimitTable::new(1 << 20));
    let rule = Rule::new(Algorithm::TokenBucket, 1_000_000, 1_000, None).expect("in bounds");
    let keys: Vec<CounterKey> = (0..COUNTERS)
        .map(|counter| CounterKey::new(counter.wrapping_mul(0x9e37_79b9_7f4a_7c15), counter))
        .collect();
    for key in &keys {
        table.put_lease(*key, i64::from(u32::MAX), 0, i64::MAX >> 16);
    }
    let mut now_us = 1_000_000;
    let local_p50_ns = median(&keys, |key| {
        now_us += 1;
        std::hint::black_box(table.charge(key, &rule, now_us, 1));
    });
    let local_six_p50_ns = median(&keys, |key| {
        now_us += 1;
        let six: [CounterKey; 6] = std::array::from_fn(|limit| key.changed((limit as u64) << 40 | 1));
        six.iter().for_each(|key| table.touch(*key));
        for key in six {
            std::hint::black_box(table.charge(key, &rule, now_us, 1));
        }
    });
    let leased_p50_ns = median(&keys, |key| {
        std::hint::black_box(table.spend_lease(key, 1, 1));
    });
    LimitCosts { local_p50_ns, local_six_p50_ns, leased_p50_ns }
}

fn median(keys: &[CounterKey], mut decide: impl FnMut(CounterKey)) -> f64 {
    let mut turn = keys.iter().cycle().copied();
    let mut batch = || {
        let began = Instant::now();
        turn.by_ref().take(BATCH).for_each(&mut decide);
        began.elapsed().as_nanos() as f64 / BATCH as f64
    };
    let mut took: Vec<f64> = (0..BATCHES).map(|_| batch()).collect();
    took.sort_unstable_by(f64::total_cmp);
    took[BATCHES / 2]
}
