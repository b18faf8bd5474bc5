//! Passive health: a copy that fails again and again is asked no more for a growing time. Pure: the instant comes in.

/// Failures in a row that put a copy out.
const FAILURES: u32 = 5;
/// How long the first time, µs; doubled each time after.
const OUT_US: i64 = 10_000_000;
/// Longest time out, µs.
const OUT_MAX_US: i64 = 300_000_000;

/// What is known of one copy from how its requests ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    in_a_row: u32,
    times_out: u32,
    until_us: i64,
}

impl Health {
    /// Whether it is not to be asked now.
    pub fn is_out(&self, now_us: i64) -> bool {
        now_us < self.until_us
    }

    /// Until when it is not to be asked, µs; not now if that has passed.
    pub fn out_until_us(&self, now_us: i64) -> Option<i64> {
        self.is_out(now_us).then_some(self.until_us)
    }

    /// Failures since the last request that ended well.
    pub fn failures(&self) -> u32 {
        self.in_a_row
    }

    /// Times that it was put out since then.
    pub fn times_out(&self) -> u32 {
        self.times_out
    }

    /// A request ended well.
    pub fn succeeded(&mut self) {
        *self = Health::default();
    }

    /// A request failed. Back from being out, one more failure puts it out again, for longer.
    pub fn failed(&mut self, now_us: i64) {
        self.in_a_row += 1;
        if self.in_a_row >= FAILURES && !self.is_out(now_us) {
            let out_us = OUT_US.saturating_mul(1 << self.times_out.min(10)).min(OUT_MAX_US);
            self.until_us = now_us.saturating_add(out_us);
            self.times_out += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_in_a_row_put_it_out_for_a_growing_time() {
        let mut health = Health::default();
        (0..4).for_each(|_| health.failed(0));
        health.succeeded();
        (0..4).for_each(|_| health.failed(0));
        assert!(!health.is_out(0), "not in a row");
        let mut now_us = 0;
        for out_s in [10, 20, 40, 80, 160, 300, 300] {
            health.failed(now_us);
            let back_us = now_us + out_s * 1_000_000;
            assert!(health.is_out(back_us - 1) && !health.is_out(back_us), "{out_s} s");
            health.failed(now_us + 1);
            assert!(!health.is_out(back_us), "what was sent before changes nothing");
            now_us = back_us;
        }
        health.succeeded();
        assert_eq!(health, Health::default());
    }
}
