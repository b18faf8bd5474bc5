//! Cost of standing against quotas: 100,000 tenants with six meters each, evaluated in one pass on one core, and the
//! memory that their compiled quotas take. `--json` prints one object; `--quick` takes a tenth of the tenants.

use std::hint::black_box;
use std::time::Instant;

use rowhouse_domain::directory::Quota;
use rowhouse_domain::metering::quantity::SCALE;
use rowhouse_domain::resources::{Observation, QuotaState, Standing, step};

const METERS: [&str; 6] = ["storage_gb", "api_calls", "users", "locations", "stamps_created", "transactions"];
/// 2026-11-21T10:00:00Z.
const NOW_US: i64 = 1_795_255_200_000_000;
const PASSES: u32 = 5;

fn main() {
    let has = |flag: &str| std::env::args().any(|argument| argument == flag);
    let tenants: usize = if has("--quick") { 10_000 } else { 100_000 };
    let before_kib = resident_kib();
    let samples: Vec<Quota> =
        METERS.iter().map(|meter| Quota::of_meter(*meter, Some(10_000 * SCALE))).collect();
    let quotas: Vec<Vec<Quota>> = (0..tenants)
        .map(|tenant| {
            let of = |(place, quota): (usize, &Quota)| Quota {
                used: ((tenant * 7_919 + place * 104_729) % 10_500) as i128 * SCALE,
                used_from_us: quota.bounds_us(NOW_US).0,
                ..quota.clone()
            };
            samples.iter().enumerate().map(of).collect()
        })
        .collect();
    let memory_mib = (resident_kib() - before_kib) / 1_024;
    let mut stopped = 0_usize;
    let begun = Instant::now();
    for _ in 0..PASSES {
        stopped = quotas.iter().flatten().filter(|quota| is_stopped(black_box(quota))).count();
    }
    let pass = begun.elapsed() / PASSES;
    let evaluated = tenants * METERS.len();
    let pass_ms = pass.as_millis();
    let each_ns = pass.as_nanos() / evaluated as u128;
    if has("--json") {
        println!(
            "{{\"quotas\":{evaluated},\"pass_ms\":{pass_ms},\"each_ns\":{each_ns},\"memory_mib\":{memory_mib},\
             \"stopped\":{stopped}}}"
        );
    } else {
        println!(
            "{evaluated} quotas: {pass_ms} ms a pass, {each_ns} ns each, {memory_mib} MiB; {stopped} stopped"
        );
    }
}

/// What the control plane asks of each quota of a new directory entry: the window, and the step from a fresh standing.
fn is_stopped(quota: &Quota) -> bool {
    let window_us = quota.bounds_us(NOW_US);
    let fresh = Standing { window_from_us: window_us.0, ..Standing::default() };
    let (usage, limit, rule) = (quota.known(window_us.0), quota.limit, &*quota.rule);
    let after = step(&fresh, &Observation { now_us: NOW_US, window_us, usage, limit, rule, stale: false });
    after.standing.state == QuotaState::Enforced
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
