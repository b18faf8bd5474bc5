//! What this feature tells of itself: how long measuring takes, how many levels are stale, and how many tenants are
//! stopped.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rowhouse_domain::directory::Directory;

/// Measuring, by collector: how often, and how long in all; and how many levels are too old to act on.
#[derive(Debug, Default)]
pub struct Measuring {
    collectors: Mutex<BTreeMap<String, (u64, Duration)>>,
    stale: AtomicU64,
}

impl Measuring {
    /// Notes one measurement.
    pub(super) fn measured(&self, collector: &str, took: Duration) {
        let mut all = self.collectors.lock().unwrap_or_else(PoisonError::into_inner);
        let own = all.entry(collector.to_owned()).or_default();
        *own = (own.0 + 1, own.1 + took);
    }

    /// Notes how many levels are stale.
    pub(super) fn found_stale(&self, levels: u64) {
        self.stale.store(levels, Ordering::Relaxed);
    }

    /// By collector: how many measurements, and how long they took in all.
    pub fn collectors(&self) -> Vec<(String, u64, Duration)> {
        let all = self.collectors.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(collector, (count, took))| (collector.clone(), *count, *took)).collect()
    }

    /// How many levels are too old to act on, as of the last minute.
    pub fn stale(&self) -> u64 {
        self.stale.load(Ordering::Relaxed)
    }
}

/// How many tenants are stopped in a version of the directory, by meter and action.
pub fn stopped(directory: &Directory) -> BTreeMap<(String, &'static str), u64> {
    let mut counts = BTreeMap::new();
    for own in directory.tenants.iter().flat_map(|(_, tenant)| &tenant.imposed) {
        *counts.entry((own.meter.to_string(), own.action.as_str())).or_default() += 1;
    }
    counts
}
