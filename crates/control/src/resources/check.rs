//! Where a tenant stands against one quota, as it is shown.

use jiff::{Timestamp, ToSpan};
use rowhouse_domain::directory::Quota;
use rowhouse_domain::metering::quantity::Quantity;
use rowhouse_domain::resources::{Action, Facts, QuotaMode, QuotaState, evaluate, exhaustion};
use serde::Serialize;
use utoipa::ToSchema;

use super::agreed::QuotaSource;
use super::assess::quantity;
use super::enforcement::Enforcement;

/// A tenant's standing against one quota. Quantities are decimal strings; without a limit, everything that is
/// measured against it is `null`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct QuotaCheck {
    /// The meter.
    pub resource_type: String,
    /// What it is counted in.
    pub unit: String,
    /// `hour`, `day`, `month` or `billing_period`; `null` for what exists now.
    pub window: Option<&'static str>,
    /// When usage counts from nothing again.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub window_ends_at: Option<Timestamp>,
    /// Used in the window.
    #[schema(value_type = String)]
    pub current_usage: Quantity,
    /// Promised outside of gateways and not used yet.
    #[schema(value_type = String)]
    pub reserved: Quantity,
    /// The most that may be used; `null` is unlimited.
    #[schema(value_type = Option<String>)]
    pub limit: Option<Quantity>,
    /// Whether the limit is the tier's or an override.
    pub limit_from: QuotaSource,
    /// What is left; negative when more was used.
    #[schema(value_type = Option<String>)]
    pub available: Option<Quantity>,
    /// Two digits, half away from zero; `null` for a limit of 0.
    pub utilization_percentage: Option<String>,
    /// Whether more than the limit was used.
    pub is_over_limit: bool,
    /// The first threshold's part of the limit.
    #[schema(value_type = Option<String>)]
    pub warning_threshold: Option<Quantity>,
    /// Whether more than that was used.
    pub is_near_limit: bool,
    /// `ok`, `warning`, `alert` or `enforced`.
    #[schema(value_type = String)]
    pub state: QuotaState,
    /// `hard`, `soft` or `grace`.
    #[schema(value_type = String)]
    pub mode: QuotaMode,
    /// How much more was asked about.
    #[schema(value_type = String)]
    pub quantity: Quantity,
    /// Whether that would be admitted now.
    pub would_allow: bool,
    /// What is in force for the meter.
    pub enforcement: Option<EnforcementShown>,
    /// When the limit is reached at the pace of the last seven closed days; `null` when usage is flat or falls.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub projected_exhaustion_at: Option<Timestamp>,
    /// When the level was measured; `null` for what is counted as it happens.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub sampled_at: Option<Timestamp>,
    /// Whether measuring has failed for so long that nothing is imposed or lifted by it.
    pub stale: bool,
}

/// What is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct EnforcementShown {
    /// `block_writes`, `throttle`, `block_creation`, `refuse` or `notify`.
    #[schema(value_type = String)]
    pub action: Action,
    /// What services see.
    pub flag: String,
    /// `quota`, `operator` or `billing`.
    pub cause: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// When it ends by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
}

/// What a check is made of, besides the quota.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// The meter's unit.
    pub unit: &'a str,
    /// Where the limit comes from.
    pub from: QuotaSource,
    /// How much more is asked about.
    pub quantity: Quantity,
    /// What is imposed on the tenant.
    pub enforcements: &'a [Enforcement],
    /// Growth of the last closed days, newest first.
    pub growth: &'a [i128],
    /// Whether the level is too old.
    pub stale: bool,
}

impl QuotaCheck {
    /// How `quota` stands at `now`.
    pub fn new(quota: &Quota, around: &Around<'_>, now: Timestamp) -> Self {
        let facts =
            Facts { usage: quota.used, reserved: 0, limit: quota.limit, quantity: around.quantity.units() };
        let found = evaluate(&facts, &quota.rule);
        let in_force = around.enforcements.iter().find(|own| *own.meter == *quota.meter && own.is_in_force());
        let stops = in_force.is_some_and(|own| own.action != Action::Notify);
        QuotaCheck {
            resource_type: quota.meter.to_string(),
            unit: around.unit.to_owned(),
            window: quota.window().word(),
            window_ends_at: quota.window_ends_at(now.as_microsecond()),
            current_usage: quantity(quota.used),
            reserved: Quantity::ZERO,
            limit: quota.limit.map(quantity),
            limit_from: around.from,
            available: found.available.map(quantity),
            utilization_percentage: found.utilization_hundredths.map(hundredths),
            is_over_limit: found.is_over_limit,
            warning_threshold: found.warning_threshold.map(quantity),
            is_near_limit: found.is_near_limit,
            state: found.state,
            mode: quota.rule.mode,
            quantity: around.quantity,
            would_allow: (found.would_allow || quota.is_lifted) && !stops,
            enforcement: in_force.map(EnforcementShown::of),
            projected_exhaustion_at: projected(quota, around.growth, now),
            sampled_at: (quota.as_of_us != 0)
                .then(|| Timestamp::from_microsecond(quota.as_of_us).ok())
                .flatten(),
            stale: around.stale,
        }
    }
}

impl EnforcementShown {
    fn of(own: &Enforcement) -> Self {
        EnforcementShown {
            action: own.action,
            flag: own.flag.clone(),
            cause: own.cause.clone(),
            since: own.since,
            until: own.until,
        }
    }
}

/// When the limit is reached: only what exists or what the window still has time for.
fn projected(quota: &Quota, growth: &[i128], now: Timestamp) -> Option<Timestamp> {
    let days = exhaustion(quota.used, quota.limit?, growth)?;
    let at = now.to_zoned(quota.calendar.zone().clone()).checked_add(days.days()).ok()?.timestamp();
    quota.window_ends_at(now.as_microsecond()).is_none_or(|end| at < end).then_some(at)
}

/// Hundredths as a decimal with two digits.
pub(super) fn hundredths(value: i128) -> String {
    let (sign, magnitude) = (if value < 0 { "-" } else { "" }, value.unsigned_abs());
    format!("{sign}{}.{:02}", magnitude / 100, magnitude % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: i128 = 1_000_000_000_000;

    fn check_of(meter: &str, used: i128, limit: Option<i128>, growth: &[i128]) -> QuotaCheck {
        let now = "2026-11-21T10:00:00Z".parse().expect("an instant");
        let quota = Quota { used, ..Quota::of_meter(meter, limit) };
        let around = Around {
            unit: "stamp",
            from: QuotaSource::Tier,
            quantity: Quantity::ONE,
            enforcements: &[],
            growth,
            stale: false,
        };
        QuotaCheck::new(&quota, &around, now)
    }

    fn check(used: i128, limit: Option<i128>) -> QuotaCheck {
        check_of("stamps_created", used, limit, &[])
    }

    #[test]
    fn fields_around_the_thresholds() {
        let limit = Some(50 * UNIT);
        let table = [
            (40 * UNIT, "80.00", QuotaState::Ok, false, false, "10", true),
            (40 * UNIT + 1, "80.00", QuotaState::Warning, true, false, "9.999999999999", true),
            (41 * UNIT, "82.00", QuotaState::Warning, true, false, "9", true),
            (475 * UNIT / 10, "95.00", QuotaState::Alert, true, false, "2.5", true),
            (50 * UNIT, "100.00", QuotaState::Enforced, true, false, "0", false),
            (50 * UNIT + 1, "100.00", QuotaState::Enforced, true, true, "-0.000000000001", false),
        ];
        for (used, percentage, state, near, over, available, allows) in table {
            let check = check(used, limit);
            assert_eq!(check.utilization_percentage.as_deref(), Some(percentage), "{used}");
            assert_eq!(
                (check.state, check.is_near_limit, check.is_over_limit, check.would_allow),
                (state, near, over, allows),
                "{used}"
            );
            assert_eq!(check.available.map(|left| left.to_string()).as_deref(), Some(available), "{used}");
            assert_eq!(check.warning_threshold, Quantity::from_integer(40));
        }
    }

    #[test]
    fn no_limit_and_a_limit_of_nothing() {
        let free = check(10 * UNIT, None);
        assert_eq!((free.limit, free.available, free.warning_threshold), (None, None, None));
        assert_eq!((free.state, free.is_near_limit, free.is_over_limit), (QuotaState::Ok, false, false));
        let none = check(0, Some(0));
        assert_eq!(
            (none.utilization_percentage, none.state, none.is_over_limit),
            (None, QuotaState::Enforced, false)
        );
        assert!(check(1, Some(0)).is_over_limit);
    }

    #[test]
    fn a_window_ends_at_midnight() {
        let check = check(0, Some(UNIT));
        let midnight = "2026-11-22T00:00:00Z".parse().expect("an instant");
        assert_eq!((check.window, check.window_ends_at), (Some("day"), Some(midnight)));
    }

    #[test]
    fn exhaustion_is_told_when_the_pace_and_the_window_lead_there() {
        let growth = [UNIT; 7];
        let users = check_of("users", 41 * UNIT, Some(50 * UNIT), &growth);
        assert_eq!(users.projected_exhaustion_at, Some("2026-11-30T10:00:00Z".parse().expect("an instant")));
        assert_eq!(check_of("users", 41 * UNIT, Some(50 * UNIT), &[0; 7]).projected_exhaustion_at, None);
        let month = check_of("transactions", 41 * UNIT, Some(55 * UNIT), &growth);
        assert_eq!(month.projected_exhaustion_at, None, "the month is over before");
    }
}
