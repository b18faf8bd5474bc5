//! When a change of tier takes effect, and which quotas the present usage is above.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// When a change is to take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effective {
    /// At once.
    Now,
    /// When the running billing period ends.
    PeriodEnd,
    /// At this time.
    At(Timestamp),
}

impl Effective {
    /// Reads `now`, `period_end` or a time (RFC 3339).
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "now" => Some(Effective::Now),
            "period_end" => Some(Effective::PeriodEnd),
            time => time.parse().ok().map(Effective::At),
        }
    }

    /// What holds if nothing is said: an upgrade at once, a downgrade when the period ends.
    pub fn by_rank(from: u32, to: u32) -> Self {
        if to >= from { Effective::Now } else { Effective::PeriodEnd }
    }

    /// The instant; `None` for at once. A time that has passed is at once.
    pub fn instant(self, now: Timestamp, period_end: Timestamp) -> Option<Timestamp> {
        let at = match self {
            Effective::Now => return None,
            Effective::PeriodEnd => period_end,
            Effective::At(at) => at,
        };
        (at > now).then_some(at)
    }
}

/// A meter of which more is used than the new quota gives, in units of 10⁻¹².
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverQuota {
    /// Of what.
    pub meter: String,
    /// How much is used in the quota's window.
    pub used: i128,
    /// How much the new quota gives.
    pub limit: i128,
}

/// Meters whose usage is above the new quotas; `None` is unlimited. Exactly the quota is not above it.
pub fn over_quota(
    used: impl IntoIterator<Item = (String, i128)>,
    quotas: &BTreeMap<String, Option<i128>>,
) -> Vec<OverQuota> {
    let above = |(meter, used): (String, i128)| {
        let limit = quotas.get(&meter).copied().flatten()?;
        (used > limit).then_some(OverQuota { meter, used, limit })
    };
    used.into_iter().filter_map(above).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upgrade_is_at_once_and_a_downgrade_at_the_end_of_the_period() {
        let (now, end): (Timestamp, Timestamp) = (
            "2026-11-21T10:00:00Z".parse().expect("a time"),
            "2026-12-01T00:00:00Z".parse().expect("a time"),
        );
        let of = |from, to| Effective::by_rank(from, to).instant(now, end);
        assert_eq!((of(1, 3), of(2, 2), of(3, 1)), (None, None, Some(end)));
        let said = |word: &str| Effective::parse(word).map(|when| when.instant(now, end));
        assert_eq!(said("now"), Some(None));
        assert_eq!(said("period_end"), Some(Some(end)));
        assert_eq!(said("2026-11-25T00:00:00Z"), Some(Some("2026-11-25T00:00:00Z".parse().expect("a time"))));
        assert_eq!(said("2020-01-01T00:00:00Z"), Some(None), "what has passed is at once");
        assert_eq!(said("tomorrow"), None);
    }

    #[test]
    fn only_what_is_above_its_quota_is_over_it() {
        let quotas = BTreeMap::from([("users".to_owned(), Some(50)), ("stamps".to_owned(), None)]);
        let used =
            [("users", 51), ("stamps", 1_000), ("unknown", 9)].map(|(meter, used)| (meter.to_owned(), used));
        let over = over_quota(used.clone(), &quotas);
        assert_eq!(over, [OverQuota { meter: "users".to_owned(), used: 51, limit: 50 }]);
        assert!(over_quota([("users".to_owned(), 50)], &quotas).is_empty());
    }
}
