//! Circuits: a service that fails is left alone for a while, and then tried carefully. Pure: the instant comes in.

use super::CircuitState;

/// Seconds that are looked back on.
const SPAN_S: i64 = 10;
/// Fewer requests than this in the span say nothing.
const REQUESTS_LEAST: u32 = 20;
/// How long an open circuit stays open, µs.
const OPEN_US: i64 = 5_000_000;
/// Requests that try a service after that.
const TRIALS: u32 = 3;

/// One service as one core sees it.
#[derive(Debug, Clone, Default)]
pub struct Circuit {
    phase: Phase,
    seconds: [Second; SPAN_S as usize],
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Closed,
    Open {
        until_us: i64,
    },
    /// So many were let through since, and so many of them went well.
    HalfOpen {
        since_us: i64,
        tried: u32,
        well: u32,
    },
}

#[derive(Debug, Clone, Copy, Default)]
struct Second {
    number: i64,
    all: u32,
    failed: u32,
}

impl Circuit {
    /// Whether a request may be sent; else after how many µs to ask again.
    ///
    /// # Errors
    /// The time until the service is tried again.
    pub fn admit(&mut self, now_us: i64) -> Result<(), i64> {
        match &mut self.phase {
            Phase::Closed => Ok(()),
            Phase::Open { until_us } if now_us < *until_us => Err(*until_us - now_us),
            // Trials that nobody told the end of, as when their clients went away, do not keep it half open for ever.
            Phase::HalfOpen { since_us, tried, .. } if *tried >= TRIALS && now_us < *since_us + OPEN_US => {
                Err(*since_us + OPEN_US - now_us)
            }
            Phase::HalfOpen { tried, .. } if *tried < TRIALS => {
                *tried += 1;
                Ok(())
            }
            Phase::Open { .. } | Phase::HalfOpen { .. } => {
                self.phase = Phase::HalfOpen { since_us: now_us, tried: 1, well: 0 };
                Ok(())
            }
        }
    }

    /// How a request that was let through ended.
    pub fn note(&mut self, now_us: i64, failed: bool) {
        match (&mut self.phase, failed) {
            (Phase::Open { .. }, _) => {}
            (Phase::HalfOpen { .. }, true) => self.open(now_us),
            (Phase::HalfOpen { well, .. }, false) => {
                *well += 1;
                if *well >= TRIALS {
                    *self = Circuit::default();
                }
            }
            (Phase::Closed, _) => self.count(now_us, failed),
        }
    }

    /// A request that was noted to go well when its answer began has broken off in the middle of it. `now_us` is what was noted then.
    pub fn broke_off(&mut self, now_us: i64) {
        let number = now_us.div_euclid(1_000_000);
        let second = &mut self.seconds[number.rem_euclid(SPAN_S) as usize];
        match self.phase {
            Phase::Open { .. } => {}
            Phase::HalfOpen { .. } => self.open(now_us),
            // One that began longer ago than is looked back on says nothing.
            Phase::Closed if second.number == number && second.failed < second.all => {
                second.failed += 1;
                self.judge(number, now_us);
            }
            Phase::Closed => {}
        }
    }

    /// Whether requests are refused or only tried.
    pub fn is_open(&self) -> bool {
        self.phase != Phase::Closed
    }

    /// How it stands, for who looks at it.
    pub fn state(&self) -> CircuitState {
        match self.phase {
            Phase::Closed => CircuitState::Closed,
            Phase::HalfOpen { .. } => CircuitState::HalfOpen,
            Phase::Open { .. } => CircuitState::Open,
        }
    }

    fn open(&mut self, now_us: i64) {
        *self = Circuit { phase: Phase::Open { until_us: now_us + OPEN_US }, ..Circuit::default() };
    }

    fn count(&mut self, now_us: i64, failed: bool) {
        let number = now_us.div_euclid(1_000_000);
        let second = &mut self.seconds[number.rem_euclid(SPAN_S) as usize];
        if second.number != number {
            *second = Second { number, all: 0, failed: 0 };
        }
        second.all += 1;
        second.failed += u32::from(failed);
        if failed {
            self.judge(number, now_us);
        }
    }

    /// Opens it if half of enough requests failed.
    fn judge(&mut self, number: i64, now_us: i64) {
        let recent = self.seconds.iter().filter(|second| number - second.number < SPAN_S);
        let (all, failed) =
            recent.fold((0, 0), |(all, failed), second| (all + second.all, failed + second.failed));
        if all >= REQUESTS_LEAST && failed * 2 >= all {
            self.open(now_us);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;

    fn noted(circuit: &mut Circuit, now_us: i64, well: u32, failed: u32) {
        (0..well).for_each(|_| circuit.note(now_us, false));
        (0..failed).for_each(|_| circuit.note(now_us, true));
    }

    #[test]
    fn it_opens_at_half_of_twenty_within_ten_seconds() {
        for (well, failed, expected) in
            [(0, 19, false), (0, 20, true), (10, 10, true), (11, 10, false), (100, 99, false)]
        {
            let mut circuit = Circuit::default();
            noted(&mut circuit, 0, well, failed);
            assert_eq!(circuit.is_open(), expected, "{well} well, {failed} failed");
        }
        let mut circuit = Circuit::default();
        noted(&mut circuit, 0, 0, 19);
        noted(&mut circuit, 10 * S, 0, 19);
        assert!(!circuit.is_open(), "the first nineteen are out of view");
        noted(&mut circuit, 19 * S, 0, 1);
        assert!(circuit.is_open());
    }

    #[test]
    fn what_breaks_off_later_counts_once_and_as_a_failure() {
        let mut circuit = Circuit::default();
        noted(&mut circuit, 0, 20, 0);
        (0..9).for_each(|_| circuit.broke_off(0));
        assert!(!circuit.is_open(), "nine of twenty");
        circuit.broke_off(0);
        assert!(circuit.is_open());
        // Its second is out of view.
        let mut late = Circuit::default();
        noted(&mut late, 0, 30, 0);
        noted(&mut late, 10 * S, 10, 9);
        late.broke_off(0);
        assert!(!late.is_open(), "at a time that nobody looks back on");
        late.note(10 * S, true);
        assert!(late.is_open(), "ten of twenty since");
        // A trial that breaks off opens it again.
        let mut tried = Circuit::default();
        noted(&mut tried, 0, 0, 20);
        assert!(tried.admit(5 * S).is_ok() && tried.state() == CircuitState::HalfOpen);
        tried.note(5 * S, false);
        tried.broke_off(5 * S);
        assert_eq!(tried.state(), CircuitState::Open);
    }

    #[test]
    fn an_open_one_is_tried_by_three_and_closes_when_all_go_well() {
        let mut circuit = Circuit::default();
        noted(&mut circuit, 0, 0, 20);
        assert_eq!((circuit.admit(0), circuit.admit(2 * S)), (Err(5 * S), Err(3 * S)));
        let trials: Vec<_> = (0..4).map(|_| circuit.admit(5 * S)).collect();
        assert_eq!(trials, [Ok(()), Ok(()), Ok(()), Err(5 * S)]);
        noted(&mut circuit, 6 * S, 2, 0);
        assert!(circuit.is_open());
        noted(&mut circuit, 6 * S, 1, 0);
        assert!(!circuit.is_open() && circuit.admit(6 * S).is_ok());
    }

    #[test]
    fn a_failed_trial_opens_it_again_and_lost_ones_do_not_keep_it() {
        let mut circuit = Circuit::default();
        noted(&mut circuit, 0, 0, 20);
        assert!(circuit.admit(5 * S).is_ok());
        circuit.note(6 * S, true);
        assert_eq!(circuit.admit(6 * S), Err(5 * S));
        (0..3).for_each(|_| assert!(circuit.admit(11 * S).is_ok()));
        assert!(circuit.admit(15 * S).is_err());
        assert!(circuit.admit(16 * S).is_ok(), "three trials that nobody told the end of");
    }
}
