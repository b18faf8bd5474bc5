//! The four algorithms, in integers only: no float, no rounding before a comparison.
//!
//! Time is in *ticks*: the finest of 1 µs, 1 ms, 1 s that divides the window and for which every product stays within
//! 2⁵², so that the same numbers fit an `i64` here and a double in Lua.

use serde::{Deserialize, Serialize};

/// How a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// `burst` at once, `quota` per window on average: a debt that drains.
    TokenBucket,
    /// The same numbers, told as a queue: a request knows how long those before it take.
    LeakyBucket,
    /// Two counters; the previous window counts by the share of it that is still in view.
    SlidingWindow,
    /// One counter per window.
    FixedWindow,
}

impl Algorithm {
    /// Whether it is a debt that drains.
    pub fn is_bucket(self) -> bool {
        matches!(self, Algorithm::TokenBucket | Algorithm::LeakyBucket)
    }

    /// The word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::TokenBucket => "token_bucket",
            Algorithm::LeakyBucket => "leaky_bucket",
            Algorithm::SlidingWindow => "sliding_window",
            Algorithm::FixedWindow => "fixed_window",
        }
    }
}

/// An algorithm with numbers that fit it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rule {
    algorithm: Algorithm,
    quota: i64,
    /// In ticks.
    window: i64,
    /// `quota` for windows.
    burst: i64,
    tick_us: i64,
}

/// How a counter stands. The default is one that nobody has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct State {
    /// Buckets: ticks since 1970. Windows: the number of the window since 1970.
    pub at: i64,
    /// Buckets: used units × window ticks, not yet drained. Windows: units used in the window.
    pub used: i64,
    /// Sliding windows: units used in the window before.
    pub before: i64,
    /// The window it was counted with, in ticks; 0 if nobody has used it, or if it is known to be the same.
    pub window: i64,
}

/// The outcome for one request. Times are in µs, rounded up to ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the cost fits.
    pub allowed: bool,
    /// Whole units left (after charging, when allowed).
    pub remaining: i64,
    /// When this cost fits if nobody else comes; 0 when allowed, `None` for never.
    pub retry_after_us: Option<i64>,
    /// When the counter is as new again, or its window ends.
    pub reset_after_us: i64,
    /// Leaky buckets: how long those before take; else 0.
    pub delay_us: i64,
    /// The state to store when the charge is made (or, when refused, the clock moved on).
    pub next: State,
}

/// Numbers for which no rule can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadNumbers {
    /// One is out of its bounds.
    #[error("{name} is {value}; it can be {least} to {most}")]
    OutOfBounds {
        /// Which.
        name: &'static str,
        /// What it is.
        value: i64,
        /// Its lower bound.
        least: i64,
        /// Its upper bound.
        most: i64,
    },
    /// It would take too long until a used bucket is full again.
    #[error("a burst of {burst} takes more than 366 days to come back at {quota} per {window_ms} ms")]
    TooSlow {
        /// Units per window.
        quota: i64,
        /// Units at once.
        burst: i64,
        /// Window.
        window_ms: i64,
    },
    /// The numbers are too large for the window to be counted exactly.
    #[error(
        "{most} units in {window_ms} ms cannot be counted exactly: choose a window of whole seconds or fewer units"
    )]
    TooFine {
        /// The larger of quota and burst.
        most: i64,
        /// Window.
        window_ms: i64,
    },
}

/// Products must stay exact in a double.
const EXACT: i128 = 1 << 52;
/// Most units.
const UNITS_MAX: i64 = 1_000_000_000;
/// Longest window: 31 days.
const WINDOW_MS_MAX: i64 = 2_678_400_000;

impl Rule {
    /// `quota` units per `window_ms`; `burst` units at once for buckets, ignored for windows.
    pub fn new(
        algorithm: Algorithm,
        quota: i64,
        window_ms: i64,
        burst: Option<i64>,
    ) -> Result<Self, BadNumbers> {
        let burst = burst.filter(|_| algorithm.is_bucket()).unwrap_or(quota);
        for (name, value, most) in [
            ("quota", quota, UNITS_MAX),
            ("window_ms", window_ms, WINDOW_MS_MAX),
            ("burst", burst, UNITS_MAX),
        ] {
            if !(1..=most).contains(&value) {
                return Err(BadNumbers::OutOfBounds { name, value, least: 1, most });
            }
        }
        if i128::from(burst) * i128::from(window_ms) > i128::from(quota) * 366 * 86_400_000 {
            return Err(BadNumbers::TooSlow { quota, burst, window_ms });
        }
        let most = quota.max(burst);
        let window_us = window_ms * 1_000;
        let ticks = [1, 1_000, 1_000_000].into_iter();
        let fitting = ticks.filter(|tick_us| window_us % tick_us == 0).find_map(|tick_us| {
            let window = window_us / tick_us;
            (2 * i128::from(most) * i128::from(window) <= EXACT).then_some(Rule {
                algorithm,
                quota,
                window,
                burst,
                tick_us,
            })
        });
        fitting.ok_or(BadNumbers::TooFine { most, window_ms })
    }

    /// How it counts.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Units per window.
    pub fn quota(&self) -> i64 {
        self.quota
    }

    /// Units that can be used at once when nobody has used any: the burst of a bucket, else the quota.
    pub fn most(&self) -> i64 {
        self.burst
    }

    /// Length of a tick of [`State::at`] in buckets, in µs.
    pub fn tick_us(&self) -> i64 {
        self.tick_us
    }

    /// One of `count` equal shares of it, at least one unit; ticks and window stay, so that a state fits both.
    pub fn shared_among(self, count: i64) -> Self {
        let share = |units: i64| (units / count.max(1)).max(1);
        Rule { quota: share(self.quota), burst: share(self.burst), ..self }
    }

    /// A state in which `remaining` units are left at `now_us`, as near as units tell.
    pub fn with_remaining(&self, remaining: i64, now_us: i64) -> State {
        let now = now_us.div_euclid(self.tick_us);
        let used = (self.burst - remaining).max(0);
        match self.algorithm.is_bucket() {
            true => State { at: now, used: used * self.window, before: 0, window: self.window },
            false => State { at: now.div_euclid(self.window), used, before: 0, window: self.window },
        }
    }

    /// When a counter with `remaining` units is as new, if nobody else comes; µs. Windows end when they end.
    pub fn reset_after_us(&self, remaining: i64, now_us: i64) -> i64 {
        let now = now_us.div_euclid(self.tick_us);
        match self.algorithm.is_bucket() {
            true => divide_up((self.burst - remaining).max(0) * self.window, self.quota) * self.tick_us,
            false => (self.window - now.rem_euclid(self.window)) * self.tick_us,
        }
    }

    /// The window in ticks.
    pub fn window(&self) -> i64 {
        self.window
    }

    /// Units and whole seconds for `RateLimit-Policy`: a bucket announces its burst and the time in which that comes
    /// back, so that what remains is never more than it.
    pub fn announced(&self) -> (i64, i64) {
        let ticks = match self.algorithm.is_bucket() {
            true => i128::from(self.burst) * i128::from(self.window),
            false => i128::from(self.window) * i128::from(self.quota),
        };
        let us = ticks * i128::from(self.tick_us);
        let unit = i128::from(self.quota) * 1_000_000;
        (self.burst, ((us + unit - 1) / unit) as i64)
    }

    /// Decides `cost` units at `now_us`. A cost of 0 looks, and is refused only in debt. If the clock went back, nothing
    /// drains or expires, and the state takes the new time.
    pub fn decide(&self, state: State, now_us: i64, cost: i64) -> Verdict {
        let now = self.ticks(now_us);
        let state = self.fitted(state, now);
        match self.algorithm {
            Algorithm::TokenBucket | Algorithm::LeakyBucket => self.decide_bucket(state, now, cost),
            Algorithm::FixedWindow => self.decide_fixed(state, now, cost),
            Algorithm::SlidingWindow => self.decide_sliding(state, now, cost),
        }
    }

    /// The state after `cost` units were given back; never above full.
    pub fn refunded(&self, state: State, cost: i64) -> State {
        let unit = if self.algorithm.is_bucket() { self.window } else { 1 };
        State { used: (state.used - cost.clamp(0, self.burst) * unit).max(0), ..state }
    }

    /// Whole ticks. Dividing by what the compiler knows takes a tenth of the time.
    fn ticks(&self, us: i64) -> i64 {
        match self.tick_us {
            1 => us,
            1_000 => us.div_euclid(1_000),
            1_000_000 => us.div_euclid(1_000_000),
            tick_us => us.div_euclid(tick_us),
        }
    }

    /// A state that was counted with another window, in this one's: units that were used stay used.
    fn fitted(&self, state: State, now: i64) -> State {
        if state.window == 0 || state.window == self.window {
            return state;
        }
        if self.algorithm.is_bucket() {
            let units = (state.used / state.window).min(self.burst);
            return State { used: units * self.window, window: self.window, ..state };
        }
        let current = now.div_euclid(state.window) <= state.at;
        let used = if current { state.used } else { 0 };
        State { at: now.div_euclid(self.window), used, before: 0, window: self.window }
    }

    fn decide_bucket(&self, state: State, now: i64, cost: i64) -> Verdict {
        let drained = self.quota.saturating_mul((now - state.at).max(0));
        let debt = (state.used - drained).max(0);
        let full = self.burst * self.window;
        let wanted = debt + cost.min(self.burst + 1) * self.window;
        let allowed = wanted <= full && cost <= self.burst;
        let after = if allowed { wanted } else { debt };
        let ticks = |debt: i64| divide_up(debt, self.quota) * self.tick_us;
        Verdict {
            allowed,
            remaining: ((full - after) / self.window).max(0),
            retry_after_us: self.retry(allowed, cost, || ticks(wanted - full)),
            reset_after_us: ticks(after),
            delay_us: if self.algorithm == Algorithm::LeakyBucket { ticks(debt) } else { 0 },
            next: State { at: now, used: after, before: 0, window: self.window },
        }
    }

    fn decide_fixed(&self, state: State, now: i64, cost: i64) -> Verdict {
        let number = now.div_euclid(self.window);
        let used = if number > state.at { 0 } else { state.used };
        let allowed = used + cost <= self.quota;
        let after = if allowed { used + cost } else { used };
        let reset_after_us = ((number + 1) * self.window - now) * self.tick_us;
        Verdict {
            allowed,
            remaining: (self.quota - after).max(0),
            retry_after_us: self.retry(allowed, cost, || reset_after_us),
            reset_after_us,
            delay_us: 0,
            next: State { at: number, used: after, before: 0, window: self.window },
        }
    }

    fn decide_sliding(&self, state: State, now: i64, cost: i64) -> Verdict {
        let number = now.div_euclid(self.window);
        let (used, before) = match number - state.at {
            ..=0 => (state.used, state.before),
            1 => (0, state.used),
            _ => (0, 0),
        };
        let (quota, window) = (self.quota, self.window);
        let passed = now - number * window;
        let in_view = before * (window - passed);
        let fitting = |cost: i64| cost <= quota && in_view + (used + cost) * window <= quota * window;
        let allowed = fitting(cost);
        let after = if allowed { used + cost } else { used };
        let left = window - passed;
        let retry = || match used + cost <= quota {
            true => window - (quota - used - cost) * window / before.max(1) - passed,
            false => left + (window - (quota - cost) * window / used.max(1)).max(0),
        };
        Verdict {
            allowed,
            remaining: ((quota * window - after * window - in_view).div_euclid(window)).max(0),
            retry_after_us: self.retry(allowed, cost, || retry() * self.tick_us),
            reset_after_us: left * self.tick_us,
            delay_us: 0,
            next: State { at: number, used: after, before, window },
        }
    }

    fn retry(&self, allowed: bool, cost: i64, wait_us: impl FnOnce() -> i64) -> Option<i64> {
        match (allowed, cost > self.burst) {
            (true, _) => Some(0),
            (false, true) => None,
            (false, false) => Some(wait_us()),
        }
    }
}

fn divide_up(value: i64, by: i64) -> i64 {
    value.div_euclid(by) + i64::from(value.rem_euclid(by) != 0)
}

#[cfg(test)]
#[path = "rule_tests.rs"]
mod tests;
