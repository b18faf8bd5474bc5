//! Whether the store is asked at all. Five failures in a row, or half of at least twenty calls of a second, and nobody
//! waits for it until it has answered a probe.

use std::time::{Duration, Instant};

const IN_A_ROW: u32 = 5;
const CALLS_LEAST: u32 = 20;
const SPAN: Duration = Duration::from_secs(1);

/// Counts calls of about the last second.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    in_a_row: u32,
    span: Option<(Instant, u32, u32)>,
    open: bool,
}

impl Breaker {
    /// Whether calls are let through.
    pub(super) fn lets_through(&self) -> bool {
        !self.open
    }

    /// Notes how a call ended. Answers whether it opened just now.
    pub(super) fn note(&mut self, answered: bool, now: Instant) -> bool {
        let (since, calls, failures) = match self.span.take() {
            Some(span) if now.saturating_duration_since(span.0) < SPAN => span,
            _ => (now, 0, 0),
        };
        let (calls, failures) = (calls + 1, failures + u32::from(!answered));
        self.span = Some((since, calls, failures));
        self.in_a_row = if answered { 0 } else { self.in_a_row + 1 };
        let opens = !self.open
            && !answered
            && (self.in_a_row >= IN_A_ROW || (calls >= CALLS_LEAST && failures * 2 >= calls));
        self.open |= opens;
        opens
    }

    /// A probe was answered.
    pub(super) fn close(&mut self) {
        *self = Breaker::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_in_a_row_open_it_and_a_probe_closes_it() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        let opened: Vec<bool> = [false, false, true, false, false, false, false, false, false]
            .map(|ok| breaker.note(ok, now))
            .into();
        assert_eq!(opened, [false, false, false, false, false, false, false, true, false]);
        assert!(!breaker.lets_through());
        breaker.close();
        assert!(breaker.lets_through() && !breaker.note(false, now));
    }

    #[test]
    fn half_of_twenty_in_a_second_open_it_and_old_ones_are_forgotten() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        let opens = (0..20).map(|call| breaker.note(call % 2 == 0, now)).position(|opened| opened);
        assert_eq!(opens, Some(19));
        let mut slow = Breaker::default();
        let later = |call: u32| now + Duration::from_millis(u64::from(call) * 120);
        assert!(
            (0..60).all(|call| !slow.note(call % 2 == 0, later(call))),
            "eight calls a second are too few"
        );
    }
}
