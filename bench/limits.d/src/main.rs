//! What a decision costs `governor`: a limiter by key over 1,024 keys, in the map that it takes by itself, and one without keys. Timed as
//! `crates/gateway/src/limits/measure.rs` times ours: batches of 500 between two looks at the clock, the median over 2,001 batches. Ours
//! hands the time in, as it is read once for a request; governor reads it by itself.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::Instant;

use governor::{Quota, RateLimiter};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCHES: usize = 2_001;
const BATCH: usize = 500;

fn median(mut decide: impl FnMut(u128)) -> f64 {
    let mut turn = (0..1_024_u128).map(|key| key.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834)).cycle();
    let mut batch = || {
        let began = Instant::now();
        turn.by_ref().take(BATCH).for_each(&mut decide);
        began.elapsed().as_nanos() as f64 / BATCH as f64
    };
    let mut took: Vec<f64> = (0..BATCHES).map(|_| batch()).collect();
    took.sort_unstable_by(f64::total_cmp);
    took[BATCHES / 2]
}

fn main() {
    let quota = Quota::per_second(NonZeroU32::new(1_000_000).expect("not zero"));
    let (keyed, direct) = (RateLimiter::keyed(quota), RateLimiter::direct(quota));
    let keyed_ns = median(|key| {
        let _ = black_box(keyed.check_key(&key));
    });
    let direct_ns = median(|_| {
        let _ = black_box(direct.check());
    });
    println!("{}", serde_json::json!({"governor_keyed_p50_ns": round(keyed_ns), "governor_direct_p50_ns": round(direct_ns)}));
}

fn round(ns: f64) -> f64 {
    (ns * 10.0).round() / 10.0
}
