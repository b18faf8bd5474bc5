//! Where usage stands against a limit: the one function that says so, in both planes, in the API and in simulations.

use serde::{Deserialize, Serialize};

use super::{Action, QuotaMode, QuotaRule, Template};

/// Where usage stands against a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum QuotaState {
    /// Up to the first threshold (80 %).
    #[default]
    Ok,
    /// Above it.
    Warning,
    /// From the second threshold (95 %).
    Alert,
    /// From 100 %: nothing more.
    Enforced,
}

impl QuotaState {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            QuotaState::Ok => "ok",
            QuotaState::Warning => "warning",
            QuotaState::Alert => "alert",
            QuotaState::Enforced => "enforced",
        }
    }

    /// The state with this word.
    pub fn parse(word: &str) -> Option<Self> {
        use QuotaState::*;
        [Ok, Warning, Alert, Enforced].into_iter().find(|state| state.as_str() == word)
    }
}

/// The figures that an evaluation needs, in units of 10⁻¹².
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Used. May be negative, where corrections took more than there was.
    pub usage: i128,
    /// Promised and not used yet.
    pub reserved: i128,
    /// The most that may be used; `None` is unlimited.
    pub limit: Option<i128>,
    /// How much more is asked for.
    pub quantity: i128,
}

/// What follows from [`Facts`] under a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evaluation {
    /// Where usage stands.
    pub state: QuotaState,
    /// Limit − usage.
    pub available: Option<i128>,
    /// 100 · usage ÷ limit in hundredths, half away from zero; `None` for no limit and for a limit of 0.
    pub utilization_hundredths: Option<i128>,
    /// The first threshold's part of the limit, rounded half away from zero to a unit of 10⁻¹².
    pub warning_threshold: Option<i128>,
    /// Above the first threshold, compared exactly.
    pub is_near_limit: bool,
    /// Above the limit.
    pub is_over_limit: bool,
    /// Whether the quantity that is asked for would be admitted.
    pub would_allow: bool,
    /// What a tenant in this state has been told.
    pub message: Option<Template>,
    /// What is done to a tenant in this state. A rule of mode `grace` does it later.
    pub action: Option<Action>,
}

/// Evaluates `facts` under `rule`.
pub fn evaluate(facts: &Facts, rule: &QuotaRule) -> Evaluation {
    let Facts { usage, reserved, limit, quantity } = *facts;
    let taken = usage.saturating_add(reserved);
    let state = state(usage, limit, rule);
    let percent = i128::from(rule.warning_percent);
    Evaluation {
        state,
        available: limit.map(|limit| limit.saturating_sub(usage)),
        utilization_hundredths: limit.and_then(|limit| percentage(usage, limit)),
        warning_threshold: limit.map(|limit| divided(limit.saturating_mul(percent), 100)),
        is_near_limit: limit.is_some_and(|limit| above(usage, limit, rule.warning_percent)),
        is_over_limit: limit.is_some_and(|limit| usage > limit),
        would_allow: admits(taken, quantity, rule.ceiling(limit)),
        message: Template::of_state(state),
        action: (state == QuotaState::Enforced && rule.stops()).then_some(rule.action),
    }
}

/// The state alone.
fn state(usage: i128, limit: Option<i128>, rule: &QuotaRule) -> QuotaState {
    let Some(limit) = limit else { return QuotaState::Ok };
    match () {
        () if usage >= limit => QuotaState::Enforced,
        () if !below(usage, limit, rule.alert_percent) => QuotaState::Alert,
        () if above(usage, limit, rule.warning_percent) => QuotaState::Warning,
        () => QuotaState::Ok,
    }
}

impl QuotaRule {
    /// Where `usage` stands against `limit`.
    pub fn state(&self, usage: i128, limit: Option<i128>) -> QuotaState {
        state(usage, limit, self)
    }

    /// Whether anything is imposed by it at all.
    pub fn stops(&self) -> bool {
        self.mode != QuotaMode::Soft && self.action != Action::Notify
    }

    /// Up to where usage is admitted under `limit`; `None` is no end. What a `grace` by hours ends is imposed, not
    /// found here.
    pub fn ceiling(&self, limit: Option<i128>) -> Option<i128> {
        let limit = limit?;
        match (self.mode, self.grace_percent) {
            _ if !self.stops() => None,
            (QuotaMode::Grace, Some(more)) => {
                Some(limit.saturating_mul(100 + i128::from(more)).div_euclid(100))
            }
            (QuotaMode::Grace, None) => None,
            _ => Some(limit),
        }
    }
}

/// `usage` > `percent` of `limit`, exactly: quantities are below 10³², so their hundredfold fits.
pub(super) fn above(usage: i128, limit: i128, percent: u8) -> bool {
    usage.saturating_mul(100) > limit.saturating_mul(i128::from(percent))
}

/// `usage` < `percent` of `limit`.
pub(super) fn below(usage: i128, limit: i128, percent: u8) -> bool {
    usage.saturating_mul(100) < limit.saturating_mul(i128::from(percent))
}

/// Whether `wanted` more fits: exactly the limit is reached, one more is refused.
pub fn admits(used: i128, wanted: i128, limit: Option<i128>) -> bool {
    limit.is_none_or(|limit| used.saturating_add(wanted) <= limit)
}

/// 100 · used ÷ limit in hundredths, half away from zero; `None` for a limit of 0.
pub fn percentage(used: i128, limit: i128) -> Option<i128> {
    (limit != 0).then(|| divided(used.saturating_mul(10_000), limit))
}

/// Rounded half away from zero; `by` is positive.
fn divided(value: i128, by: i128) -> i128 {
    let (whole, rest) = (value / by, (value % by).unsigned_abs());
    if rest >= by.unsigned_abs() - rest { whole + value.signum() } else { whole }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metering::quantity::SCALE;
    use crate::metering::ratio::Ratio;
    use crate::resources::QuotaRuleDraft;

    fn rule(meter: &str) -> QuotaRule {
        QuotaRule::of_meter(meter)
    }

    fn facts(usage: i128, limit: Option<i128>) -> Facts {
        Facts { usage, reserved: 0, limit, quantity: SCALE }
    }

    /// One unit below, at and above 0, 80, 95 and 100 %: state, near, over, admitted, percentage.
    #[test]
    fn the_table_of_thresholds() {
        use QuotaState::*;
        let whole = 1_000 * SCALE;
        let ten_19 = 10_000_000_000_000_000_000 * SCALE;
        let table = [
            (-1, whole, Ok, false, false, true, "0.00"),
            (0, whole, Ok, false, false, true, "0.00"),
            (1, whole, Ok, false, false, true, "0.00"),
            (800 * SCALE - 1, whole, Ok, false, false, true, "80.00"),
            (800 * SCALE, whole, Ok, false, false, true, "80.00"),
            (800 * SCALE + 1, whole, Warning, true, false, true, "80.00"),
            (950 * SCALE - 1, whole, Warning, true, false, true, "95.00"),
            (950 * SCALE, whole, Alert, true, false, true, "95.00"),
            (950 * SCALE + 1, whole, Alert, true, false, true, "95.00"),
            (999 * SCALE, whole, Alert, true, false, true, "99.90"),
            (999 * SCALE + 1, whole, Alert, true, false, false, "99.90"),
            (1_000 * SCALE - 1, whole, Alert, true, false, false, "100.00"),
            (1_000 * SCALE, whole, Enforced, true, false, false, "100.00"),
            (1_000 * SCALE + 1, whole, Enforced, true, true, false, "100.00"),
            // L = 1 unit.
            (0, SCALE, Ok, false, false, true, "0.00"),
            (SCALE * 8 / 10, SCALE, Ok, false, false, false, "80.00"),
            (SCALE * 8 / 10 + 1, SCALE, Warning, true, false, false, "80.00"),
            (SCALE * 95 / 100, SCALE, Alert, true, false, false, "95.00"),
            (SCALE, SCALE, Enforced, true, false, false, "100.00"),
            // L = 10⁻¹², the smallest there is.
            (0, 1, Ok, false, false, false, "0.00"),
            (1, 1, Enforced, true, false, false, "100.00"),
            // L = 10¹⁹.
            (ten_19 / 10 * 8, ten_19, Ok, false, false, true, "80.00"),
            (ten_19 / 10 * 8 + 1, ten_19, Warning, true, false, true, "80.00"),
            (ten_19 / 100 * 95 - 1, ten_19, Warning, true, false, true, "95.00"),
            (ten_19 / 100 * 95, ten_19, Alert, true, false, true, "95.00"),
            (ten_19 - 1, ten_19, Alert, true, false, false, "100.00"),
            (ten_19, ten_19, Enforced, true, false, false, "100.00"),
            (ten_19 + 1, ten_19, Enforced, true, true, false, "100.00"),
        ];
        for (usage, limit, state, near, over, allows, percent) in table {
            let found = evaluate(&facts(usage, Some(limit)), &rule("stamps_created"));
            let shown = found.utilization_hundredths.map(|own| format!("{}.{:02}", own / 100, own % 100));
            assert_eq!(
                (found.state, found.is_near_limit, found.is_over_limit, found.would_allow, shown.as_deref()),
                (state, near, over, allows, Some(percent)),
                "{usage} of {limit}"
            );
            assert_eq!(found.available, Some(limit - usage));
            assert_eq!(found.message, Template::of_state(state));
            assert_eq!(found.action, (state == Enforced).then_some(Action::Refuse));
        }
    }

    #[test]
    fn nothing_allowed_and_everything_allowed() {
        let none = evaluate(&facts(0, Some(0)), &rule("users"));
        assert_eq!((none.state, none.is_over_limit, none.would_allow), (QuotaState::Enforced, false, false));
        assert_eq!((none.utilization_hundredths, none.warning_threshold), (None, Some(0)));
        assert_eq!(none.action, Some(Action::BlockCreation));
        assert!(evaluate(&facts(1, Some(0)), &rule("users")).is_over_limit);
        let asked_nothing = Facts { quantity: 0, ..facts(0, Some(0)) };
        assert!(evaluate(&asked_nothing, &rule("users")).would_allow, "0 of 0 is not more than 0");

        let all = evaluate(&facts(i128::MAX, None), &rule("users"));
        assert_eq!(
            all,
            Evaluation {
                state: QuotaState::Ok,
                available: None,
                utilization_hundredths: None,
                warning_threshold: None,
                is_near_limit: false,
                is_over_limit: false,
                would_allow: true,
                message: None,
                action: None
            }
        );
    }

    #[test]
    fn what_is_promised_counts_for_admission_and_not_for_the_state() {
        let of = |reserved, quantity| {
            evaluate(
                &Facts {
                    usage: 5 * SCALE,
                    reserved: reserved * SCALE,
                    limit: Some(10 * SCALE),
                    quantity: quantity * SCALE,
                },
                &rule("stamps_created"),
            )
        };
        assert!(of(3, 2).would_allow && !of(4, 2).would_allow);
        assert_eq!(of(5, 1).state, QuotaState::Ok);
    }

    #[test]
    fn soft_is_never_stopped_and_grace_later() {
        let draft = |text: &str| -> QuotaRule {
            let draft: QuotaRuleDraft = serde_json::from_str(text).expect("a draft");
            draft.rule("stamps_created").expect("a rule")
        };
        let soft = draft(r#"{"mode":"soft"}"#);
        let found = evaluate(&facts(2_000, Some(1_000)), &soft);
        assert_eq!((found.state, found.would_allow, found.action), (QuotaState::Enforced, true, None));
        let grace = draft(r#"{"mode":"grace","grace_percent":10}"#);
        let at = |usage| evaluate(&Facts { quantity: 1, ..facts(usage, Some(1_000)) }, &grace);
        assert!(at(1_099).would_allow && !at(1_100).would_allow);
        let hours = draft(r#"{"mode":"grace","grace_hours":24}"#);
        assert_eq!(hours.ceiling(Some(5)), None);
        let own = draft(r#"{"thresholds":[50,60]}"#);
        assert_eq!(own.state(51, Some(100)), QuotaState::Warning);
        assert_eq!(own.state(60, Some(100)), QuotaState::Alert);
        assert_eq!(evaluate(&facts(0, Some(100)), &own).warning_threshold, Some(50));
    }

    proptest! {
        /// The same by exact ratios, which cannot overflow.
        #[test]
        fn integers_agree_with_ratios(
            usage in -10i128.pow(32)..10i128.pow(32), limit in 0..10i128.pow(32), near in 0i128..3,
        ) {
            let rule = rule("stamps_created");
            for usage in [usage, limit * 8 / 10 + near - 1, limit * 95 / 100 + near - 1, limit + near - 1] {
                let ratio = |value: i128| Ratio::from_integer(value);
                let part = |percent: i128| ratio(limit) * Ratio::from_scaled(percent, 2);
                let expected = match () {
                    () if usage >= limit => QuotaState::Enforced,
                    () if ratio(usage) >= part(95) => QuotaState::Alert,
                    () if ratio(usage) > part(80) => QuotaState::Warning,
                    () => QuotaState::Ok,
                };
                prop_assert_eq!(rule.state(usage, Some(limit)), expected);
                let share = ratio(usage).checked_div(&ratio(limit));
                prop_assert_eq!(percentage(usage, limit), share.and_then(|share| share.round_scaled(4)));
            }
        }

        #[test]
        fn more_usage_never_stands_better(a in 0..10i128.pow(20), more in 0..10i128.pow(20), limit in 0..10i128.pow(20)) {
            let rule = rule("stamps_created");
            prop_assert!(rule.state(a, Some(limit)) <= rule.state(a + more, Some(limit)));
        }
    }
}
