//! One quota's usage in one window. Reserved before a request is forwarded, corrected when its usage is known.

use std::sync::Arc;

use portable_atomic::{AtomicI64, AtomicI128, Ordering};
use rowhouse_domain::resources::admits;

/// Usage of one meter by one tenant in one window, in units of 10⁻¹².
#[derive(Debug)]
pub(crate) struct QuotaCounter {
    used: AtomicI128,
    /// Of a standing quota, how much there is: what is reported of it is not added, it replaces this.
    level: Option<AtomicI128>,
    /// When the request began that was taken note of last, in microseconds since 1970; 0 before the first.
    noted_us: AtomicI64,
    /// The meter it counts.
    pub(crate) meter: Arc<str>,
}

impl QuotaCounter {
    /// Starts with what is already known to be used.
    pub(crate) fn new(meter: Arc<str>, used: i128) -> Self {
        QuotaCounter { used: AtomicI128::new(used), level: None, noted_us: AtomicI64::new(0), meter }
    }

    /// Of what exists now, as in the number of locations: `used` exist.
    pub(crate) fn standing(meter: Arc<str>, used: i128) -> Self {
        QuotaCounter { level: Some(AtomicI128::new(used)), ..QuotaCounter::new(meter, used) }
    }

    /// Says when the request began that is taken note of now.
    pub(crate) fn noted_at(&self, at_us: i64) {
        self.noted_us.fetch_max(at_us, Ordering::AcqRel);
    }

    /// Whether it has taken note of a request that began after `as_of_us`: a figure of that time knows less.
    pub(crate) fn knows_more_than(&self, as_of_us: i64) -> bool {
        self.noted_us.load(Ordering::Acquire) > as_of_us
    }

    /// Takes note of `units` that a request used, of which `reserved` were reserved before.
    pub(crate) fn note(&self, units: i128, reserved: i128) {
        let before = self.level.as_ref().map_or(0, |level| level.swap(units, Ordering::AcqRel));
        self.correct(units - before - reserved);
    }

    /// Reserves `wanted` if it fits `limit`: exactly the limit is reached, never more. `known` is the usage that
    /// the directory knows of; other gateways' usage arrives that way.
    pub(crate) fn reserve(&self, wanted: i128, known: i128, limit: i128) -> bool {
        let take = |used: i128| {
            let used = used.max(known);
            admits(used, wanted, Some(limit)).then(|| used + wanted)
        };
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok()
    }

    /// Corrects by a difference, up or down.
    pub(crate) fn correct(&self, difference: i128) {
        if difference != 0 {
            self.used.fetch_add(difference, Ordering::AcqRel);
        }
    }

    /// What is used and reserved.
    pub(crate) fn used(&self) -> i128 {
        self.used.load(Ordering::Acquire)
    }
}

/// What one request has reserved of one meter. Settled exactly once; dropped unsettled, it is given back.
#[derive(Debug)]
pub(crate) struct Reservation {
    counter: Arc<QuotaCounter>,
    reserved: i128,
}

impl Reservation {
    /// Holds `reserved` units of `counter`, which were taken with [`QuotaCounter::reserve`].
    pub(crate) fn new(counter: Arc<QuotaCounter>, reserved: i128) -> Self {
        Reservation { counter, reserved }
    }

    /// The service has made what was reserved, and nobody has measured it yet: of what exists it stays reserved until
    /// that is done. Otherwise more could be made between two measurements than there is room for.
    pub(crate) fn keep_if_standing(mut self) {
        if let Some(level) = &self.counter.level {
            level.fetch_add(self.reserved, Ordering::AcqRel);
            self.reserved = 0;
        }
    }

    /// Perhaps what was reserved was used, and nobody will say: it stays taken until the window is over, or until it is measured.
    pub(crate) fn keep(mut self) {
        if let Some(level) = &self.counter.level {
            level.fetch_add(self.reserved, Ordering::AcqRel);
        }
        self.reserved = 0;
    }

    /// The meter it counts.
    pub(crate) fn meter(&self) -> &str {
        &self.counter.meter
    }

    /// Replaces what was reserved by what was used; of what exists, by the level that was reported by a request that began at `at_us`.
    pub(crate) fn settle(mut self, used: i128, at_us: i64) {
        self.counter.noted_at(at_us);
        self.counter.note(used, self.reserved);
        self.reserved = 0;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.counter.correct(-self.reserved);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_limit_is_reached_by_many_threads() {
        let counter = QuotaCounter::new("stamps".into(), 10);
        let admitted = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        if counter.reserve(1, 0, 110) {
                            admitted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), 100);
        assert_eq!(counter.used(), 110);
    }

    #[test]
    fn what_is_reported_of_what_exists_is_not_added() {
        let counter = Arc::new(QuotaCounter::standing("locations".into(), 2));
        let reserve = || {
            assert!(counter.reserve(1, 0, 5));
            Reservation::new(counter.clone(), 1)
        };
        let (third, fourth) = (reserve(), reserve());
        third.settle(3, 0);
        assert_eq!(counter.used(), 4, "three exist, one more is under way");
        fourth.settle(4, 0);
        assert_eq!(counter.used(), 4);
        counter.note(3, 0);
        assert_eq!(counter.used(), 3, "one is gone");
        drop(reserve());
        assert_eq!(counter.used(), 3);
    }

    #[test]
    fn settled_replaces_and_dropped_gives_back() {
        let counter = Arc::new(QuotaCounter::new("stamps".into(), 0));
        let reserve = || {
            assert!(counter.reserve(1, 0, 100));
            Reservation::new(counter.clone(), 1)
        };
        reserve().settle(5, 0);
        assert_eq!(counter.used(), 5);
        drop(reserve());
        assert_eq!(counter.used(), 5);
        reserve().settle(0, 0);
        assert_eq!(counter.used(), 5);
    }

    #[test]
    fn what_was_made_of_a_standing_quota_stays_reserved_until_it_is_measured() {
        for (made, used) in
            [(QuotaCounter::new as fn(Arc<str>, i128) -> QuotaCounter, 4), (QuotaCounter::standing, 5)]
        {
            let counter = Arc::new(made("locations".into(), 4));
            assert!(counter.reserve(1, 0, 5));
            Reservation::new(counter.clone(), 1).keep_if_standing();
            assert_eq!(counter.used(), used);
        }
        let counter = Arc::new(QuotaCounter::standing("locations".into(), 4));
        assert!(counter.reserve(1, 0, 5));
        Reservation::new(counter.clone(), 1).keep_if_standing();
        assert!(!counter.reserve(1, 0, 5));
        counter.note(5, 0);
        assert_eq!(counter.used(), 5, "what is reported then is the same, not one more");
    }

    #[test]
    fn what_may_have_been_used_stays_taken() {
        let counter = Arc::new(QuotaCounter::new("stamps".into(), 4));
        assert!(counter.reserve(1, 0, 5));
        Reservation::new(counter.clone(), 1).keep();
        assert_eq!(counter.used(), 5);
        let standing = Arc::new(QuotaCounter::standing("locations".into(), 4));
        assert!(standing.reserve(1, 0, 5));
        Reservation::new(standing.clone(), 1).keep();
        assert_eq!(standing.used(), 5);
        standing.note(4, 0);
        assert_eq!(standing.used(), 4, "measured, it was not made");
    }

    #[test]
    fn what_the_directory_knows_counts_when_it_is_more() {
        let counter = QuotaCounter::new("stamps".into(), 1);
        assert!(!counter.reserve(1, 10, 10));
        assert!(counter.reserve(1, 9, 10));
        assert_eq!(counter.used(), 10);
    }
}
