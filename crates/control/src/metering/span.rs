//! A stretch of time that usage is asked for, and the steps it is cut into.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use rowhouse_domain::refusal::{Refusal, kind};
use serde::Deserialize;
use utoipa::ToSchema;

const MINUTE_US: i64 = 60_000_000;

/// A half-open stretch of whole minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its first instant.
    pub from: Timestamp,
    /// The first instant behind it.
    pub to: Timestamp,
}

/// What usage is summed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// All of it.
    #[default]
    Total,
    /// Civil months of the zone.
    Month,
    /// Civil days of the zone.
    Day,
    /// Hours of UTC.
    Hour,
    /// Minutes.
    Minute,
}

impl Span {
    /// What a caller asked for. Without `from`: since the current month (UTC) began; without `to`: until the end
    /// of the current minute. Bounds that are not whole minutes would cut a window in two and are refused.
    pub fn asked(from: Option<Timestamp>, to: Option<Timestamp>, now: Timestamp) -> Result<Self, Refusal> {
        let end_of_minute = (now.as_microsecond().div_euclid(MINUTE_US) + 1) * MINUTE_US;
        let to = to.unwrap_or(instant(end_of_minute));
        let from = from.unwrap_or_else(|| start_of_month(now));
        for (name, bound) in [("from", from), ("to", to)] {
            if bound.as_nanosecond().rem_euclid(i128::from(MINUTE_US) * 1000) != 0 {
                return Err(wrong(name, "a whole minute, as usage is kept by the minute"));
            }
        }
        if from >= to {
            return Err(wrong("to", "later than `from`"));
        }
        Ok(Span { from, to })
    }
}

fn wrong(field: &str, detail: &str) -> Refusal {
    Refusal::new(&kind::INVALID, "The stretch of time is not well-formed.").field(
        format!("/{field}"),
        "out_of_bounds",
        detail,
    )
}

fn instant(us: i64) -> Timestamp {
    Timestamp::from_microsecond(us).expect("clocks stay within the years 0 to 9999")
}

fn start_of_month(now: Timestamp) -> Timestamp {
    let first = now.to_zoned(TimeZone::UTC).first_of_month().expect("every month has a first day");
    first.start_of_day().expect("UTC has every midnight").timestamp()
}

impl Step {
    /// The step that shows `span` in at most some hundred pieces.
    pub fn for_reading(span: Span) -> Step {
        let minutes = span.from.duration_until(span.to).as_secs() / 60;
        match minutes {
            0..=720 => Step::Minute,
            721..=44_640 => Step::Hour,
            _ => Step::Day,
        }
    }

    /// The word in SQL; `None` for the total.
    pub(super) fn field(self) -> Option<&'static str> {
        match self {
            Step::Total => None,
            Step::Month => Some("month"),
            Step::Day => Some("day"),
            Step::Hour => Some("hour"),
            Step::Minute => Some("minute"),
        }
    }

    /// The zone whose boundaries count: hours and minutes are those of UTC, so that none is doubled or left out
    /// when clocks are put back.
    pub(super) fn zone(self, zone: &str) -> &str {
        if matches!(self, Step::Month | Step::Day) { zone } else { "UTC" }
    }

    /// The first instant behind the step that begins at `start`.
    pub(super) fn end(self, start: Timestamp, zone: &TimeZone) -> Timestamp {
        let added = match self {
            Step::Total => return start,
            Step::Month => 1.month(),
            Step::Day => 1.day(),
            Step::Hour => 1.hour(),
            Step::Minute => 1.minute(),
        };
        let zoned = start.to_zoned(zone.clone());
        zoned.checked_add(added).map_or(start, |end| end.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    #[test]
    fn bounds_default_to_this_month_and_are_whole_minutes() {
        let now = at("2026-11-21T10:00:30Z");
        let span = Span::asked(None, None, now).expect("a span");
        assert_eq!((span.from, span.to), (at("2026-11-01T00:00:00Z"), at("2026-11-21T10:01:00Z")));
        let half = Some(at("2026-11-20T10:00:30Z"));
        assert!(Span::asked(half, None, now).is_err() && Span::asked(None, half, now).is_err());
        let late = Some(at("2026-11-22T00:00:00Z"));
        assert!(Span::asked(late, None, now).is_err(), "nothing lies between");
    }

    #[test]
    fn days_follow_the_zone_and_hours_do_not() {
        let berlin = TimeZone::get("Europe/Berlin").expect("a zone");
        // The day on which the clocks go back has 25 hours.
        let long_day = Step::Day.end(at("2026-10-24T22:00:00Z"), &berlin);
        assert_eq!(long_day, at("2026-10-25T23:00:00Z"));
        assert_eq!(Step::Hour.end(at("2026-10-25T00:00:00Z"), &berlin), at("2026-10-25T01:00:00Z"));
        assert_eq!(Step::Month.end(at("2026-10-31T23:00:00Z"), &berlin), at("2026-11-30T23:00:00Z"));
    }
}
