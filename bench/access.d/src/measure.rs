//! The clock and what is made of it.

use std::hint::black_box;
use std::time::Instant;

/// Questions of one batch.
const BATCH: usize = 64;

/// What was found, in the order in which it was.
#[derive(Default)]
pub struct Figures(Vec<(String, f64)>);

impl Figures {
    pub fn put(&mut self, name: &str, value: f64) {
        self.0.push((name.to_owned(), value));
    }

    pub fn of(&self, name: &str) -> f64 {
        self.0.iter().find(|(own, _)| own == name).map_or(f64::NAN, |(_, value)| *value)
    }

    /// One line of JSON.
    pub fn written(&self) -> String {
        let all = self.0.iter().map(|(name, value)| (name.clone(), (value * 1_000.0).round() / 1_000.0));
        let all: serde_json::Map<_, _> = all.map(|(name, value)| (name, value.into())).collect();
        serde_json::json!({ "bench": "access", "figures": all }).to_string()
    }
}

fn at(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() - 1) * percent / 100]
}

fn sorted(mut all: Vec<f64>) -> Vec<f64> {
    all.sort_unstable_by(f64::total_cmp);
    all
}

/// Nanoseconds of one question at the median of batches.
pub fn batches<Q>(questions: &[Q], mut ask: impl FnMut(&Q)) -> f64 {
    let one = |batch: &[Q]| {
        let begun = Instant::now();
        batch.iter().for_each(&mut ask);
        begun.elapsed().as_nanos() as f64 / BATCH as f64
    };
    let times = sorted(questions.chunks_exact(BATCH).map(one).collect());
    at(&times, 50)
}

/// What two looks at the clock take with nothing between them, in nanoseconds.
pub fn clock_ns() -> f64 {
    let look = |_| {
        let begun = Instant::now();
        black_box(());
        begun.elapsed().as_nanos() as f64
    };
    at(&sorted((0..100_000).map(look).collect()), 50)
}

/// Nanoseconds of one question alone at the 99th of a hundred, without what the clock takes.
pub fn alone_p99<Q>(questions: &[Q], mut ask: impl FnMut(&Q)) -> f64 {
    let clock = clock_ns();
    let one = |question: &Q| {
        let question = black_box(question);
        let begun = Instant::now();
        ask(question);
        begun.elapsed().as_nanos() as f64
    };
    let times = sorted(questions.iter().map(one).collect());
    (at(&times, 99) - clock).max(0.0)
}

/// Microseconds of each call: at the median and at the 99th of a hundred.
pub fn calls_us(count: usize, mut call: impl FnMut(usize)) -> (f64, f64) {
    let one = |number| {
        let begun = Instant::now();
        call(number);
        begun.elapsed().as_nanos() as f64 / 1e3
    };
    let times = sorted((0..count).map(one).collect());
    (at(&times, 50), at(&times, 99))
}

/// Numbers that look random and are the same in each run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }
}
