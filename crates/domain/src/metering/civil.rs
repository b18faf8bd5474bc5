//! Civil time turned into instants by one rule: a time that clocks skip is the first instant after the gap, a time
//! that they show twice is the first of the two.

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime},
    tz::{AmbiguousOffset, TimeZone},
};

/// The instant of a civil time in `zone`; `None` beyond the years that can be represented.
pub fn instant(zone: &TimeZone, civil: DateTime) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(civil).offset() {
        AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
            offset.to_timestamp(civil).ok()
        }
        AmbiguousOffset::Gap { before, .. } => {
            // With the offset from before the gap, the time lies at or after the instant the clocks jumped.
            let shifted = before.to_timestamp(civil).ok()?;
            let jumped = zone.preceding(shifted.checked_add(SignedDuration::from_nanos(1)).ok()?).next();
            jumped.map(|transition| transition.timestamp())
        }
    }
}

/// The civil date of an instant.
pub fn date(zone: &TimeZone, at: Timestamp) -> Date {
    zone.to_datetime(at).date()
}

/// The first instant of a civil day.
pub fn day_start(zone: &TimeZone, day: Date) -> Option<Timestamp> {
    instant(zone, day.to_datetime(jiff::civil::Time::midnight()))
}

/// The next local midnight after `at`.
pub fn next_day(zone: &TimeZone, at: Timestamp) -> Option<Timestamp> {
    day_start(zone, date(zone, at).tomorrow().ok()?)
}

/// The next full hour of the local clock after `at`.
pub fn next_hour(zone: &TimeZone, at: Timestamp) -> Option<Timestamp> {
    let local = at.as_second() + i64::from(zone.to_offset(at).seconds());
    let rest = SignedDuration::from_secs(3600 - local.rem_euclid(3600));
    let next = at.checked_add(rest).ok()?;
    Timestamp::from_second(next.as_second()).ok()
}
