//! How a journal stands.

use std::sync::atomic::Ordering;

use crate::DropReason;
use crate::journal::Shared;
use crate::lane::LaneShared;
use crate::storage::{Damage, lock};

/// How a journal stands; see [`Journal::status`](crate::Journal::status).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalStatus {
    pub node: String,
    pub boot: u64,
    pub lanes: Vec<LaneStatus>,
    /// Segments that lie ready.
    pub spares: usize,
    /// Why no new segment can be had at present, if so: readiness should fail with it.
    pub full: Option<(DropReason, String)>,
    /// Synchronisations since the journal was opened, the time they took together, and the longest.
    pub syncs: u64,
    pub sync_us_total: u64,
    pub sync_us_max: u64,
}

/// How one lane stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneStatus {
    pub lane: String,
    /// Oldest sequence that can still be read.
    pub first_sequence: u64,
    /// The sequence that the next frame will have.
    pub next_sequence: u64,
    /// Every frame below is on the disk.
    pub synced_sequence: u64,
    /// Everything below has been released by the projections.
    pub released_sequence: u64,
    pub segments: usize,
    /// Size of the segments' files.
    pub bytes: u64,
    /// Appends that failed since the journal was opened.
    pub dropped: u64,
    /// What recovery could not read.
    pub damage: Vec<Damage>,
    /// Why the lane cannot be synchronised any more, if so.
    pub sync_failure: Option<String>,
    pub has_writer: bool,
}

impl JournalStatus {
    pub(crate) fn of(shared: &Shared) -> Self {
        let figures = *lock(&shared.syncing);
        let mut lanes: Vec<_> = shared.lanes().iter().map(|lane| LaneStatus::of(lane)).collect();
        lanes.sort_by(|left, right| left.lane.cmp(&right.lane));
        Self {
            node: shared.node.clone(),
            boot: shared.boot,
            lanes,
            spares: shared.pool.ready(),
            full: shared.pool.failure(),
            syncs: figures.count,
            sync_us_total: figures.total_us,
            sync_us_max: figures.max_us,
        }
    }
}

impl LaneStatus {
    fn of(lane: &LaneShared) -> Self {
        let synced = lane.synced.borrow().clone();
        let inner = lock(&lane.inner);
        let next_sequence = inner.appended_next();
        let oldest_closed = inner.closed.first().map(|segment| segment.first_sequence);
        let oldest_open = inner.open.first().map(|segment| segment.first_sequence);
        Self {
            lane: lane.name.clone(),
            first_sequence: oldest_closed.or(oldest_open).unwrap_or(next_sequence),
            next_sequence,
            synced_sequence: synced.next_sequence,
            released_sequence: lane.released.load(Ordering::Relaxed),
            segments: inner.closed.len() + inner.open.len(),
            bytes: inner.bytes(),
            dropped: lane.dropped.load(Ordering::Relaxed),
            damage: inner.damage.clone(),
            sync_failure: synced.failure.map(|message| message.to_string()),
            has_writer: inner.has_writer,
        }
    }
}
