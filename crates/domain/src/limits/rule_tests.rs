use proptest::prelude::*;

use super::*;

fn rule(algorithm: Algorithm, quota: i64, window_ms: i64, burst: Option<i64>) -> Rule {
    Rule::new(algorithm, quota, window_ms, burst).expect("in bounds")
}

/// at ms, cost, allowed, remaining, retry ms (−1: never), reset ms, delay ms.
type Row = (i64, i64, bool, i64, i64, i64, i64);

#[track_caller]
fn follows(rule: Rule, rows: &[Row]) {
    let mut state = State::default();
    for &(at_ms, cost, allowed, remaining, retry_ms, reset_ms, delay_ms) in rows {
        let verdict = rule.decide(state, at_ms * 1000, cost);
        let told = (verdict.allowed, verdict.remaining, verdict.retry_after_us);
        let expected = (allowed, remaining, (retry_ms >= 0).then_some(retry_ms * 1000));
        assert_eq!(told, expected, "at {at_ms} ms, cost {cost}");
        let times = (verdict.reset_after_us, verdict.delay_us);
        assert_eq!(times, (reset_ms * 1000, delay_ms * 1000), "at {at_ms} ms, cost {cost}");
        state = verdict.next;
    }
}

#[test]
fn a_token_bucket() {
    follows(
        rule(Algorithm::TokenBucket, 10, 1000, Some(3)),
        &[
            (0, 1, true, 2, 0, 100, 0),
            (0, 2, true, 0, 0, 300, 0),
            (0, 1, false, 0, 100, 300, 0),
            (100, 1, true, 0, 0, 300, 0),
            (150, 0, true, 0, 0, 250, 0),
            (150, 4, false, 0, -1, 250, 0),
            (1000, 3, true, 0, 0, 300, 0),
            // The clock goes back: nothing drains, and the next second counts from there.
            (500, 1, false, 0, 100, 300, 0),
            (600, 1, true, 0, 0, 300, 0),
        ],
    );
}

#[test]
fn a_leaky_bucket_tells_how_long_those_before_take() {
    follows(
        rule(Algorithm::LeakyBucket, 10, 1000, Some(3)),
        &[
            (0, 1, true, 2, 0, 100, 0),
            (0, 1, true, 1, 0, 200, 100),
            (50, 1, true, 0, 0, 250, 150),
            (50, 1, false, 0, 50, 250, 250),
            (100, 1, true, 0, 0, 300, 200),
        ],
    );
}

#[test]
fn a_fixed_window_begins_anew_at_its_boundary() {
    follows(
        rule(Algorithm::FixedWindow, 3, 1000, None),
        &[
            (0, 2, true, 1, 0, 1000, 0),
            (900, 2, false, 1, 100, 100, 0),
            (900, 1, true, 0, 0, 100, 0),
            (999, 0, true, 0, 0, 1, 0),
            (999, 4, false, 0, -1, 1, 0),
            (1000, 3, true, 0, 0, 1000, 0),
            (500, 1, false, 0, 500, 500, 0),
            (1500, 1, true, 2, 0, 500, 0),
        ],
    );
}

#[test]
fn a_sliding_window_counts_the_share_in_view() {
    follows(
        rule(Algorithm::SlidingWindow, 10, 1000, None),
        &[
            (0, 10, true, 0, 0, 1000, 0),
            // Full: one unit of the ten leaves the view a tenth into the next window.
            (500, 1, false, 0, 600, 500, 0),
            (1000, 1, false, 0, 100, 1000, 0),
            (1100, 1, true, 0, 0, 900, 0),
            (1500, 4, true, 0, 0, 500, 0),
            (1500, 1, false, 0, 100, 500, 0),
            (1600, 1, true, 0, 0, 400, 0),
            (1600, 11, false, 0, -1, 400, 0),
            (3000, 10, true, 0, 0, 1000, 0),
        ],
    );
}

#[test]
fn numbers_out_of_bounds() {
    use Algorithm::{FixedWindow, TokenBucket};
    let bad = |algorithm, quota, window_ms, burst| Rule::new(algorithm, quota, window_ms, burst).err();
    assert!(matches!(bad(TokenBucket, 0, 1000, None), Some(BadNumbers::OutOfBounds { name: "quota", .. })));
    assert!(matches!(bad(TokenBucket, 1, 0, None), Some(BadNumbers::OutOfBounds { name: "window_ms", .. })));
    assert!(matches!(bad(TokenBucket, 1, 1, Some(-1)), Some(BadNumbers::OutOfBounds { name: "burst", .. })));
    assert!(matches!(bad(TokenBucket, 1, 86_400_000, Some(367)), Some(BadNumbers::TooSlow { .. })));
    assert!(matches!(bad(FixedWindow, 1_000_000_000, 2_678_400_000, None), Some(BadNumbers::TooFine { .. })));
    assert!(matches!(bad(TokenBucket, 1_000_000_000, 10_000_001, None), Some(BadNumbers::TooFine { .. })));
    assert!(bad(TokenBucket, 500_000_000, 2_678_400_000, None).is_none(), "falls back to seconds");
}

#[test]
fn what_is_used_stays_used_when_the_window_changes() {
    let (second, minute) =
        (rule(Algorithm::TokenBucket, 1000, 1000, None), rule(Algorithm::TokenBucket, 1000, 60_000, None));
    let used = second.decide(State::default(), 0, 700).next;
    assert_eq!(minute.decide(used, 0, 0).remaining, 300);
    let (second, minute) =
        (rule(Algorithm::FixedWindow, 1000, 1000, None), rule(Algorithm::FixedWindow, 1000, 60_000, None));
    let used = second.decide(State::default(), 0, 700).next;
    assert_eq!(minute.decide(used, 999_000, 0).remaining, 300);
    assert_eq!(minute.decide(used, 1_000_000, 0).remaining, 1000, "that second is over");
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let algorithm = prop_oneof![
        Just(Algorithm::TokenBucket),
        Just(Algorithm::LeakyBucket),
        Just(Algorithm::SlidingWindow),
        Just(Algorithm::FixedWindow)
    ];
    (algorithm, 1i64..1000, 1i64..3000, 1i64..1000)
        .prop_map(|(algorithm, quota, window_ms, burst)| rule(algorithm, quota, window_ms, Some(burst)))
}

proptest! {
    #[test]
    fn refused_charges_nothing_and_the_told_time_is_enough_and_not_too_long(
        rule in any_rule(),
        steps in proptest::collection::vec((0i64..900_000, 0i64..1100), 1..60),
    ) {
        let (mut state, mut now) = (State::default(), 0i64);
        for (wait, cost) in steps {
            now += wait;
            let before = rule.decide(state, now, 0);
            let verdict = rule.decide(state, now, cost);
            prop_assert!(verdict.remaining >= 0 && verdict.remaining <= rule.most());
            if verdict.allowed {
                prop_assert!(before.remaining >= cost, "what is told to remain can be had");
                state = verdict.next;
                continue;
            }
            prop_assert!(before.remaining < cost, "what can be had is told to remain");
            prop_assert_eq!(verdict.remaining, before.remaining);
            prop_assert_eq!(rule.decide(verdict.next, now, 0).remaining, before.remaining);
            if let Some(retry) = verdict.retry_after_us {
                prop_assert!(retry > 0);
                prop_assert!(rule.decide(state, now + retry, cost).allowed, "told time is enough");
                prop_assert!(!rule.decide(state, now + retry - rule.tick_us(), cost).allowed, "and not too long");
            } else {
                prop_assert!(cost > rule.most());
            }
        }
    }

    #[test]
    fn no_stretch_of_time_admits_more_than_it_may(
        rule in any_rule(),
        steps in proptest::collection::vec((0i64..400_000, 1i64..200), 1..80),
    ) {
        let (mut state, mut now, mut admitted) = (State::default(), 0i64, Vec::new());
        for (wait, cost) in steps {
            now += wait;
            let verdict = rule.decide(state, now, cost);
            if verdict.allowed {
                admitted.push((now, cost));
                state = verdict.next;
            }
        }
        let window_us = i128::from(rule.window() * rule.tick_us());
        for (first, &(from, _)) in admitted.iter().enumerate() {
            let mut sum = 0i128;
            for &(until, cost) in &admitted[first..] {
                sum += i128::from(cost);
                let length = i128::from(until - from);
                let (quota, most) = (i128::from(rule.quota()), i128::from(rule.most()));
                let bound = match rule.algorithm() {
                    Algorithm::TokenBucket | Algorithm::LeakyBucket => most * window_us + quota * length,
                    // A stretch touches so many windows, each with its quota.
                    Algorithm::FixedWindow | Algorithm::SlidingWindow => {
                        quota * window_us * (i128::from(until) / window_us - i128::from(from) / window_us + 1)
                    }
                };
                prop_assert!(sum * window_us <= bound);
            }
        }
    }

    #[test]
    fn a_raised_limit_refuses_nothing_more(
        rule in any_rule(), more in 0i64..500,
        steps in proptest::collection::vec((0i64..400_000, 1i64..200), 1..40),
    ) {
        let window_ms = rule.window() * rule.tick_us() / 1000;
        let raised = Rule::new(rule.algorithm(), rule.quota() + more, window_ms, Some(rule.most() + more));
        let raised = raised.expect("in bounds");
        let (mut state, mut now) = (State::default(), 0);
        for (wait, cost) in steps {
            now += wait;
            let verdict = rule.decide(state, now, cost);
            if verdict.allowed {
                prop_assert!(raised.decide(state, now, cost).allowed);
                state = verdict.next;
            }
        }
    }
}
