//! When a delivery that failed is tried again: 8 tries over 24 hours, then it is left for a person.

/// Tries before a message is left.
pub const TRIES_MAX: i32 = 8;
/// Waits between them, in seconds: 23 hours and 43 minutes in all.
const WAITS_S: [i64; 7] = [30, 150, 600, 1_800, 7_200, 21_600, 54_000];

/// How long to wait after the `tries`-th try (from 1) has failed, in seconds; `None`: not again.
pub fn wait_after(tries: i32) -> Option<i64> {
    WAITS_S.get(usize::try_from(tries).ok()?.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_tries_within_a_day() {
        let all: Vec<_> = (1..=TRIES_MAX).map(wait_after).collect();
        assert_eq!(all.iter().flatten().count(), 7);
        assert_eq!(all.last(), Some(&None));
        let sum: i64 = all.iter().flatten().sum();
        assert!((20 * 3600..=24 * 3600).contains(&sum), "{sum}");
        assert!(all.windows(2).all(|pair| pair[1].is_none() || pair[0] < pair[1]));
        assert_eq!((wait_after(0), wait_after(-1), wait_after(i32::MAX)), (None, None, None));
    }
}
