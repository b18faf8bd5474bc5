//! What the gateway did, as plain numbers. Each core counts for itself; a reader adds them up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rowhouse_domain::refusal::{ALL, Kind};
use rowhouse_journal::Outcome;

use crate::limits::{LimitCounts, LimitFigures};

/// Upper bounds of the histogram's buckets in µs; what is above falls into one more.
pub const LATENCY_BOUNDS_US: [u64; 17] = [
    100, 200, 300, 500, 750, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000,
    1_000_000, 5_000_000, 30_000_000,
];
const BUCKETS: usize = LATENCY_BOUNDS_US.len() + 1;

/// Latencies in buckets (not cumulated) and their sum.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// One count per bound of [`LATENCY_BOUNDS_US`], and one for what is above.
    pub counts: [u64; BUCKETS],
    /// Sum of all, in µs.
    pub sum_us: u64,
}

/// What a gateway did since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetricsSnapshot {
    /// Requests by how they ended: `served`, `refused`, `upstream_failed`, `client_aborted`.
    pub by_outcome: [(&'static str, u64); 4],
    /// Answers by the first digit of their status, 1 to 5.
    pub by_status_class: [u64; 5],
    /// Refusals by code; only those that happened.
    pub refusals: Vec<(&'static str, u64)>,
    /// From arrival to the end of the answer.
    pub duration: Histogram,
    /// The part of it spent waiting for the upstream's first byte.
    pub upstream: Histogram,
    /// Body bytes from clients.
    pub bytes_in: u64,
    /// Body bytes to clients.
    pub bytes_out: u64,
    /// Connections from clients, ever.
    pub connections: u64,
    /// Connections from clients, now.
    pub connections_open: u64,
    /// Connections that ended because the client spoke no HTTP.
    pub connections_malformed: u64,
    /// Connections closed at once, because their address has its full number open.
    pub connections_refused: u64,
    /// Records that the journal could not take.
    pub records_lost: u64,
    /// Calls to the store of limits for which a request or a lease waited.
    pub store_calls: u64,
    /// Of these, those that it did not answer in time, or at all.
    pub store_failures: u64,
    /// What each limit decided, by name.
    pub limits: BTreeMap<String, LimitCounts>,
}

/// Reads the metrics of a gateway; cheap to clone.
#[derive(Clone, Debug)]
pub struct MetricsReader(Vec<Arc<CoreMetrics>>);

impl MetricsReader {
    pub(crate) fn new(cores: Vec<Arc<CoreMetrics>>) -> Self {
        MetricsReader(cores)
    }

    /// The numbers now.
    pub fn snapshot(&self) -> MetricsSnapshot {
        let mut sum = MetricsSnapshot {
            by_outcome: OUTCOMES.map(|outcome| (outcome.as_str(), 0)),
            ..MetricsSnapshot::default()
        };
        let mut refusals = vec![0; ALL.len()];
        for core in &self.0 {
            core.add_to(&mut sum, &mut refusals);
        }
        let happened = ALL.iter().zip(refusals).filter(|(_, count)| *count > 0);
        sum.refusals = happened.map(|(kind, count)| (kind.code, count)).collect();
        sum
    }
}

const OUTCOMES: [Outcome; 4] =
    [Outcome::Served, Outcome::Refused, Outcome::UpstreamFailed, Outcome::ClientAborted];

/// One core's numbers. Only that core writes.
#[derive(Debug)]
pub(crate) struct CoreMetrics {
    outcomes: [AtomicU64; 4],
    status_classes: [AtomicU64; 5],
    refusals: Box<[AtomicU64]>,
    duration: Buckets,
    upstream: Buckets,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) connections_closed: AtomicU64,
    pub(crate) connections_malformed: AtomicU64,
    pub(crate) connections_refused: AtomicU64,
    pub(crate) records_lost: AtomicU64,
    pub(crate) store_calls: AtomicU64,
    pub(crate) store_failures: AtomicU64,
    limits: Mutex<BTreeMap<String, Arc<LimitFigures>>>,
}

impl Default for CoreMetrics {
    fn default() -> Self {
        CoreMetrics {
            outcomes: Default::default(),
            status_classes: Default::default(),
            refusals: ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            duration: Buckets::default(),
            upstream: Buckets::default(),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            connections_closed: AtomicU64::new(0),
            connections_malformed: AtomicU64::new(0),
            connections_refused: AtomicU64::new(0),
            records_lost: AtomicU64::new(0),
            store_calls: AtomicU64::new(0),
            store_failures: AtomicU64::new(0),
            limits: Mutex::default(),
        }
    }
}

/// What is counted of one request.
pub(crate) struct Counted {
    pub(crate) outcome: Outcome,
    pub(crate) status: u16,
    pub(crate) refusal: Option<&'static Kind>,
    pub(crate) duration_us: u64,
    pub(crate) upstream_us: Option<u64>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

impl CoreMetrics {
    pub(crate) fn count(&self, request: &Counted) {
        bump(&self.outcomes[request.outcome as usize], 1);
        let class = usize::from(request.status / 100).clamp(1, 5) - 1;
        bump(&self.status_classes[class], 1);
        self.duration.count(request.duration_us);
        if let Some(upstream_us) = request.upstream_us {
            self.upstream.count(upstream_us);
        }
        bump(&self.bytes_in, request.bytes_in);
        bump(&self.bytes_out, request.bytes_out);
        let place = request.refusal.and_then(|kind| ALL.iter().position(|known| std::ptr::eq(*known, kind)));
        if let Some(place) = place {
            bump(&self.refusals[place], 1);
        }
    }

    fn add_to(&self, sum: &mut MetricsSnapshot, refusals: &mut [u64]) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        for ((_, total), own) in sum.by_outcome.iter_mut().zip(&self.outcomes) {
            *total += read(own);
        }
        for (total, own) in sum.by_status_class.iter_mut().zip(&self.status_classes) {
            *total += read(own);
        }
        for (total, own) in refusals.iter_mut().zip(&self.refusals) {
            *total += read(own);
        }
        self.duration.add_to(&mut sum.duration);
        self.upstream.add_to(&mut sum.upstream);
        sum.bytes_in += read(&self.bytes_in);
        sum.bytes_out += read(&self.bytes_out);
        let closed = read(&self.connections_closed);
        let opened = read(&self.connections);
        sum.connections += opened;
        sum.connections_open += opened.saturating_sub(closed);
        sum.connections_malformed += read(&self.connections_malformed);
        sum.connections_refused += read(&self.connections_refused);
        sum.records_lost += read(&self.records_lost);
        sum.store_calls += read(&self.store_calls);
        sum.store_failures += read(&self.store_failures);
        for (name, figures) in self.limits.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            figures.add_to(sum.limits.entry(name.clone()).or_default());
        }
    }

    /// What a limit decides on this core.
    pub(crate) fn limit(&self, name: &str) -> Arc<LimitFigures> {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        limits.entry(name.to_owned()).or_default().clone()
    }
}

#[derive(Debug, Default)]
struct Buckets {
    counts: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

impl Buckets {
    fn count(&self, value_us: u64) {
        let place = LATENCY_BOUNDS_US.iter().position(|bound| value_us <= *bound).unwrap_or(BUCKETS - 1);
        bump(&self.counts[place], 1);
        bump(&self.sum_us, value_us);
    }

    fn add_to(&self, sum: &mut Histogram) {
        for (total, own) in sum.counts.iter_mut().zip(&self.counts) {
            *total += own.load(Ordering::Relaxed);
        }
        sum.sum_us += self.sum_us.load(Ordering::Relaxed);
    }
}

/// Adds without a bus lock: each counter has one writer.
pub(crate) fn bump(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}
