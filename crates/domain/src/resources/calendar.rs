//! The stretches of time in which quotas count: civil hours, days and months of a zone, or the billing period.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::billing::period::Schedule;
use crate::metering::civil;

/// The stretch of time in which a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaWindow {
    /// What exists now.
    None,
    /// The civil hour.
    Hour,
    /// The civil day.
    Day,
    /// The civil month.
    Month,
    /// The period that the tenant is billed by.
    BillingPeriod,
}

impl QuotaWindow {
    /// The window of a shipped meter; a month for any other.
    pub fn of_meter(meter: &str) -> QuotaWindow {
        match meter {
            "stamps_created" => QuotaWindow::Day,
            "storage_gb" | "users" | "locations" => QuotaWindow::None,
            _ => QuotaWindow::Month,
        }
    }

    /// The word on the wire; `None` for what exists now.
    pub fn word(self) -> Option<&'static str> {
        match self {
            QuotaWindow::None => None,
            QuotaWindow::Hour => Some("hour"),
            QuotaWindow::Day => Some("day"),
            QuotaWindow::Month => Some("month"),
            QuotaWindow::BillingPeriod => Some("billing_period"),
        }
    }

    /// Whether it counts what exists, and so can also fall.
    pub fn is_standing(self) -> bool {
        self == QuotaWindow::None
    }
}

/// Whose clock windows follow: a zone, and the billing periods of a tenant that has some.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Calendar {
    #[serde(with = "crate::directory::written::zone")]
    zone: TimeZone,
    billing: Option<Schedule>,
}

impl Default for Calendar {
    fn default() -> Self {
        Calendar { zone: TimeZone::UTC, billing: None }
    }
}

impl Calendar {
    /// A calendar of `zone`. Without `billing`, the billing period is the civil month.
    pub fn new(zone: TimeZone, billing: Option<Schedule>) -> Self {
        Calendar { zone, billing }
    }

    /// The zone.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// First instant of the window that holds `now_us`, and of the one after it; µs since 1970. Windows of one kind
    /// follow each other without gap or overlap, also where clocks are turned. A standing window has begun for
    /// ever and never ends.
    pub fn bounds_us(&self, window: QuotaWindow, now_us: i64) -> (i64, i64) {
        if window == QuotaWindow::None {
            return (0, i64::MAX);
        }
        let now = Timestamp::from_microsecond(now_us).expect("clocks stay within the years 0 to 9999");
        let bounds = match window {
            QuotaWindow::Hour => Some(self.hour(now)),
            QuotaWindow::Day => self.day(now),
            QuotaWindow::BillingPeriod => self.period(now).or_else(|| self.month(now)),
            QuotaWindow::Month | QuotaWindow::None => self.month(now),
        };
        let (from, to) = bounds.expect("the calendar has a window around every clock's time");
        (from.as_microsecond(), to.as_microsecond())
    }

    /// Full hours of the local clock; one that a turn of the clocks cuts is shorter.
    fn hour(&self, now: Timestamp) -> (Timestamp, Timestamp) {
        const HOUR_S: i64 = 3_600;
        let offset_s = i64::from(self.zone.to_offset(now).seconds());
        let start_s = (now.as_second() + offset_s).div_euclid(HOUR_S) * HOUR_S - offset_s;
        let at = |second| Timestamp::from_second(second).expect("an hour around an instant of the calendar");
        let after = now.checked_add(Span::new().nanoseconds(1)).unwrap_or(now);
        let turned = self.zone.preceding(after).next().map(|turn| turn.timestamp());
        let turns = self.zone.following(now).next().map(|turn| turn.timestamp());
        let (from, to) = (at(start_s), at(start_s + HOUR_S));
        (turned.map_or(from, |turn| turn.max(from)), turns.map_or(to, |turn| turn.min(to)))
    }

    fn day(&self, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let today = civil::date(&self.zone, now);
        let midnight = |date| civil::day_start(&self.zone, date);
        Some((midnight(today)?, midnight(today.tomorrow().ok()?)?))
    }

    fn month(&self, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let first = civil::date(&self.zone, now).first_of_month();
        let next = first.checked_add(Span::new().months(1)).ok()?;
        Some((civil::day_start(&self.zone, first)?, civil::day_start(&self.zone, next)?))
    }

    fn period(&self, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let whole = self.billing.as_ref()?.whole_at(now).ok()?;
        Some((whole.from, whole.to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().expect("an instant").as_microsecond()
    }

    fn calendar(zone: &str) -> Calendar {
        Calendar::new(TimeZone::get(zone).expect("a zone"), None)
    }

    #[test]
    fn windows_are_half_open_and_follow_each_other() {
        let utc = Calendar::default();
        let last = at("2026-03-01T00:00:00Z") - 1;
        let (start, end) = utc.bounds_us(QuotaWindow::Month, last);
        assert_eq!((start, end), (at("2026-02-01T00:00:00Z"), last + 1));
        assert_eq!(utc.bounds_us(QuotaWindow::Month, end).0, end);
        assert_eq!(utc.bounds_us(QuotaWindow::Day, last), (last + 1 - 86_400_000_000, last + 1));
        assert_eq!(utc.bounds_us(QuotaWindow::None, last), (0, i64::MAX));
    }

    #[test]
    fn days_are_the_tenants_own() {
        let berlin = calendar("Europe/Berlin");
        let day = |now| berlin.bounds_us(QuotaWindow::Day, at(now));
        assert_eq!(day("2026-11-21T23:30:00Z").0, at("2026-11-21T23:00:00Z"));
        // 25 hours, then 23.
        assert_eq!(day("2026-10-25T10:00:00Z"), (at("2026-10-24T22:00:00Z"), at("2026-10-25T23:00:00Z")));
        assert_eq!(day("2026-03-29T10:00:00Z"), (at("2026-03-28T23:00:00Z"), at("2026-03-29T22:00:00Z")));
    }

    #[test]
    fn windows_tile_the_year_in_zones_that_turn_their_clocks() {
        // Lord Howe turns by half an hour, Kathmandu stands at 5:45, Apia skipped a day in 2011.
        for zone in [
            "UTC",
            "Europe/Berlin",
            "America/Sao_Paulo",
            "Australia/Lord_Howe",
            "Asia/Kathmandu",
            "Pacific/Apia",
        ] {
            let calendar = calendar(zone);
            for (window, turns) in
                [(QuotaWindow::Hour, 9_000), (QuotaWindow::Day, 400), (QuotaWindow::Month, 14)]
            {
                let (mut from, mut to) = calendar.bounds_us(window, at("2011-03-01T00:30:00Z"));
                for _ in 0..turns {
                    assert!(from < to, "{zone} {window:?}");
                    assert_eq!(calendar.bounds_us(window, to - 1), (from, to), "{zone} {window:?}");
                    let next = calendar.bounds_us(window, to);
                    assert_eq!(next.0, to, "{zone} {window:?}");
                    (from, to) = next;
                }
            }
        }
    }

    #[test]
    fn the_billing_period_is_the_subscriptions_or_the_month() {
        use crate::billing::period::{Interval, IntervalUnit};
        let monthly = Interval { unit: IntervalUnit::Month, count: 1 };
        let anchor = Timestamp::from_microsecond(at("2026-01-31T10:05:00Z")).expect("an instant");
        let schedule = Schedule::subscription(anchor, monthly, TimeZone::UTC).expect("a schedule");
        let billed = Calendar::new(TimeZone::UTC, Some(schedule));
        let bounds = billed.bounds_us(QuotaWindow::BillingPeriod, at("2026-03-01T00:00:00Z"));
        assert_eq!(bounds, (at("2026-02-28T10:05:00Z"), at("2026-03-31T10:05:00Z")));
        let plain = Calendar::default().bounds_us(QuotaWindow::BillingPeriod, at("2026-03-01T00:00:00Z"));
        assert_eq!(plain, (at("2026-03-01T00:00:00Z"), at("2026-04-01T00:00:00Z")));
    }
}
