//! What a new figure changes: the state, what is told, what is imposed and lifted. One pure step from what is
//! remembered of a quota to what is to be remembered, so that nothing is told twice and nothing imposed by accident.

use serde::{Deserialize, Serialize};

use super::evaluate::below;
use super::{QuotaMode, QuotaRule, QuotaState};

/// Usage must have been so many points below a threshold …
const REARM_POINTS: u8 = 5;
/// … for so long, before a standing quota tells of it again.
const REARM_US: i64 = 3_600_000_000;
/// A quota that can be reached many times a day tells so once in this time.
const REACHED_US: i64 = 24 * 3_600_000_000;
const HOUR_US: i64 = 3_600_000_000;

/// What a tenant's administrators are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Template {
    /// Above the first threshold.
    #[serde(rename = "quota_warning")]
    Warning,
    /// From the second threshold.
    #[serde(rename = "quota_alert")]
    Alert,
    /// At the limit.
    #[serde(rename = "quota_reached")]
    Reached,
    /// Free again.
    #[serde(rename = "quota_lifted")]
    Lifted,
}

impl Template {
    /// The name of the message.
    pub fn as_str(self) -> &'static str {
        match self {
            Template::Warning => "quota_warning",
            Template::Alert => "quota_alert",
            Template::Reached => "quota_reached",
            Template::Lifted => "quota_lifted",
        }
    }

    /// What is told of a state.
    pub fn of_state(state: QuotaState) -> Option<Template> {
        match state {
            QuotaState::Ok => None,
            QuotaState::Warning => Some(Template::Warning),
            QuotaState::Alert => Some(Template::Alert),
            QuotaState::Enforced => Some(Template::Reached),
        }
    }
}

/// What is remembered of a tenant's quota between two figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// When the window began that all this is about; µs since 1970.
    pub window_from_us: i64,
    /// Where usage stood.
    pub state: QuotaState,
    /// The highest state that was told in this window and is not armed again.
    pub told: QuotaState,
    /// How often it was armed again in this window.
    pub round: u32,
    /// Since when usage is clearly below what was told.
    pub below_since_us: Option<i64>,
    /// When it was last told that the limit is reached.
    pub reached_told_us: Option<i64>,
    /// When the limit was first reached, for grace by hours.
    pub excess_since_us: Option<i64>,
    /// Whether something is imposed for it.
    pub imposed: bool,
}

/// A new figure, and the rule it is seen under.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// Now, µs since 1970.
    pub now_us: i64,
    /// The quota's window that holds now.
    pub window_us: (i64, i64),
    /// Used in it, in units of 10⁻¹².
    pub usage: i128,
    /// The most that may be used.
    pub limit: Option<i128>,
    /// The rule.
    pub rule: &'a QuotaRule,
    /// Whether the figure is too old to act on.
    pub stale: bool,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What is to be remembered.
    pub standing: Standing,
    /// What is to be told.
    pub message: Option<Template>,
    /// The window that the message is about; µs since 1970.
    pub message_window_us: i64,
    /// When time alone may change something again.
    pub look_again_us: Option<i64>,
}

/// One step.
pub fn step(before: &Standing, seen: &Observation<'_>) -> Step {
    let idle = Step {
        standing: *before,
        message: None,
        message_window_us: before.window_from_us,
        look_again_us: None,
    };
    // Nothing is imposed or lifted on stale figures, and a window never opens again after a clock stepped back.
    if seen.stale || seen.window_us.0 < before.window_from_us {
        return idle;
    }
    let mut now = *before;
    if seen.window_us.0 > before.window_from_us {
        now = Standing {
            window_from_us: seen.window_us.0,
            reached_told_us: before.reached_told_us,
            imposed: before.imposed,
            ..Standing::default()
        };
    }
    now.state = seen.rule.state(seen.usage, seen.limit);
    let grace_ends_us = grace(&mut now, seen);
    let armed_us = rearm(&mut now, seen);
    now.imposed = seen.rule.stops()
        && now.state == QuotaState::Enforced
        && match (seen.rule.mode, grace_ends_us) {
            (QuotaMode::Grace, None) => false,
            (QuotaMode::Grace, Some(ends_us)) => ends_us <= seen.now_us,
            _ => true,
        };
    let (message, message_window_us) = match told(&mut now, seen) {
        None if before.imposed && !now.imposed => (Some(Template::Lifted), before.window_from_us),
        message => (message, now.window_from_us),
    };
    let waits = [grace_ends_us.filter(|_| !now.imposed && seen.rule.stops()), armed_us];
    let is_dull = now == Standing { window_from_us: now.window_from_us, ..Standing::default() };
    let turn_us = (!is_dull && seen.window_us.1 < i64::MAX).then_some(seen.window_us.1);
    let look_again_us = waits.into_iter().chain([turn_us]).flatten().filter(|at| *at > seen.now_us).min();
    Step { standing: now, message, message_window_us, look_again_us }
}

/// When grace ends; in the past if it has. `None` while the limit is not reached, or without grace.
fn grace(now: &mut Standing, seen: &Observation<'_>) -> Option<i64> {
    let limit = seen.limit?;
    if seen.rule.mode != QuotaMode::Grace || now.state != QuotaState::Enforced {
        return None;
    }
    let since_us = *now.excess_since_us.get_or_insert(seen.now_us);
    let beyond =
        |percent: u16| seen.usage.saturating_mul(100) >= limit.saturating_mul(100 + i128::from(percent));
    if seen.rule.grace_percent.is_some_and(beyond) {
        return Some(seen.now_us);
    }
    seen.rule.grace_hours.map(|hours| since_us + i64::from(hours) * HOUR_US)
}

/// Arms a standing quota again when usage has been clearly below what was told for long enough. Answers when that
/// will be, if usage stays.
fn rearm(now: &mut Standing, seen: &Observation<'_>) -> Option<i64> {
    let percent = match now.told {
        _ if !seen.rule.window.is_standing() => return None,
        QuotaState::Ok if now.excess_since_us.is_none() => return None,
        QuotaState::Ok | QuotaState::Enforced => 100,
        QuotaState::Alert => seen.rule.alert_percent,
        QuotaState::Warning => seen.rule.warning_percent,
    };
    let clear = seen.limit.is_none_or(|limit| below(seen.usage, limit, percent.saturating_sub(REARM_POINTS)));
    if !clear {
        now.below_since_us = None;
        return None;
    }
    let since_us = *now.below_since_us.get_or_insert(seen.now_us);
    if seen.now_us < since_us + REARM_US {
        return Some(since_us + REARM_US);
    }
    now.told = now.state.min(now.told);
    now.round += 1;
    now.excess_since_us = None;
    now.below_since_us = None;
    // It may be clear of the next lower threshold too, and that hour begins now.
    if now.told == QuotaState::Ok { None } else { rearm(now, seen) }
}

/// The highest state that was not told yet, if there is one and it may be told.
fn told(now: &mut Standing, seen: &Observation<'_>) -> Option<Template> {
    if now.state <= now.told {
        return None;
    }
    now.told = now.state;
    if now.state != QuotaState::Enforced {
        return Template::of_state(now.state);
    }
    let often = matches!(seen.rule.window, super::QuotaWindow::None | super::QuotaWindow::Hour);
    let too_soon = often && now.reached_told_us.is_some_and(|last| seen.now_us < last + REACHED_US);
    // Who has nothing and uses nothing is not told so.
    if too_soon || seen.usage <= 0 {
        return None;
    }
    now.reached_told_us = Some(seen.now_us);
    Some(Template::Reached)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::resources::{QuotaRuleDraft, QuotaWindow};

    const MINUTE: i64 = 60_000_000;

    /// A quota followed through figures: each is (minutes, usage).
    struct Story {
        rule: QuotaRule,
        limit: Option<i128>,
        standing: Standing,
        window: Box<dyn Fn(i64) -> (i64, i64)>,
        last: Option<Step>,
    }

    impl Story {
        fn of(meter: &str, draft: &str) -> Self {
            let draft: QuotaRuleDraft = serde_json::from_str(draft).expect("a draft");
            let rule = draft.rule(meter).expect("a rule");
            let window: Box<dyn Fn(i64) -> (i64, i64)> = match rule.window {
                QuotaWindow::None => Box::new(|_| (0, i64::MAX)),
                _ => Box::new(|now| {
                    (now / (1_440 * MINUTE) * 1_440 * MINUTE, (now / (1_440 * MINUTE) + 1) * 1_440 * MINUTE)
                }),
            };
            Story { rule, limit: Some(100), standing: Standing::default(), window, last: None }
        }

        fn at(&mut self, minute: i64, usage: i128) -> (Option<Template>, bool) {
            let now_us = minute * MINUTE;
            let window_us = (self.window)(now_us);
            let seen =
                Observation { now_us, window_us, usage, limit: self.limit, rule: &self.rule, stale: false };
            let step = step(&self.standing, &seen);
            self.standing = step.standing;
            self.last = Some(step);
            (step.message, step.standing.imposed)
        }
    }

    #[test]
    fn each_threshold_is_told_once_in_a_window_and_skipped_ones_only_by_the_highest() {
        let mut day = Story::of("stamps_created", "{}");
        let told: Vec<_> = [(1, 80), (2, 81), (3, 82), (4, 95), (5, 99), (6, 100), (7, 120)]
            .into_iter()
            .map(|(minute, usage)| day.at(minute, usage))
            .collect();
        assert_eq!(
            told,
            [
                (None, false),
                (Some(Template::Warning), false),
                (None, false),
                (Some(Template::Alert), false),
                (None, false),
                (Some(Template::Reached), true),
                (None, true)
            ]
        );
        assert_eq!(day.last.expect("a step").look_again_us, Some(1_440 * MINUTE), "when the window turns");
        assert_eq!(day.at(1_440, 0), (Some(Template::Lifted), false), "a new window");
        assert_eq!(day.last.expect("a step").message_window_us, 0, "is told of the old one");
        assert_eq!(day.at(1_441, 100), (Some(Template::Reached), true), "skipped ones tell the highest only");
        assert_eq!(day.at(100, 0), (None, true), "a clock that steps back opens no window again");
    }

    #[test]
    fn a_standing_quota_is_armed_again_after_an_hour_five_points_below() {
        let mut users = Story::of("users", "{}");
        assert_eq!(users.at(0, 85).0, Some(Template::Warning));
        assert_eq!(users.at(1, 76).0, None);
        assert_eq!(users.at(90, 85).0, None, "76 is not five points below 80");
        assert_eq!(users.at(91, 74).0, None);
        assert_eq!(users.last.expect("a step").look_again_us, Some(151 * MINUTE));
        assert_eq!(users.at(150, 85).0, None, "not for an hour");
        assert_eq!(users.at(151, 74).0, None);
        assert_eq!(users.at(211, 74).0, None);
        assert_eq!(users.standing.round, 1);
        assert_eq!(users.at(212, 85).0, Some(Template::Warning));

        assert_eq!(users.at(213, 100), (Some(Template::Reached), true));
        assert_eq!(users.at(214, 99), (Some(Template::Lifted), false), "under the limit is free");
        assert_eq!(users.at(215, 100), (None, true), "imposed at once, told once");
        assert_eq!(users.at(216, 50), (Some(Template::Lifted), false));
        assert_eq!(users.at(276, 50).0, None);
        assert_eq!(users.at(277, 100), (None, true), "reached is told once a day");
        users.at(278, 50);
        users.at(338, 50);
        assert_eq!(users.at(213 + 1_440, 100), (Some(Template::Reached), true), "a day later");
    }

    #[test]
    fn grace_is_over_by_percent_or_by_hours() {
        let mut percent = Story::of("transactions", r#"{"window":"none","mode":"grace","grace_percent":10}"#);
        assert_eq!(percent.at(0, 109), (Some(Template::Reached), false));
        assert_eq!(percent.at(1, 110), (None, true));
        assert_eq!(percent.at(2, 109), (Some(Template::Lifted), false));
        let mut hours = Story::of("transactions", r#"{"window":"none","mode":"grace","grace_hours":2}"#);
        assert_eq!(hours.at(0, 500), (Some(Template::Reached), false));
        assert_eq!(hours.last.expect("a step").look_again_us, Some(120 * MINUTE));
        assert!(!hours.at(60, 99).1);
        assert!(!hours.at(119, 100).1, "a dip does not begin the time anew");
        assert!(hours.at(120, 100).1);
    }

    #[test]
    fn soft_tells_and_stops_nobody_and_stale_figures_change_nothing() {
        let mut soft = Story::of("transactions", r#"{"mode":"soft"}"#);
        assert_eq!(soft.at(0, 1_000), (Some(Template::Reached), false));
        assert_eq!(soft.at(1_440, 0), (None, false), "nothing was imposed, so nothing is lifted");
        let story = Story::of("users", "{}");
        let before = Standing {
            imposed: true,
            state: QuotaState::Enforced,
            told: QuotaState::Enforced,
            ..Standing::default()
        };
        for usage in [0, 1_000] {
            let seen = Observation {
                now_us: 5,
                window_us: (0, i64::MAX),
                usage,
                limit: Some(1),
                rule: &story.rule,
                stale: true,
            };
            assert_eq!(step(&before, &seen).standing, before);
        }
    }

    #[test]
    fn who_has_nothing_is_stopped_without_a_word() {
        let mut none = Story::of("users", "{}");
        none.limit = Some(0);
        assert_eq!(none.at(0, 0), (None, true));
        none.limit = Some(5);
        assert!(!none.at(1, 0).1, "a larger tier frees at once");
        none.limit = None;
        assert_eq!(none.at(2, 1_000_000), (None, false));
    }

    proptest! {
        /// Whatever comes, in a window of a counter each threshold is told once at most, and what is imposed is
        /// exactly what the figure says.
        #[test]
        fn told_once_and_imposed_rightly(steps in proptest::collection::vec((0i64..300, 0i128..130), 1..80)) {
            let mut day = Story::of("stamps_created", "{}");
            let mut minute = 0;
            let mut seen = std::collections::BTreeSet::new();
            for (wait, usage) in steps {
                minute += wait;
                let (message, imposed) = day.at(minute, usage);
                prop_assert_eq!(imposed, usage >= 100);
                let window = day.last.expect("a step").message_window_us;
                if let Some(message) = message.filter(|message| *message != Template::Lifted) {
                    prop_assert!(seen.insert((window, message)), "{:?} twice", message);
                }
            }
        }

        /// Two messages of one kind for what exists have an hour clearly below between them.
        #[test]
        fn standing_quotas_do_not_repeat_themselves(steps in proptest::collection::vec((1i64..50, 0i128..130), 1..200)) {
            let mut users = Story::of("users", "{}");
            let (mut minute, mut last) = (0, std::collections::BTreeMap::new());
            for (wait, usage) in steps {
                minute += wait;
                if let (Some(message), _) = users.at(minute, usage) && message != Template::Lifted {
                    let before: Option<(i64, u32)> = last.insert(message, (minute, users.standing.round));
                    if let Some((then, round)) = before {
                        prop_assert!(minute - then >= 60 && users.standing.round > round);
                        prop_assert!(message != Template::Reached || minute - then >= 1_440);
                    }
                }
            }
        }
    }
}
