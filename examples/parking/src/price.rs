//! What parking costs: pure, in whole minutes and whole minor units.

/// A stretch of a tariff: from a minute on, each started `every_minutes` cost `price_minor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// 0 to 1,439, ascending.
    pub from_minute: i64,
    /// 1 to 1,440.
    pub every_minutes: i64,
    /// 0 to 10⁹.
    pub price_minor: i64,
}

/// What a location charges.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tariff {
    /// Who leaves within so many minutes pays nothing.
    pub grace_minutes: i64,
    /// Most for each 24 hours from the entry on.
    pub daily_max_minor: Option<i64>,
    /// In ascending order of `from_minute`; none: parking is free.
    pub steps: Vec<Step>,
}

const DAY: i64 = 1_440;

impl Tariff {
    /// What `seconds` of parking cost; started minutes count. `None` past the range of the integers.
    pub fn price_minor(&self, seconds: i64) -> Option<i64> {
        let minutes = seconds.max(0).checked_add(59)? / 60;
        if minutes <= self.grace_minutes {
            return Some(0);
        }
        let whole_days = self.one_day(DAY)?.checked_mul(minutes / DAY)?;
        whole_days.checked_add(self.one_day(minutes % DAY)?)
    }

    /// The first `minutes` of a day of parking.
    fn one_day(&self, minutes: i64) -> Option<i64> {
        let mut sum: i64 = 0;
        for (place, step) in self.steps.iter().enumerate() {
            let until = self.steps.get(place + 1).map_or(DAY, |next| next.from_minute);
            let within = minutes.min(until) - step.from_minute;
            if within > 0 {
                let units = (within + step.every_minutes - 1) / step.every_minutes;
                sum = sum.checked_add(units.checked_mul(step.price_minor)?)?;
            }
        }
        Some(self.daily_max_minor.map_or(sum, |max| sum.min(max)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tariff() -> Tariff {
        let step = |from_minute, every_minutes, price_minor| Step { from_minute, every_minutes, price_minor };
        Tariff {
            grace_minutes: 15,
            daily_max_minor: Some(2_000),
            steps: vec![step(0, 30, 150), step(120, 60, 200)],
        }
    }

    #[test]
    fn minutes_become_money() {
        for (seconds, minor) in [
            (-5, 0),
            (0, 0),
            (15 * 60, 0),
            (15 * 60 + 1, 150),
            (30 * 60, 150),
            (30 * 60 + 1, 300),
            (120 * 60, 600),
            (121 * 60, 800),
            (180 * 60, 800),
            (24 * 3600, 2_000),
            (24 * 3600 + 60, 2_150),
            (49 * 3600, 4_300),
        ] {
            assert_eq!(tariff().price_minor(seconds), Some(minor), "{seconds} s");
        }
    }

    #[test]
    fn longer_is_never_cheaper_and_nothing_overflows() {
        let mut last = 0;
        for minute in 0..(3 * DAY) {
            let price = tariff().price_minor(minute * 60).expect("small");
            assert!(price >= last, "minute {minute}");
            last = price;
        }
        assert_eq!(Tariff::default().price_minor(i64::MAX / 2), Some(0));
        let dear = Tariff { daily_max_minor: None, ..tariff() };
        assert!(dear.price_minor(i64::MAX).is_none());
    }
}
