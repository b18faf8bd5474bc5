//! Time as an argument. The binary hands in a clock that reads the system's; tests hand in one they move.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// A source of wall-clock time, in microseconds since 1970-01-01 UTC.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// A clock that asks `read`; called once per decision, so it should be cheap.
    pub fn new(read: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Clock(Arc::new(read))
    }

    /// A clock that stands still until its hand is moved.
    pub fn by_hand(start_us: i64) -> (Self, Hand) {
        let now = Arc::new(AtomicI64::new(start_us));
        let hand = Hand(now.clone());
        (Clock::new(move || now.load(Ordering::SeqCst)), hand)
    }

    /// Microseconds since 1970-01-01 UTC.
    pub fn now_us(&self) -> i64 {
        (self.0)()
    }

    /// Whole seconds since 1970-01-01 UTC.
    pub fn now_s(&self) -> i64 {
        self.now_us().div_euclid(1_000_000)
    }

    /// The same instant as a `jiff` timestamp.
    pub fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.now_us()).expect("clocks stay within the years 0 to 9999")
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Clock({})", self.now_us())
    }
}

/// Moves a clock made by [`Clock::by_hand`].
#[derive(Clone, Debug)]
pub struct Hand(Arc<AtomicI64>);

impl Hand {
    /// Moves the clock forward (or, if negative, back).
    pub fn advance_us(&self, by_us: i64) {
        self.0.fetch_add(by_us, Ordering::SeqCst);
    }
}
