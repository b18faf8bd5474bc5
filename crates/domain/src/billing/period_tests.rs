//! Periods: clamped days, clock changes, stubs and their shares, and that no instant is billed twice or never.
use jiff::{Timestamp, tz::TimeZone};
use proptest::prelude::*;

use super::period::{BilledPeriod, Interval, IntervalUnit, PeriodError, Proration, Schedule, Stretch};
use crate::metering::ratio::Ratio;

fn berlin() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

/// Clocks jump from midnight to one, as in Havana.
fn havana() -> TimeZone {
    TimeZone::posix("CST5CDT,M3.2.0/0,M11.1.0/1").unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn every(count: u8, unit: IntervalUnit) -> Interval {
    Interval { unit, count }
}

fn boundaries(schedule: &Schedule, range: std::ops::Range<i64>) -> Vec<String> {
    range.map(|k| schedule.boundary(k).unwrap().to_string()).collect()
}

#[test]
fn the_day_is_clamped_from_the_anchors_own_day() {
    let schedule =
        Schedule::subscription(at("2026-01-31T10:00:00Z"), every(1, IntervalUnit::Month), TimeZone::UTC)
            .unwrap();
    assert_eq!(
        boundaries(&schedule, -1..4),
        [
            "2025-12-31T10:00:00Z",
            "2026-01-31T10:00:00Z",
            "2026-02-28T10:00:00Z",
            "2026-03-31T10:00:00Z",
            "2026-04-30T10:00:00Z"
        ]
    );
    let leap =
        Schedule::subscription(at("2024-02-29T00:00:00Z"), every(1, IntervalUnit::Year), TimeZone::UTC)
            .unwrap();
    assert_eq!(
        boundaries(&leap, 0..5)[1..],
        ["2025-02-28T00:00:00Z", "2026-02-28T00:00:00Z", "2027-02-28T00:00:00Z", "2028-02-29T00:00:00Z"]
    );
    let quarter =
        Schedule::subscription(at("2026-01-31T00:00:00Z"), every(3, IntervalUnit::Month), TimeZone::UTC)
            .unwrap();
    assert_eq!(boundaries(&quarter, 1..3), ["2026-04-30T00:00:00Z", "2026-07-31T00:00:00Z"]);
}

#[test]
fn gaps_and_folds_are_decided() {
    // 02:30 on 29 March 2026 does not exist in Berlin: the clocks go from 02:00 to 03:00 at 01:00 UTC.
    let schedule =
        Schedule::subscription(at("2026-02-28T01:30:00Z"), every(1, IntervalUnit::Day), berlin()).unwrap();
    assert_eq!(
        boundaries(&schedule, 28..31),
        ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
    );
    let at_two =
        Schedule::subscription(at("2026-03-28T01:00:00Z"), every(1, IntervalUnit::Day), berlin()).unwrap();
    assert_eq!(at_two.boundary(1).unwrap(), at("2026-03-29T01:00:00Z"), "02:00 itself is skipped too");
    // 02:30 on 25 October 2026 comes twice: at 00:30 and at 01:30 UTC.
    let schedule =
        Schedule::subscription(at("2026-10-24T00:30:00Z"), every(1, IntervalUnit::Day), berlin()).unwrap();
    assert_eq!(schedule.boundary(1).unwrap(), at("2026-10-25T00:30:00Z"));
    // A day that begins at one o'clock begins there.
    let schedule = Schedule::calendar(every(1, IntervalUnit::Day), havana()).unwrap();
    assert_eq!(schedule.whole_at(at("2026-03-08T12:00:00Z")).unwrap().from, at("2026-03-08T05:00:00Z"));
}

#[test]
fn calendar_periods_begin_at_local_midnight_of_the_unit() {
    let whole = |unit, count, now: &str| {
        Schedule::calendar(every(count, unit), berlin()).unwrap().whole_at(at(now)).unwrap()
    };
    let stretch = |from: &str, to: &str| Stretch { from: at(from), to: at(to) };
    let now = "2026-11-21T21:00:00Z";
    assert_eq!(whole(IntervalUnit::Month, 1, now), stretch("2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z"));
    assert_eq!(whole(IntervalUnit::Month, 3, now), stretch("2026-09-30T22:00:00Z", "2026-12-31T23:00:00Z"));
    assert_eq!(whole(IntervalUnit::Week, 1, now), stretch("2026-11-15T23:00:00Z", "2026-11-22T23:00:00Z"));
    assert_eq!(whole(IntervalUnit::Day, 1, now), stretch("2026-11-20T23:00:00Z", "2026-11-21T23:00:00Z"));
    assert_eq!(whole(IntervalUnit::Year, 1, now), stretch("2025-12-31T23:00:00Z", "2026-12-31T23:00:00Z"));
    assert_eq!(whole(IntervalUnit::Year, 2, now), stretch("2025-12-31T23:00:00Z", "2027-12-31T23:00:00Z"));
}

#[test]
fn the_first_period_ends_strictly_after_the_start_and_the_last_is_cut() {
    let schedule = Schedule::calendar(every(1, IntervalUnit::Month), TimeZone::UTC).unwrap();
    let periods = schedule.periods(at("2026-11-21T00:00:00Z"), Some(at("2027-01-11T12:00:00Z")), 10).unwrap();
    let parts: Vec<_> =
        periods.iter().map(|period| (period.part.from.to_string(), period.part.to.to_string())).collect();
    let part = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    assert_eq!(
        parts,
        [
            part("2026-11-21T00:00:00Z", "2026-12-01T00:00:00Z"),
            part("2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            part("2027-01-01T00:00:00Z", "2027-01-11T12:00:00Z")
        ]
    );
    let share =
        |index: usize, proration, ends| schedule.share(&periods[index], proration, ends).unwrap().to_string();
    assert_eq!(share(0, Proration::Day, false), "1/3");
    assert_eq!(share(1, Proration::Day, false), "1");
    assert_eq!(share(2, Proration::Day, true), "11/31", "the day it ends on counts, for nothing follows");
    assert_eq!(share(2, Proration::Day, false), "10/31");
    assert_eq!(share(2, Proration::Second, true), "21/62");
    assert_eq!(share(0, Proration::Month30, false), "1/3");
    assert_eq!(share(2, Proration::None, true), "1");
    let on_boundary = schedule.periods(at("2026-12-01T00:00:00Z"), None, 1).unwrap();
    assert_eq!(on_boundary[0].part.to, at("2027-01-01T00:00:00Z"));
    assert_eq!(
        schedule.periods(at("2026-12-01T00:00:00Z"), Some(at("2026-12-01T00:00:00Z")), 3).unwrap(),
        []
    );
}

#[test]
fn an_interval_has_1_to_36_units() {
    for count in [0, 37] {
        assert_eq!(
            Schedule::calendar(every(count, IntervalUnit::Month), TimeZone::UTC).map(|_| ()),
            Err(PeriodError::Interval)
        );
    }
    let schedule = Schedule::calendar(every(36, IntervalUnit::Year), TimeZone::UTC).unwrap();
    assert_eq!(schedule.boundary(100_000), Err(PeriodError::OutOfRange));
}

fn schedules() -> impl Strategy<Value = Schedule> {
    let unit = prop::sample::select(vec![
        IntervalUnit::Day,
        IntervalUnit::Week,
        IntervalUnit::Month,
        IntervalUnit::Year,
    ]);
    (unit, 1u8..=36, 0i64..20 * 365 * 1440, 0usize..3, any::<bool>()).prop_map(
        |(unit, count, minutes, zone, calendar)| {
            let zone = [TimeZone::UTC, berlin(), havana()][zone].clone();
            let interval = every(count, unit);
            let anchor = Timestamp::from_second(1_600_000_020 + minutes * 60).unwrap();
            if calendar {
                Schedule::calendar(interval, zone)
            } else {
                Schedule::subscription(anchor, interval, zone)
            }
            .unwrap()
        },
    )
}

proptest! {
    #[test]
    fn boundaries_rise_and_every_instant_lies_in_one_period(schedule in schedules(), minutes in 0i64..20 * 365 * 1440, k in -50i64..50) {
        prop_assert!(schedule.boundary(k).unwrap() < schedule.boundary(k + 1).unwrap());
        let now = Timestamp::from_second(1_600_000_020 + minutes * 60).unwrap();
        let whole = schedule.whole_at(now).unwrap();
        prop_assert!(whole.from <= now && now < whole.to);
        prop_assert_eq!(schedule.whole_at(whole.from).unwrap(), whole);
        prop_assert_eq!(schedule.whole_at(whole.to).unwrap().from, whole.to);
    }

    #[test]
    fn periods_join_without_gap_or_overlap(schedule in schedules(), minutes in 0i64..10 * 365 * 1440) {
        let start = Timestamp::from_second(1_600_000_020 + minutes * 60).unwrap();
        let periods = schedule.periods(start, None, 5).unwrap();
        prop_assert_eq!(periods[0].part.from, start);
        for pair in periods.windows(2) {
            prop_assert_eq!(pair[0].part.to, pair[1].part.from);
            prop_assert_eq!(pair[1].part, pair[1].whole);
        }
    }

    #[test]
    fn shares_of_a_divided_period_add_up_to_one(schedule in schedules(), minutes in 0i64..10 * 365 * 1440, cut in 1i64..1000, proration in 0usize..3) {
        let proration = [Proration::Day, Proration::Second, Proration::Month30][proration];
        let start = Timestamp::from_second(1_600_000_020 + minutes * 60).unwrap();
        let whole = schedule.whole_at(start).unwrap();
        let length = whole.to.duration_since(whole.from).as_secs();
        let middle = Timestamp::from_second(whole.from.as_second() + length * cut / 1000).unwrap();
        let share = |from, to| schedule.share(&BilledPeriod { part: Stretch { from, to }, whole }, proration, false).unwrap();
        let sum = share(whole.from, middle) + share(middle, whole.to);
        let empty = proration == Proration::Month30 && share(whole.from, whole.to).is_zero();
        prop_assert!(empty || sum == Ratio::one(), "{} of {}", sum, length);
    }
}
