//! Billing periods: boundary k is the anchor and k months in civil time of the zone, the day clamped to the
//! month's end from the anchor's own day (31 January, 28 February, 31 March).

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use rowhouse_domain::metering::civil;

use crate::metering::Span;

/// The period lies beyond the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the billing period lies beyond the calendar")]
pub struct PeriodError;

/// The period that holds `at`: the last boundary not after it, and the next one.
pub fn period_of(anchor: Timestamp, zone: &TimeZone, at: Timestamp) -> Result<Span, PeriodError> {
    let first = zone.to_datetime(anchor);
    let there = zone.to_datetime(at);
    let months = |date: DateTime| i32::from(date.year()) * 12 + i32::from(date.month());
    // At most one month too far; never too near.
    let mut k = months(there) - months(first) + 1;
    while boundary(first, zone, k)? > at {
        k -= 1;
    }
    Ok(Span { from: boundary(first, zone, k)?, to: boundary(first, zone, k + 1)? })
}

fn boundary(anchor: DateTime, zone: &TimeZone, k: i32) -> Result<Timestamp, PeriodError> {
    let date = anchor.checked_add(k.months()).map_err(|_| PeriodError)?;
    civil::instant(zone, date).ok_or(PeriodError)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    fn period(anchor: &str, zone: &str, now: &str) -> (String, String) {
        let zone = TimeZone::get(zone).expect("a zone");
        let span = period_of(at(anchor), &zone, at(now)).expect("a period");
        (span.from.to_string(), span.to.to_string())
    }

    #[test]
    fn periods_keep_the_anchors_own_day() {
        let of = |now| period("2026-01-31T10:05:00Z", "UTC", now);
        let texts = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        assert_eq!(of("2026-01-31T10:05:00Z"), texts("2026-01-31T10:05:00Z", "2026-02-28T10:05:00Z"));
        assert_eq!(of("2026-02-28T10:04:59Z"), texts("2026-01-31T10:05:00Z", "2026-02-28T10:05:00Z"));
        assert_eq!(of("2026-02-28T10:05:00Z"), texts("2026-02-28T10:05:00Z", "2026-03-31T10:05:00Z"));
        assert_eq!(of("2028-03-01T00:00:00Z"), texts("2028-02-29T10:05:00Z", "2028-03-31T10:05:00Z"));
        assert_eq!(of("2025-12-31T10:05:00Z").0, "2025-12-31T10:05:00Z", "backwards too");
    }

    #[test]
    fn a_boundary_in_a_gap_is_the_first_instant_after_it() {
        // 02:30 does not exist in Berlin on 29 March 2026; the clocks jump at 01:00 UTC.
        let (from, to) = period("2026-02-28T01:30:00Z", "Europe/Berlin", "2026-03-28T12:00:00Z");
        assert_eq!((from.as_str(), to.as_str()), ("2026-03-28T01:30:00Z", "2026-04-28T00:30:00Z"));
        let (_, to) = period("2026-01-29T01:30:00Z", "Europe/Berlin", "2026-03-20T12:00:00Z");
        assert_eq!(to, "2026-03-29T01:00:00Z");
    }

    #[test]
    fn periods_follow_each_other_without_gap_or_overlap() {
        let zone = TimeZone::get("America/New_York").expect("a zone");
        for day in [1, 28, 29, 30, 31] {
            let anchor = at(&format!("2026-01-{day:02}T06:59:00Z"));
            let mut span = period_of(anchor, &zone, anchor).expect("a period");
            assert_eq!(span.from, anchor);
            for _ in 0..240 {
                let next = period_of(anchor, &zone, span.to).expect("a period");
                assert_eq!(next.from, span.to);
                let last = span.to - jiff::SignedDuration::from_nanos(1);
                assert_eq!(period_of(anchor, &zone, last).expect("a period"), span);
                span = next;
            }
        }
    }
}
