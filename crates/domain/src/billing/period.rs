//! Billing periods in civil time. Boundary k is the anchor plus k intervals on the calendar of the profile's zone,
//! its day clamped to the month's end from the anchor's own day (31 January, 28 February, 31 March). A time that
//! the clocks skip is the first instant after the gap; one shown twice is the first.

use jiff::{
    Span, Timestamp, ToSpan,
    civil::{Date, DateTime, date},
    tz::TimeZone,
};
use serde::{Deserialize, Serialize};

use crate::metering::{civil, ratio::Ratio};

/// Most units of one interval.
pub const COUNT_MAX: u8 = 36;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntervalUnit {
    Day,
    Week,
    Month,
    Year,
}

/// The length of a period: 1 to 36 units. A quarter is three months.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    pub unit: IntervalUnit,
    pub count: u8,
}

/// A stretch of time, half-open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    pub from: Timestamp,
    pub to: Timestamp,
}

/// A period that is billed, and the whole one it lies in: they differ for the first and the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BilledPeriod {
    #[serde(flatten)]
    pub part: Stretch,
    pub whole: Stretch,
}

/// How the part of a period is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proration {
    /// Civil days, each belonging to what was last in force on it.
    #[default]
    Day,
    /// Elapsed time.
    Second,
    /// 30E/360 days; months and years only.
    #[serde(rename = "month_30")]
    Month30,
    /// Always the whole.
    None,
}

/// Why there is no such period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    #[error("an interval has 1 to 36 units")]
    Interval,
    #[error("a date beyond the calendar")]
    OutOfRange,
}

/// The sequence of boundaries, in both directions.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Schedule {
    anchor: DateTime,
    interval: Interval,
    #[serde(with = "crate::directory::written::zone")]
    zone: TimeZone,
}

impl Schedule {
    /// Periods counted from a subscription's own start.
    pub fn subscription(anchor: Timestamp, interval: Interval, zone: TimeZone) -> Result<Self, PeriodError> {
        Self::new(zone.to_datetime(anchor), interval, zone)
    }

    /// Periods of the calendar: from local midnight of the first day of the unit. Several units are counted from
    /// January (months), from the ISO week of 5 January 1970 (weeks), from 1 January 1970 (days), from year 0.
    pub fn calendar(interval: Interval, zone: TimeZone) -> Result<Self, PeriodError> {
        let first = match interval.unit {
            IntervalUnit::Day | IntervalUnit::Month => date(1970, 1, 1),
            IntervalUnit::Week => date(1970, 1, 5),
            IntervalUnit::Year => date(0, 1, 1),
        };
        Self::new(first.at(0, 0, 0, 0), interval, zone)
    }

    fn new(anchor: DateTime, interval: Interval, zone: TimeZone) -> Result<Self, PeriodError> {
        let fits = (1..=COUNT_MAX).contains(&interval.count);
        if fits { Ok(Schedule { anchor, interval, zone }) } else { Err(PeriodError::Interval) }
    }

    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Boundary `k`; the anchor is boundary 0.
    pub fn boundary(&self, k: i64) -> Result<Timestamp, PeriodError> {
        let boundary = || {
            let civil = self.anchor.checked_add(self.span(k)?).ok()?;
            civil::instant(&self.zone, civil)
        };
        boundary().ok_or(PeriodError::OutOfRange)
    }

    fn span(&self, k: i64) -> Option<Span> {
        let units = k.checked_mul(i64::from(self.interval.count)).filter(|units| units.abs() < 1_000_000)?;
        match self.interval.unit {
            IntervalUnit::Day => Some(units.days()),
            IntervalUnit::Week => Span::new().try_weeks(units).ok(),
            IntervalUnit::Month => Span::new().try_months(units).ok(),
            IntervalUnit::Year => Span::new().try_years(units).ok(),
        }
    }

    /// The whole period that holds an instant.
    pub fn whole_at(&self, at: Timestamp) -> Result<Stretch, PeriodError> {
        let k = self.index_at(at)?;
        Ok(Stretch { from: self.boundary(k)?, to: self.boundary(k + 1)? })
    }

    /// The k whose boundary is the last at or before `at`. A guess from the calendar, put right by at most a few.
    fn index_at(&self, at: Timestamp) -> Result<i64, PeriodError> {
        let civil = self.zone.to_datetime(at);
        let (then, now) = (self.anchor.date(), civil.date());
        let months = (i64::from(now.year()) - i64::from(then.year())) * 12 + i64::from(now.month())
            - i64::from(then.month());
        let days = days_between(then, now)?;
        let units = match self.interval.unit {
            IntervalUnit::Day => days,
            IntervalUnit::Week => days.div_euclid(7),
            IntervalUnit::Month => months,
            IntervalUnit::Year => months.div_euclid(12),
        };
        let mut k = units.div_euclid(i64::from(self.interval.count));
        while self.boundary(k)? > at {
            k -= 1;
        }
        while self.boundary(k + 1)? <= at {
            k += 1;
        }
        Ok(k)
    }

    /// The first `count` periods from `start`: the first ends at the first boundary strictly after the start.
    /// With an `end`, the last is cut there and nothing follows.
    pub fn periods(
        &self,
        start: Timestamp,
        end: Option<Timestamp>,
        count: usize,
    ) -> Result<Vec<BilledPeriod>, PeriodError> {
        let mut k = self.index_at(start)?;
        let mut from = start;
        let mut periods = Vec::new();
        while periods.len() < count && end.is_none_or(|end| from < end) {
            let whole = Stretch { from: self.boundary(k)?, to: self.boundary(k + 1)? };
            let to = end.map_or(whole.to, |end| end.min(whole.to));
            periods.push(BilledPeriod { part: Stretch { from, to }, whole });
            (from, k) = (to, k + 1);
        }
        Ok(periods)
    }

    /// The part of its whole period that a stretch covers, 0 to 1. `ends` says that nothing follows it: then the
    /// last day that it touches counts.
    pub fn share(
        &self,
        period: &BilledPeriod,
        proration: Proration,
        ends: bool,
    ) -> Result<Ratio, PeriodError> {
        let BilledPeriod { part, whole } = period;
        let (part, whole) = match proration {
            Proration::None => return Ok(Ratio::one()),
            Proration::Second => (nanoseconds(part), nanoseconds(whole)),
            Proration::Month30 => (self.days_30e(part), self.days_30e(whole)),
            Proration::Day => (i128::from(self.days(part, ends)?), i128::from(self.days(whole, false)?)),
        };
        let share = Ratio::from_integer(part).checked_div(&Ratio::from_integer(whole));
        Ok(share.unwrap_or_default().max(Ratio::zero()).min(Ratio::one()))
    }

    /// Civil days of a stretch, without the one that what follows begins on. With nothing to follow, the last day
    /// touched is its own; an end at local midnight touches nothing.
    pub fn days(&self, stretch: &Stretch, ends: bool) -> Result<i64, PeriodError> {
        let (first, last) = (civil::date(&self.zone, stretch.from), civil::date(&self.zone, stretch.to));
        let touched = civil::day_start(&self.zone, last).is_some_and(|midnight| midnight < stretch.to);
        Ok(days_between(first, last)? + i64::from(ends && touched))
    }

    fn days_30e(&self, stretch: &Stretch) -> i128 {
        let day = |at| {
            let date = civil::date(&self.zone, at);
            i128::from(date.year()) * 360 + i128::from(date.month()) * 30 + i128::from(date.day().min(30))
        };
        day(stretch.to) - day(stretch.from)
    }
}

fn days_between(from: Date, to: Date) -> Result<i64, PeriodError> {
    from.until(to).map(|span| i64::from(span.get_days())).map_err(|_| PeriodError::OutOfRange)
}

fn nanoseconds(stretch: &Stretch) -> i128 {
    stretch.to.duration_since(stretch.from).as_nanos()
}
