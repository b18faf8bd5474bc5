//! When something holds: from an instant until before another.

/// `[from_us, until_us)`, µs since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Interval {
    /// From this instant.
    pub from_us: i64,
    /// Until before this instant.
    pub until_us: i64,
}

/// Where an instant lies to an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Before it.
    Pending,
    /// Within it.
    Active,
    /// After it.
    Expired,
    /// The interval is empty: never.
    Never,
}

impl Interval {
    /// For good.
    pub const ALWAYS: Interval = Interval { from_us: i64::MIN, until_us: i64::MAX };

    /// An open end is for good.
    pub fn new(from_us: Option<i64>, until_us: Option<i64>) -> Self {
        Interval { from_us: from_us.unwrap_or(i64::MIN), until_us: until_us.unwrap_or(i64::MAX) }
    }

    /// When both hold.
    #[must_use]
    pub fn and(self, other: Interval) -> Self {
        let from_us = self.from_us.max(other.from_us);
        Interval { from_us, until_us: self.until_us.min(other.until_us) }
    }

    /// Whether `other` lies within it.
    pub fn contains(self, other: Interval) -> bool {
        self.from_us <= other.from_us && other.until_us <= self.until_us
    }

    /// Whether there is no instant in it.
    pub fn is_empty(self) -> bool {
        self.from_us >= self.until_us
    }

    /// Where `now_us` lies.
    pub fn state(self, now_us: i64) -> State {
        match () {
            () if self.is_empty() => State::Never,
            () if now_us < self.from_us => State::Pending,
            () if now_us < self.until_us || self.until_us == i64::MAX => State::Active,
            () => State::Expired,
        }
    }

    /// The instants at which it begins and ends, if it does.
    pub fn bounds(self) -> impl Iterator<Item = i64> {
        [self.from_us, self.until_us].into_iter().filter(|bound| !matches!(*bound, i64::MIN | i64::MAX))
    }
}
