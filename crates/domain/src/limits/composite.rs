//! Several limits at once: all are charged, or none.

use super::{Rule, State, Verdict};

/// What came out for several limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// Whether no limit that is enforced refuses.
    pub allowed: bool,
    /// The refusal with the longest wait; never is longest.
    pub binding: Option<usize>,
    /// One per limit, in their order. One that would have passed in a refusal tells what it has without the charge.
    pub verdicts: Vec<Verdict>,
}

/// A limit, how its counter stands, and whether it only watches.
pub type Standing = (Rule, State, bool);

/// Decides `cost` units against all. The caller stores each verdict's `next`: what was not charged there is as it was.
/// A limit that only watches refuses nothing, and is charged as if it were enforced.
pub fn decide_all(limits: &[Standing], now_us: i64, cost: i64) -> Decided {
    let tried: Vec<Verdict> =
        limits.iter().map(|(rule, state, _)| rule.decide(*state, now_us, cost)).collect();
    let refusals = tried.iter().zip(limits).enumerate();
    let refusals = refusals.filter(|(_, (verdict, (_, _, watches)))| !verdict.allowed && !watches);
    let wait = |verdict: &Verdict| verdict.retry_after_us.unwrap_or(i64::MAX);
    // Of equal waits the first is told.
    let binding =
        refusals.min_by_key(|(_, (verdict, _))| std::cmp::Reverse(wait(verdict))).map(|(place, _)| place);
    let keeps_charge = |verdict: &Verdict| binding.is_none() && verdict.allowed && cost > 0;
    let verdicts = tried
        .into_iter()
        .zip(limits)
        .map(|(verdict, (rule, state, _))| match () {
            () if keeps_charge(&verdict) => verdict,
            () if verdict.allowed => uncharged(rule, *state, rule.decide(*state, now_us, 0)),
            () => uncharged(rule, *state, verdict),
        })
        .collect();
    Decided { allowed: binding.is_none(), binding, verdicts }
}

/// What was not charged stays as it is stored, unless the clock went back or it is counted with another window now.
fn uncharged(rule: &Rule, state: State, verdict: Verdict) -> Verdict {
    let another_window = state.window != 0 && state.window != rule.window();
    match another_window || verdict.next.at < state.at {
        true => verdict,
        false => Verdict { next: state, ..verdict },
    }
}

#[cfg(test)]
mod tests {
    use super::super::Algorithm;
    use super::*;

    fn limit(quota: i64, window_ms: i64, watches: bool) -> Standing {
        let rule = Rule::new(Algorithm::TokenBucket, quota, window_ms, None).expect("in bounds");
        (rule, State::default(), watches)
    }

    fn apply(limits: &mut [Standing], now_us: i64, cost: i64) -> Decided {
        let decided = decide_all(limits, now_us, cost);
        limits.iter_mut().zip(&decided.verdicts).for_each(|(limit, verdict)| limit.1 = verdict.next);
        decided
    }

    #[test]
    fn with_one_exhausted_the_others_are_unchanged() {
        let mut limits = [limit(5, 1000, false), limit(1, 60_000, false), limit(9, 1000, false)];
        assert!(apply(&mut limits, 0, 1).allowed);
        for _ in 0..10 {
            let decided = apply(&mut limits, 0, 1);
            assert_eq!((decided.allowed, decided.binding), (false, Some(1)));
            let left: Vec<i64> = decided.verdicts.iter().map(|verdict| verdict.remaining).collect();
            assert_eq!(left, [4, 0, 8]);
        }
    }

    #[test]
    fn the_longest_wait_binds_and_never_is_longest() {
        let mut limits = [limit(2, 1000, false), limit(2, 60_000, false), limit(1, 1000, false)];
        assert_eq!(decide_all(&limits, 0, 2).binding, Some(2), "it can never fit");
        assert!(apply(&mut limits, 0, 1).allowed);
        assert!(apply(&mut limits, 1_000_000, 1).allowed);
        assert_eq!(apply(&mut limits, 1_000_000, 1).binding, Some(1));
    }

    #[test]
    fn one_that_only_watches_refuses_nothing_and_charges_as_if_it_were_enforced() {
        let mut limits = [limit(9, 1000, false), limit(1, 60_000, true)];
        let allowed: Vec<bool> = (0..3).map(|_| apply(&mut limits, 0, 1).verdicts[1].allowed).collect();
        assert_eq!(allowed, [true, false, false]);
        assert_eq!(apply(&mut limits, 0, 0).verdicts[0].remaining, 6, "all three were let through");
    }
}
