//! How soon to start again what ended, and when to give up.
//!
//! A start that came to take connections shows that starting works, so an end after it, a `kill -9` for instance, costs the shortest
//! wait however often it comes. Starts that fail wait twice as long each time, and a PostgreSQL that fails five of them within a minute is
//! left alone: it needs a person.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

const WAIT_MIN: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(10);
const FAILURES_MAX: usize = 5;
const FAILURES_WINDOW: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(in crate::server) struct Restarts {
    failed_starts: VecDeque<Instant>,
    failures_in_a_row: u32,
}

/// What to do after an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Next {
    StartAfter(Duration),
    GiveUp,
}

impl Restarts {
    /// Answers the end of what was started at `started_at`; `ready`: it had come to work.
    pub fn after_end(&mut self, started_at: Instant, ready: bool) -> Next {
        if ready {
            *self = Restarts::default();
            return Next::StartAfter(WAIT_MIN);
        }
        self.failed_starts.push_back(started_at);
        while self
            .failed_starts
            .front()
            .is_some_and(|first| started_at.duration_since(*first) > FAILURES_WINDOW)
        {
            self.failed_starts.pop_front();
        }
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        if self.failed_starts.len() >= FAILURES_MAX {
            return Next::GiveUp;
        }
        Next::StartAfter(self.wait())
    }

    /// As [`Restarts::after_end`], for what is to be started for ever.
    pub fn wait_after_end(&mut self, started_at: Instant, ready: bool) -> Duration {
        match self.after_end(started_at, ready) {
            Next::StartAfter(wait) => wait,
            Next::GiveUp => self.wait(),
        }
    }

    fn wait(&self) -> Duration {
        let doublings = self.failures_in_a_row.saturating_sub(1).min(16);
        WAIT_MIN.saturating_mul(1 << doublings).min(WAIT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failed_starts_within_a_minute_end_it() {
        let start = Instant::now();
        let mut restarts = Restarts::default();
        for (index, wait_ms) in [200, 400, 800, 1_600].into_iter().enumerate() {
            let started_at = start + Duration::from_secs(10 * index as u64);
            assert_eq!(
                restarts.after_end(started_at, false),
                Next::StartAfter(Duration::from_millis(wait_ms))
            );
        }
        assert_eq!(restarts.after_end(start + Duration::from_secs(60), false), Next::GiveUp);
    }

    #[test]
    fn slow_failures_go_on_with_the_longest_wait() {
        let start = Instant::now();
        let mut restarts = Restarts::default();
        let nexts: Vec<Next> =
            (0..20).map(|index| restarts.after_end(start + Duration::from_secs(16 * index), false)).collect();
        assert!(!nexts.contains(&Next::GiveUp), "{nexts:?}");
        assert_eq!(nexts.last(), Some(&Next::StartAfter(WAIT_MAX)));
    }

    #[test]
    fn a_working_start_forgives_all() {
        let start = Instant::now();
        let mut restarts = Restarts::default();
        for _ in 0..100 {
            assert_eq!(restarts.after_end(start, true), Next::StartAfter(WAIT_MIN));
            assert_eq!(restarts.after_end(start, false), Next::StartAfter(WAIT_MIN));
        }
    }

    #[test]
    fn a_service_is_never_given_up() {
        let start = Instant::now();
        let mut restarts = Restarts::default();
        let waits: Vec<Duration> = (0..40).map(|_| restarts.wait_after_end(start, false)).collect();
        assert_eq!(waits[0], WAIT_MIN);
        assert_eq!(waits[39], WAIT_MAX);
    }
}
