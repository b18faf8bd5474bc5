//! What a quota says besides its limit: in which window it counts, what is done at 100 %, and how strictly.

use serde::{Deserialize, Serialize};

use super::QuotaWindow;

/// Whether usage adds up in a window, or goes up and down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaKind {
    /// Adds up.
    Counter,
    /// What exists.
    Level,
}

/// How strictly a limit is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum QuotaMode {
    /// At the limit nothing more.
    #[default]
    Hard,
    /// Told and billed, never stopped.
    Soft,
    /// Stopped some way above the limit, or some time after it was first reached.
    Grace,
}

impl QuotaMode {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            QuotaMode::Hard => "hard",
            QuotaMode::Soft => "soft",
            QuotaMode::Grace => "grace",
        }
    }
}

/// What is done to a tenant at 100 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing new is stored; what is there can be read and deleted.
    BlockWrites,
    /// One request in ten seconds.
    Throttle,
    /// Nothing new of this kind is made.
    BlockCreation,
    /// Requests that would use more are refused.
    Refuse,
    /// Only messages.
    Notify,
}

impl Action {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::BlockWrites => "block_writes",
            Action::Throttle => "throttle",
            Action::BlockCreation => "block_creation",
            Action::Refuse => "refuse",
            Action::Notify => "notify",
        }
    }

    /// The action with this word.
    pub fn parse(word: &str) -> Option<Self> {
        use Action::*;
        [BlockWrites, Throttle, BlockCreation, Refuse, Notify].into_iter().find(|own| own.as_str() == word)
    }

    /// The flag that services see when the action is in force for `meter`.
    pub fn flag(self, meter: &str) -> String {
        let noun = |meter: &str| meter.strip_suffix('s').unwrap_or(meter).to_owned();
        match self {
            Action::BlockWrites => "storage_writes_blocked".to_owned(),
            Action::Throttle => format!("{meter}_throttled"),
            Action::BlockCreation => format!("{}_creation_blocked", noun(meter)),
            Action::Refuse | Action::Notify => format!("{meter}_refused"),
        }
    }
}

/// Whose clock a quota's windows follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub enum RuleZone {
    /// UTC.
    #[default]
    #[serde(rename = "UTC")]
    Utc,
    /// The tenant's own.
    #[serde(rename = "tenant")]
    Tenant,
}

/// Where the level of a meter comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collector {
    /// `service.table`: a declared table, whose rows are counted in the tenant's own context.
    pub table: String,
    /// Which rows count, as a condition of SQL; all if absent.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

/// A rule as it is written down; what is absent is what the meter ships with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuotaRuleDraft {
    /// `none`, `hour`, `day`, `month` or `billing_period`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<QuotaWindow>,
    /// `hard`, `soft` or `grace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<QuotaMode>,
    /// At 100 %.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// `UTC` or `tenant`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<RuleZone>,
    /// Percentages of warning (above) and alert (from); rising, 1 to 99.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thresholds: Option<[u8; 2]>,
    /// Stopped so many per cent above the limit, 1 to 1,000; mode `grace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_percent: Option<u16>,
    /// Stopped so many hours after the limit was first reached, 1 to 8,784; mode `grace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_hours: Option<u16>,
    /// Where the level comes from, if not from the meter's usual source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collect: Option<Collector>,
}

/// What is wrong with a draft.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {detail}")]
pub struct RuleProblem {
    /// The field.
    pub field: &'static str,
    /// What would be right.
    pub detail: &'static str,
}

/// A rule that holds together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaRule {
    /// When usage counts from nothing again.
    pub window: QuotaWindow,
    /// How strictly.
    pub mode: QuotaMode,
    /// What is done.
    pub action: Action,
    /// Whose clock.
    pub zone: RuleZone,
    /// Warned above this percentage.
    pub warning_percent: u8,
    /// Alerted from this percentage.
    pub alert_percent: u8,
    /// Of mode `grace`.
    pub grace_percent: Option<u16>,
    /// Of mode `grace`.
    pub grace_hours: Option<u16>,
    /// What services see when it is in force.
    pub flag: Box<str>,
    /// A table whose rows are the level.
    pub collect: Option<Collector>,
}

impl QuotaRule {
    /// What the meter ships with.
    pub fn of_meter(meter: &str) -> QuotaRule {
        QuotaRuleDraft::default().rule(meter).expect("what is shipped holds together")
    }

    /// Whether usage adds up or is what exists.
    pub fn kind(&self) -> QuotaKind {
        if self.window.is_standing() { QuotaKind::Level } else { QuotaKind::Counter }
    }
}

fn shipped_action(meter: &str) -> Action {
    match meter {
        "storage_gb" => Action::BlockWrites,
        "api_calls" => Action::Throttle,
        "users" | "locations" => Action::BlockCreation,
        _ => Action::Refuse,
    }
}

impl QuotaRuleDraft {
    /// The rule for `meter`.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn rule(&self, meter: &str) -> Result<QuotaRule, RuleProblem> {
        let wrong = |field, detail| Err(RuleProblem { field, detail });
        let [warning_percent, alert_percent] = self.thresholds.unwrap_or([80, 95]);
        if !(1..=99).contains(&warning_percent) || alert_percent > 99 || warning_percent >= alert_percent {
            return wrong("thresholds", "two rising percentages from 1 to 99");
        }
        let mode = self.mode.unwrap_or_default();
        let has_grace = self.grace_percent.is_some() || self.grace_hours.is_some();
        if has_grace != (mode == QuotaMode::Grace) {
            return wrong(
                "mode",
                "`grace` has `grace_percent`, `grace_hours` or both; no other mode has them",
            );
        }
        if self.grace_percent.is_some_and(|percent| !(1..=1_000).contains(&percent)) {
            return wrong("grace_percent", "1 to 1,000");
        }
        if self.grace_hours.is_some_and(|hours| !(1..=8_784).contains(&hours)) {
            return wrong("grace_hours", "1 to 8,784");
        }
        let window = self.window.unwrap_or(QuotaWindow::of_meter(meter));
        if self.collect.is_some() && !window.is_standing() {
            return wrong("collect", "only of what exists now: `window = \"none\"`");
        }
        if self.collect.as_ref().is_some_and(|collect| !collect.is_plain()) {
            return wrong(
                "collect",
                "`table` is `service.table`; `where` is one condition without `;` and comments",
            );
        }
        let action = self.action.unwrap_or(shipped_action(meter));
        Ok(QuotaRule {
            window,
            mode,
            action,
            zone: self.time_zone.unwrap_or_default(),
            warning_percent,
            alert_percent,
            grace_percent: self.grace_percent,
            grace_hours: self.grace_hours,
            flag: action.flag(meter).into_boxed_str(),
            collect: self.collect.clone(),
        })
    }
}

impl Collector {
    /// The service and the table.
    pub fn names(&self) -> Option<(&str, &str)> {
        let (service, table) = self.table.split_once('.')?;
        let is_name = |name: &str| {
            (1..=63).contains(&name.len())
                && name.starts_with(|first: char| first.is_ascii_lowercase())
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        let is_service = |name: &str| !name.is_empty() && name.split('-').all(is_name);
        (is_service(service) && is_name(table)).then_some((service, table))
    }

    /// Names are names, and the condition cannot end its brackets: they are balanced outside of quoted text, and
    /// there is no comment and no further statement. What it reads is bounded by the tenant's own context, in which
    /// it runs read-only.
    fn is_plain(&self) -> bool {
        self.names().is_some() && self.condition.as_deref().is_none_or(is_one_condition)
    }
}

fn is_one_condition(text: &str) -> bool {
    let mut depth = 0_i32;
    let mut quote = None;
    for letter in text.chars() {
        match (quote, letter) {
            (Some(open), letter) if open == letter => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(letter),
            (None, '(') => depth += 1,
            (None, ')') => depth -= 1,
            (None, ';' | '\\' | '$' | '\0') => return false,
            _ => {}
        }
        if depth < 0 {
            return false;
        }
    }
    let is_short = (1..=1_000).contains(&text.len()) && !text.trim().is_empty();
    is_short
        && depth == 0
        && quote.is_none()
        && !text.contains("--")
        && !text.contains("/*")
        && !text.contains('\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_meters_have_their_action_and_flag() {
        let table = [
            ("storage_gb", QuotaWindow::None, Action::BlockWrites, "storage_writes_blocked"),
            ("api_calls", QuotaWindow::Month, Action::Throttle, "api_calls_throttled"),
            ("users", QuotaWindow::None, Action::BlockCreation, "user_creation_blocked"),
            ("locations", QuotaWindow::None, Action::BlockCreation, "location_creation_blocked"),
            ("stamps_created", QuotaWindow::Day, Action::Refuse, "stamps_created_refused"),
            ("transactions", QuotaWindow::Month, Action::Refuse, "transactions_refused"),
            ("flights", QuotaWindow::Month, Action::Refuse, "flights_refused"),
        ];
        for (meter, window, action, flag) in table {
            let rule = QuotaRule::of_meter(meter);
            assert_eq!((rule.window, rule.action, &*rule.flag), (window, action, flag), "{meter}");
            assert_eq!((rule.warning_percent, rule.alert_percent, rule.mode), (80, 95, QuotaMode::Hard));
        }
    }

    #[test]
    fn drafts_that_do_not_hold_together_are_told_apart() {
        let field = |text: &str| {
            let draft: QuotaRuleDraft = serde_json::from_str(text).expect("a draft");
            draft.rule("locations").err().map(|problem| problem.field)
        };
        for (text, expected) in [
            (r#"{}"#, None),
            (r#"{"thresholds":[50,99]}"#, None),
            (r#"{"thresholds":[0,95]}"#, Some("thresholds")),
            (r#"{"thresholds":[95,95]}"#, Some("thresholds")),
            (r#"{"thresholds":[80,100]}"#, Some("thresholds")),
            (r#"{"mode":"grace"}"#, Some("mode")),
            (r#"{"grace_hours":1}"#, Some("mode")),
            (r#"{"mode":"grace","grace_hours":0}"#, Some("grace_hours")),
            (r#"{"mode":"grace","grace_percent":2000}"#, Some("grace_percent")),
            (r#"{"collect":{"table":"parking.locations","where":"closed_at IS NULL"}}"#, None),
            (r#"{"collect":{"table":"car-park.locations"}}"#, None),
            (r#"{"collect":{"table":"locations"}}"#, Some("collect")),
            (r#"{"collect":{"table":"a.b.c"}}"#, Some("collect")),
            (r#"{"window":"day","collect":{"table":"a.b"}}"#, Some("collect")),
        ] {
            assert_eq!(field(text), expected, "{text}");
        }
        assert!(serde_json::from_str::<QuotaRuleDraft>(r#"{"wndow":"day"}"#).is_err());
    }

    #[test]
    fn a_condition_cannot_leave_its_brackets() {
        for good in ["closed_at IS NULL", "kind IN ('a', 'b;--c')", "(a OR b) AND name = 'it''s'"] {
            assert_eq!(is_one_condition(good), !good.contains("--"), "{good}");
        }
        for bad in
            ["", " ", "true) OR (true", "a; DROP TABLE x", "a -- b", "a /* b", "a = 'b", "$$", "e'\\''", "(a"]
        {
            assert!(!is_one_condition(bad), "{bad}");
        }
    }
}
