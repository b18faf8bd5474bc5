//! The token bucket, as a debt that drains: allow while debt + cost fits the burst. No float, no rounding.
//!
//! Time is in *ticks*: the finest of 1 µs, 1 ms, 1 s for which every product stays within 2⁵², so that the
//! same numbers fit an `i64` here and a double in Lua.

/// A bucket that admits `quota` units per window on average and `burst` at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    quota: i64,
    window: i64,
    burst: i64,
    tick_us: i64,
}

/// How full a bucket is: `debt` (units × window ticks) at `at` (ticks since 1970). Default: empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BucketState {
    /// Ticks since 1970.
    pub at: i64,
    /// Used units × window ticks, not yet drained.
    pub debt: i64,
}

/// The outcome for one request. Times are in µs, rounded up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the cost fits.
    pub allowed: bool,
    /// Whole units left (after charging, when allowed).
    pub remaining: i64,
    /// When this cost fits if nobody else comes; 0 when allowed, `None` for never.
    pub retry_after_us: Option<i64>,
    /// When the bucket is full again.
    pub reset_after_us: i64,
    /// The state to store when the charge is made (or, when refused, the clock moved on).
    pub next: BucketState,
}

/// Products must stay exact in a double.
const EXACT: i128 = 1 << 52;

impl Bucket {
    /// `quota` 1..1e9 units per `window_ms` 1..31 d; `burst` 1..1e9. `None` if out of bounds, if a full refill
    /// takes longer than 366 days, or if no tick fits.
    pub fn new(quota: i64, window_ms: i64, burst: i64) -> Option<Self> {
        let bounds = 1..=1_000_000_000;
        let in_bounds =
            bounds.contains(&quota) && bounds.contains(&burst) && (1..=2_678_400_000).contains(&window_ms);
        if !in_bounds || i128::from(burst) * i128::from(window_ms) > i128::from(quota) * 366 * 86_400_000 {
            return None;
        }
        [1, 1_000, 1_000_000].into_iter().find_map(|tick_us| {
            let window_us = window_ms * 1_000;
            let window = window_us / tick_us;
            let fits = 2 * i128::from(quota.max(burst)) * i128::from(window) <= EXACT;
            (window_us % tick_us == 0 && fits).then_some(Bucket { quota, window, burst, tick_us })
        })
    }

    /// Units at once.
    pub fn burst(&self) -> i64 {
        self.burst
    }

    /// Units per window.
    pub fn quota(&self) -> i64 {
        self.quota
    }

    /// Length of a tick of [`BucketState`], in µs.
    pub fn tick_us(&self) -> i64 {
        self.tick_us
    }

    /// The state after `cost` units were given back; never above full.
    pub fn refunded(&self, state: BucketState, cost: i64) -> BucketState {
        let given = cost.clamp(0, self.burst) * self.window;
        BucketState { at: state.at, debt: (state.debt - given).max(0) }
    }

    /// Window for `RateLimit-Policy` in whole seconds: the time in which `burst` units come back.
    pub fn announced_window_s(&self) -> i64 {
        let us = i128::from(self.burst) * i128::from(self.window) * i128::from(self.tick_us);
        let unit = i128::from(self.quota) * 1_000_000;
        ((us + unit - 1) / unit) as i64
    }

    /// Decides `cost` units at `now_us`. Pure: the caller stores `next` or not. If the clock went back,
    /// nothing drains and the state takes the new time.
    pub fn decide(&self, state: BucketState, now_us: i64, cost: i64) -> Verdict {
        let now = now_us.div_euclid(self.tick_us);
        let debt = self.drained(state, now);
        let full = self.burst * self.window;
        let wanted = debt + cost.min(self.burst + 1) * self.window;
        let allowed = wanted <= full && cost <= self.burst;
        let after = if allowed { wanted } else { debt };
        Verdict {
            allowed,
            remaining: (full - after) / self.window,
            retry_after_us: match (allowed, cost > self.burst) {
                (true, _) => Some(0),
                (false, true) => None,
                (false, false) => Some(self.ticks_for(wanted - full)),
            },
            reset_after_us: self.ticks_for(after),
            next: BucketState { at: now, debt: after },
        }
    }

    fn drained(&self, state: BucketState, now: i64) -> i64 {
        let refill = divide_up(state.debt, self.quota);
        let elapsed = (now - state.at).clamp(0, refill);
        (state.debt - self.quota * elapsed).max(0)
    }

    fn ticks_for(&self, debt: i64) -> i64 {
        divide_up(debt, self.quota) * self.tick_us
    }
}

fn divide_up(value: i64, by: i64) -> i64 {
    value.div_euclid(by) + i64::from(value.rem_euclid(by) != 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The published example: 10 per second, burst 3.
    #[test]
    fn published_sequence() {
        let bucket = Bucket::new(10, 1000, 3).expect("in bounds");
        let mut state = BucketState::default();
        let rows = [
            (0, 1, true, 2, Some(0), 100),
            (0, 2, true, 0, Some(0), 300),
            (0, 1, false, 0, Some(100), 300),
            (100, 1, true, 0, Some(0), 300),
            (150, 0, true, 0, Some(0), 250),
            (150, 4, false, 0, None, 250),
            (1000, 3, true, 0, Some(0), 300),
        ];
        for (at_ms, cost, allowed, remaining, retry_ms, reset_ms) in rows {
            let verdict = bucket.decide(state, at_ms * 1000, cost);
            let told = (verdict.allowed, verdict.remaining, verdict.retry_after_us, verdict.reset_after_us);
            let expected = (allowed, remaining, retry_ms.map(|ms: i64| ms * 1000), reset_ms * 1000);
            assert_eq!(told, expected, "at {at_ms} ms, cost {cost}");
            state = verdict.next;
        }
    }

    #[test]
    fn numbers_out_of_bounds() {
        assert!(Bucket::new(0, 1000, 1).is_none() && Bucket::new(1, 0, 1).is_none());
        assert!(Bucket::new(1, 86_400_000, 367).is_none(), "a refill of more than 366 days");
        assert!(Bucket::new(1_000_000_000, 2_678_400_000, 1_000_000_000).is_none(), "no tick fits");
        assert!(Bucket::new(500_000_000, 2_678_400_000, 500_000_000).is_some(), "falls back to seconds");
    }

    proptest! {
        #[test]
        fn never_more_than_burst_plus_rate_and_refused_charges_nothing(
            quota in 1i64..1000, burst in 1i64..1000,
            steps in proptest::collection::vec((0i64..500_000, 0i64..20), 1..60),
        ) {
            let bucket = Bucket::new(quota, 1000, burst).expect("in bounds");
            let (mut state, mut now, mut admitted) = (BucketState::default(), 0i64, 0i64);
            for (wait, cost) in steps {
                now += wait;
                let before = bucket.decide(state, now, 0).remaining;
                let verdict = bucket.decide(state, now, cost);
                prop_assert!(verdict.remaining >= 0 && verdict.remaining <= burst);
                if verdict.allowed {
                    admitted += cost;
                    state = verdict.next;
                } else {
                    prop_assert_eq!(verdict.remaining, before);
                    if let Some(retry) = verdict.retry_after_us {
                        prop_assert!(retry > 0);
                        prop_assert!(bucket.decide(state, now + retry, cost).allowed, "told time is enough");
                    }
                }
            }
            prop_assert!(i128::from(admitted) * 1_000_000 <= i128::from(burst) * 1_000_000 + i128::from(quota) * i128::from(now));
        }
    }
}
