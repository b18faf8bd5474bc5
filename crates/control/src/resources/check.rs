//! Where a tenant stands against one quota, as it is shown.

use jiff::Timestamp;
use rowhouse_domain::metering::quantity::Quantity;
use rowhouse_domain::metering::ratio::Ratio;
use rowhouse_domain::resources::{QuotaState, QuotaWindow, evaluate};
use serde::Serialize;
use utoipa::ToSchema;

use super::limits::QuotaSource;

/// A tenant's standing against one quota. Quantities are decimal strings; without a limit, everything that is
/// measured against it is `null`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct QuotaCheck {
    /// The meter.
    pub resource_type: String,
    /// What it is counted in.
    pub unit: String,
    /// `hour`, `day` or `month`; `null` for what exists now.
    pub window: Option<&'static str>,
    /// When usage counts from nothing again.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub window_ends_at: Option<Timestamp>,
    /// Used in the window.
    #[schema(value_type = String)]
    pub current_usage: Quantity,
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
    /// 80 % of the limit.
    #[schema(value_type = Option<String>)]
    pub warning_threshold: Option<Quantity>,
    /// Whether more than 80 % was used.
    pub is_near_limit: bool,
    /// `ok`, `warning`, `alert` or `enforced`.
    #[schema(value_type = String)]
    pub state: QuotaState,
}

impl QuotaCheck {
    /// Measures `used` of `meter` against `limit` (both in units of 10⁻¹²) at `now`.
    pub fn new(
        meter: &str,
        unit: &str,
        used: i128,
        (limit, from): (Option<i128>, QuotaSource),
        now: Timestamp,
    ) -> Self {
        let window = QuotaWindow::of_meter(meter);
        let quantity = |units: i128| Quantity::from_units(units).unwrap_or_default();
        let warning = limit.map(|limit| Ratio::from_scaled(limit, 12) * Ratio::from_scaled(8, 1));
        QuotaCheck {
            resource_type: meter.to_owned(),
            unit: unit.to_owned(),
            window: word(window),
            window_ends_at: end(window, now),
            current_usage: quantity(used),
            limit: limit.map(quantity),
            limit_from: from,
            available: limit.map(|limit| quantity(limit - used)),
            utilization_percentage: limit.and_then(|limit| percentage(used, limit)),
            is_over_limit: limit.is_some_and(|limit| used > limit),
            is_near_limit: warning.as_ref().is_some_and(|warning| Ratio::from_scaled(used, 12) > *warning),
            warning_threshold: warning.and_then(|warning| Quantity::rounded(&warning)),
            state: evaluate(used, limit),
        }
    }
}

fn word(window: QuotaWindow) -> Option<&'static str> {
    match window {
        QuotaWindow::None => None,
        QuotaWindow::Hour => Some("hour"),
        QuotaWindow::Day => Some("day"),
        QuotaWindow::Month => Some("month"),
    }
}

fn end(window: QuotaWindow, now: Timestamp) -> Option<Timestamp> {
    let (_, end_us) = window.bounds_us(now.as_microsecond());
    word(window).and_then(|_| Timestamp::from_microsecond(end_us).ok())
}

/// 100 · used ÷ limit with two digits.
fn percentage(used: i128, limit: i128) -> Option<String> {
    let share = Ratio::from_scaled(used, 12).checked_div(&Ratio::from_scaled(limit, 12))?;
    let hundredths = share.round_scaled(4)?;
    let (sign, magnitude) = (if hundredths < 0 { "-" } else { "" }, hundredths.unsigned_abs());
    Some(format!("{sign}{}.{:02}", magnitude / 100, magnitude % 100))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: i128 = 1_000_000_000_000;

    fn check(used: i128, limit: Option<i128>) -> QuotaCheck {
        let now = "2026-11-21T10:00:00Z".parse().expect("an instant");
        QuotaCheck::new("stamps_created", "stamp", used, (limit, QuotaSource::Tier), now)
    }

    #[test]
    fn fields_around_the_thresholds() {
        let limit = Some(50 * UNIT);
        let table = [
            (40 * UNIT, "80.00", QuotaState::Ok, false, false, "10"),
            (40 * UNIT + 1, "80.00", QuotaState::Warning, true, false, "9.999999999999"),
            (41 * UNIT, "82.00", QuotaState::Warning, true, false, "9"),
            (475 * UNIT / 10, "95.00", QuotaState::Alert, true, false, "2.5"),
            (50 * UNIT, "100.00", QuotaState::Enforced, true, false, "0"),
            (50 * UNIT + 1, "100.00", QuotaState::Enforced, true, true, "-0.000000000001"),
        ];
        for (used, percentage, state, near, over, available) in table {
            let check = check(used, limit);
            assert_eq!(check.utilization_percentage.as_deref(), Some(percentage), "{used}");
            assert_eq!(
                (check.state, check.is_near_limit, check.is_over_limit),
                (state, near, over),
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
}
