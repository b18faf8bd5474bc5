//! What a limit would have done to usage that was recorded.

use super::{QuotaRule, QuotaState, evaluate};

/// One window of a simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimulatedWindow {
    /// When it began, µs since 1970.
    pub from_us: i64,
    /// What was used in it, or the highest level.
    pub usage: i128,
    /// The highest state that usage came to.
    pub state: QuotaState,
    /// When the limit was reached.
    pub enforced_at_us: Option<i64>,
    /// What was used beyond.
    pub refused: i128,
}

/// All windows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Simulation {
    /// In order; those without usage too.
    pub windows: Vec<SimulatedWindow>,
}

impl Simulation {
    /// How many windows came to `state` or beyond.
    pub fn at_least(&self, state: QuotaState) -> usize {
        self.windows.iter().filter(|window| window.state >= state).count()
    }

    /// Everything beyond the limit.
    pub fn refused(&self) -> i128 {
        self.windows.iter().map(|window| window.refused).sum()
    }

    /// When the limit was first reached.
    pub fn first_enforced_us(&self) -> Option<i64> {
        self.windows.iter().find_map(|window| window.enforced_at_us)
    }
}

/// Runs `recorded` (instant and quantity, in the order of time) through windows that begin at `starts`. Quantities
/// add up within a window, or (for a rule of what exists) replace each other, and the level carries on.
pub fn simulate(
    rule: &QuotaRule,
    limit: Option<i128>,
    starts: &[i64],
    recorded: &[(i64, i128)],
) -> Simulation {
    let mut rest = recorded;
    let mut level = 0;
    let windows = starts.iter().enumerate().map(|(place, from_us)| {
        let until_us = starts.get(place + 1).copied().unwrap_or(i64::MAX);
        let ends = rest.partition_point(|(at_us, _)| *at_us < until_us);
        let (own, after) = rest.split_at(ends);
        rest = after;
        one_window(rule, limit, *from_us, own, &mut level)
    });
    Simulation { windows: windows.collect() }
}

fn one_window(
    rule: &QuotaRule,
    limit: Option<i128>,
    from_us: i64,
    recorded: &[(i64, i128)],
    level: &mut i128,
) -> SimulatedWindow {
    let is_level = rule.window.is_standing();
    let mut usage = if is_level { *level } else { 0 };
    let mut highest = usage;
    let reached = |usage: i128| rule.state(usage, limit) == QuotaState::Enforced;
    let mut enforced_at_us = (!recorded.is_empty() && is_level && reached(usage)).then_some(from_us);
    for (at_us, quantity) in recorded {
        usage = if is_level { *quantity } else { usage.saturating_add(*quantity) };
        highest = highest.max(usage);
        if enforced_at_us.is_none() && reached(usage) {
            enforced_at_us = Some(*at_us);
        }
    }
    *level = usage;
    let shown = if is_level { highest } else { usage };
    let state = evaluate(&super::Facts { usage: highest, reserved: 0, limit, quantity: 0 }, rule).state;
    let beyond = rule.ceiling(limit).map_or(0, |ceiling| (shown - ceiling).max(0));
    SimulatedWindow { from_us, usage: shown, state, enforced_at_us, refused: beyond }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_start_anew_and_levels_carry_on() {
        let counter = QuotaRule::of_meter("stamps_created");
        let found =
            simulate(&counter, Some(10), &[0, 100, 200], &[(1, 6), (50, 6), (100, 10), (150, 2), (199, 1)]);
        let shown: Vec<_> =
            found.windows.iter().map(|own| (own.usage, own.state, own.enforced_at_us, own.refused)).collect();
        assert_eq!(
            shown,
            [
                (12, QuotaState::Enforced, Some(50), 2),
                (13, QuotaState::Enforced, Some(100), 3),
                (0, QuotaState::Ok, None, 0)
            ]
        );
        assert_eq!(
            (found.refused(), found.first_enforced_us(), found.at_least(QuotaState::Warning)),
            (5, Some(50), 2)
        );

        let level = QuotaRule::of_meter("users");
        let found = simulate(&level, Some(10), &[0, 100, 200], &[(1, 9), (50, 3), (210, 10)]);
        let shown: Vec<_> = found.windows.iter().map(|own| (own.usage, own.state)).collect();
        assert_eq!(shown, [(9, QuotaState::Warning), (3, QuotaState::Ok), (10, QuotaState::Enforced)]);
        let none = simulate(&level, None, &[0], &[(1, 9)]);
        assert_eq!((none.refused(), none.at_least(QuotaState::Warning)), (0, 0));
    }
}
