//! Rules of balancing that need more than a turn: weights, and what a copy costs just now.

/// Turns in which each copy comes as often as its weight says, as evenly as can be: the copy that is furthest behind
/// its share goes next (smooth weighted round robin). Weights are 0 to 100 and divided by what they have in common; the
/// sum of them is the length. No copy with a weight: each once.
pub fn turns(weights: &[u32]) -> Vec<usize> {
    let common = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
    let weights: Vec<i64> = weights.iter().map(|weight| i64::from(weight / common)).collect();
    let total: i64 = weights.iter().sum();
    if total == 0 {
        return (0..weights.len()).collect();
    }
    let mut credit = vec![0_i64; weights.len()];
    (0..total)
        .map(|_| {
            credit.iter_mut().zip(&weights).for_each(|(credit, weight)| *credit += weight);
            // The first of those that are equally far behind.
            let next = (0..credit.len()).rev().max_by_key(|place| credit[*place]).unwrap_or(0);
            credit[next] -= total;
            next
        })
        .collect()
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// How long a copy takes to answer, with peaks remembered: a slower answer counts at once, a faster one only over ten
/// seconds (peak exponentially weighted moving average). Pure: instants come in.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PeakEwma {
    value_us: f64,
    at_us: i64,
}

/// In which time an old value loses all but 1/e of its weight, µs.
const DECAY_US: f64 = 10_000_000.0;

impl PeakEwma {
    /// An answer took so long.
    pub fn note(&mut self, now_us: i64, took_us: u64) {
        let took = took_us as f64;
        let old = self.value_us(now_us);
        let share = self.share(now_us);
        self.value_us = if took > old { took } else { self.value_us * share + took * (1.0 - share) };
        self.at_us = self.at_us.max(now_us);
    }

    /// What it costs to ask it now, given the requests that it has not answered. Who was never asked costs least.
    pub fn cost(&self, now_us: i64, in_flight: u32) -> f64 {
        self.value_us(now_us) * f64::from(in_flight + 1)
    }

    /// How long it takes now, µs; nothing if it was never asked.
    pub fn latency_us(&self, now_us: i64) -> Option<u64> {
        (self.at_us > 0).then(|| self.value_us(now_us) as u64)
    }

    /// Nobody is avoided for ever for what was slow long ago.
    fn value_us(&self, now_us: i64) -> f64 {
        self.value_us * self.share(now_us)
    }

    fn share(&self, now_us: i64) -> f64 {
        let passed = now_us.saturating_sub(self.at_us).max(0) as f64;
        (-passed / DECAY_US).exp()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn turns_are_spread_evenly() {
        for (weights, expected) in [
            (&[5, 1, 1][..], &[0, 0, 1, 0, 2, 0, 0][..]),
            (&[10, 20], &[1, 0, 1]),
            (&[1, 1, 1], &[0, 1, 2]),
            (&[0, 3], &[1]),
            (&[0, 0], &[0, 1]),
            (&[], &[]),
        ] {
            assert_eq!(turns(weights), expected, "{weights:?}");
        }
    }

    proptest! {
        #[test]
        fn each_comes_as_often_as_it_weighs(weights in proptest::collection::vec(0_u32..=100, 1..20)) {
            let turns = turns(&weights);
            let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
            prop_assume!(sum > 0);
            for (place, weight) in weights.iter().enumerate() {
                let count = turns.iter().filter(|turn| **turn == place).count() as u64;
                prop_assert_eq!(count * sum, u64::from(*weight) * turns.len() as u64);
            }
        }
    }

    #[test]
    fn a_peak_counts_at_once_and_is_forgotten_slowly() {
        let mut ewma = PeakEwma::default();
        assert_eq!(ewma.cost(0, 3), 0.0);
        ewma.note(0, 1_000);
        assert_eq!(ewma.cost(0, 0), 1_000.0);
        ewma.note(1_000, 50_000);
        assert!(ewma.cost(1_000, 0) == 50_000.0, "a peak");
        assert_eq!(ewma.cost(1_000, 1), 100_000.0, "twice with one waiting");
        ewma.note(2_000, 1_000);
        assert!(ewma.cost(2_000, 0) > 49_000.0, "one fast answer is not believed yet");
        for second in 1..=60 {
            ewma.note(second * 1_000_000, 1_000);
        }
        assert!((900.0..1_200.0).contains(&ewma.cost(60_000_000, 0)), "{ewma:?}");
        assert!(ewma.cost(120_000_000, 0) < 10.0, "asked again one day");
    }
}
