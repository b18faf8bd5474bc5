//! How long the data of a tenant that leaves is kept before it is erased.

use jiff::{SignedDuration, Timestamp};

/// Days, unless the tier or the order says otherwise.
pub const DEFAULT_DAYS: u16 = 30;
/// The most that can be asked for: ten years.
pub const DAYS_MAX: u16 = 3_650;

/// The days that hold: what was ordered, else the tier's, else [`DEFAULT_DAYS`]. `None` beyond [`DAYS_MAX`].
pub fn days(ordered: Option<u16>, of_tier: Option<u16>) -> Option<u16> {
    let days = ordered.or(of_tier).unwrap_or(DEFAULT_DAYS);
    (days <= DAYS_MAX).then_some(days)
}

/// When a retention of `days` that begins at `from` ends.
pub fn end(from: Timestamp, days: u16) -> Timestamp {
    from + SignedDuration::from_hours(24 * i64::from(days))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_wins_over_the_tier_and_the_tier_over_the_default() {
        assert_eq!(
            [days(Some(0), Some(7)), days(None, Some(7)), days(None, None)],
            [Some(0), Some(7), Some(30)]
        );
        assert_eq!([days(Some(3_650), None), days(Some(3_651), None)], [Some(3_650), None]);
        let from: Timestamp = "2026-02-28T12:00:00Z".parse().expect("a time");
        assert_eq!(end(from, 1).to_string(), "2026-03-01T12:00:00Z");
        assert_eq!(end(from, 0), from);
    }
}
