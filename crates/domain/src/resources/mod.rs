//! Usage against quota: the one function that says where a tenant stands.

use serde::{Deserialize, Serialize};

/// The stretch of time in which a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaWindow {
    /// What exists now.
    None,
    /// The civil hour in UTC.
    Hour,
    /// The civil day in UTC.
    Day,
    /// The civil month in UTC.
    Month,
}

impl QuotaWindow {
    /// The window of a shipped meter.
    pub fn of_meter(meter: &str) -> QuotaWindow {
        match meter {
            "stamps_created" => QuotaWindow::Day,
            "api_calls" | "transactions" => QuotaWindow::Month,
            "storage_gb" | "users" | "locations" => QuotaWindow::None,
            _ => QuotaWindow::Month,
        }
    }

    /// First instant of the window that holds `now_us`, and of the one after it; µs since 1970.
    /// A standing window has begun for ever and never ends.
    pub fn bounds_us(self, now_us: i64) -> (i64, i64) {
        const HOUR_US: i64 = 3_600_000_000;
        let aligned = |length: i64| {
            let start = now_us.div_euclid(length) * length;
            (start, start + length)
        };
        match self {
            QuotaWindow::None => (0, i64::MAX),
            QuotaWindow::Hour => aligned(HOUR_US),
            QuotaWindow::Day => aligned(24 * HOUR_US),
            QuotaWindow::Month => month_bounds_us(now_us),
        }
    }
}

fn month_bounds_us(now_us: i64) -> (i64, i64) {
    let instant = jiff::Timestamp::from_microsecond(now_us).expect("clocks stay within years 0 to 9999");
    let first = instant.to_zoned(jiff::tz::TimeZone::UTC).date().first_of_month();
    let next = first.checked_add(jiff::Span::new().months(1)).expect("months go on");
    let at = |date: jiff::civil::Date| {
        let start = date.to_zoned(jiff::tz::TimeZone::UTC).expect("UTC has every midnight");
        start.timestamp().as_microsecond()
    };
    (at(first), at(next))
}

/// Where usage stands against a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaState {
    /// Up to 80 %.
    Ok,
    /// Above 80 %.
    Warning,
    /// From 95 %.
    Alert,
    /// From 100 %: nothing more.
    Enforced,
}

/// The state of usage `used` against `limit`, both in units of 10⁻¹²; `None` is unlimited.
pub fn evaluate(used: i128, limit: Option<i128>) -> QuotaState {
    let Some(limit) = limit else { return QuotaState::Ok };
    let used_parts = used.saturating_mul(100);
    match () {
        () if used >= limit => QuotaState::Enforced,
        () if used_parts >= limit.saturating_mul(95) => QuotaState::Alert,
        () if used_parts > limit.saturating_mul(80) => QuotaState::Warning,
        () => QuotaState::Ok,
    }
}

/// Whether `wanted` more fits: exactly the limit is reached, one more is refused.
pub fn admits(used: i128, wanted: i128, limit: Option<i128>) -> bool {
    limit.is_none_or(|limit| used.saturating_add(wanted) <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_at_their_edges() {
        let of = |used| evaluate(used, Some(1000));
        assert_eq!(
            [of(800), of(801), of(949), of(950), of(999), of(1000)],
            [
                QuotaState::Ok,
                QuotaState::Warning,
                QuotaState::Warning,
                QuotaState::Alert,
                QuotaState::Alert,
                QuotaState::Enforced
            ]
        );
        assert_eq!(evaluate(5, None), QuotaState::Ok);
        assert_eq!(evaluate(0, Some(0)), QuotaState::Enforced);
        assert!(admits(999, 1, Some(1000)) && !admits(1000, 1, Some(1000)) && admits(i128::MAX, 1, None));
    }

    #[test]
    fn windows_are_half_open_and_follow_each_other() {
        // 2026-02-28T23:59:59.999999Z
        let last = 1_772_323_199_999_999;
        let (start, end) = QuotaWindow::Month.bounds_us(last);
        assert_eq!((start, end), (1_769_904_000_000_000, last + 1));
        assert_eq!(QuotaWindow::Month.bounds_us(end).0, end);
        assert_eq!(QuotaWindow::Day.bounds_us(last), (last + 1 - 86_400_000_000, last + 1));
    }
}
