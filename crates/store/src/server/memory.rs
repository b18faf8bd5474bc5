//! How much memory a private server's buffers may take on this machine.

use std::{fs, path::Path};

const BUFFERS_MIN_MB: u64 = 32;
const BUFFERS_MAX_MB: u64 = 8_192;

/// A quarter of what the machine and our control group allow, between 32 MB and 8 GB.
pub fn shared_buffers_for_this_machine() -> u32 {
    let allowed_mb = [machine_bytes(), control_group_bytes()].into_iter().flatten().min().unwrap_or(0) >> 20;
    let quarter = (allowed_mb / 4).clamp(BUFFERS_MIN_MB, BUFFERS_MAX_MB);
    u32::try_from(quarter).expect("at most 8,192")
}

/// `MemTotal` (`proc_meminfo(5)`).
fn machine_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let kilobytes: u64 = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?
        .trim()
        .strip_suffix("kB")?
        .trim()
        .parse()
        .ok()?;
    Some(kilobytes << 10)
}

/// The smallest `memory.max` from our control group up to the root (`cgroups(7)`, version 2).
fn control_group_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::/"))?.to_owned();
    let limits = Path::new(&own).ancestors().filter_map(|group| {
        let limit = Path::new("/sys/fs/cgroup").join(group).join("memory.max");
        fs::read_to_string(limit).ok()?.trim().parse::<u64>().ok()
    });
    limits.min()
}
