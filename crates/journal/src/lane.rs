//! A lane: one writer appending to an ever-growing sequence of frames.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::journal::Shared;
use crate::storage::{Damage, Segment, SegmentWriter, create_directory, lock, payload_bytes_max};
use crate::{Class, DropReason, Dropped, Kind, LaneError, RequestRecord};

/// What a lane's writer shares with the threads and with status.
pub(crate) struct LaneShared {
    pub(crate) name: String,
    pub(crate) inner: std::sync::Mutex<LaneInner>,
    pub(crate) synced: watch::Sender<SyncState>,
    /// Failed appends since the journal was opened.
    pub(crate) dropped: AtomicU64,
    /// Everything below has been read by all who must read it.
    pub(crate) released: AtomicU64,
}

/// Touched when a segment begins or ends, never per frame.
#[derive(Default)]
pub(crate) struct LaneInner {
    pub(crate) has_writer: bool,
    /// Segments with nothing more to come, oldest first.
    pub(crate) closed: Vec<ClosedSegment>,
    /// Segments of this process that are not wholly synchronised, oldest first; the last one is being written.
    pub(crate) open: Vec<Arc<Segment>>,
    /// Where the lane goes on if nothing is open.
    pub(crate) next_sequence: u64,
    /// Left by the last boot: goes into the first frame of this one.
    pub(crate) dropped: Option<Dropped>,
    pub(crate) damage: Vec<Damage>,
}

#[derive(Debug, Clone)]
pub(crate) struct ClosedSegment {
    pub(crate) first_sequence: u64,
    pub(crate) next_sequence: u64,
    pub(crate) bytes: u64,
    pub(crate) quarantined: bool,
}

/// How far a lane is on the disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct SyncState {
    /// Every frame below is safe from a loss of power.
    pub(crate) next_sequence: u64,
    pub(crate) failure: Option<Arc<str>>,
    pub(crate) closed: bool,
}

impl LaneShared {
    /// A lane that goes on at `next_sequence`; everything before is on the disk.
    pub(crate) fn new(name: String, next_sequence: u64) -> Self {
        Self {
            name,
            inner: std::sync::Mutex::new(LaneInner { next_sequence, ..LaneInner::default() }),
            synced: watch::Sender::new(SyncState { next_sequence, ..SyncState::default() }),
            dropped: AtomicU64::new(0),
            released: AtomicU64::new(0),
        }
    }
}

impl LaneInner {
    /// Size of the segments' files.
    pub(crate) fn bytes(&self) -> u64 {
        let closed: u64 = self.closed.iter().map(|segment| segment.bytes).sum();
        let open: u64 = self.open.iter().map(|segment| segment.bytes()).sum();
        closed + open
    }

    pub(crate) fn appended_next(&self) -> u64 {
        self.open.last().map_or(self.next_sequence, |segment| segment.progress().next_sequence)
    }
}

/// Why a frame was not appended. Nothing of it is in the journal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// There is no room and none can be had now. The failure has been counted; the exact count becomes a frame of
    /// [`Kind::Dropped`] as soon as there is room.
    #[error("the journal cannot take a record: {}", .reason.as_str())]
    Full { reason: DropReason },
    #[error("a payload of {bytes} bytes is larger than the {max} bytes that a frame can hold")]
    TooLarge { bytes: usize, max: usize },
}

/// Why a frame is not known to be on the disk. It may be there all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyncError {
    /// The disk refused; this lane promises nothing more until the journal is opened anew.
    #[error("synchronising lane {lane} failed: {message}")]
    Failed { lane: String, message: String },
    #[error("the journal was closed before lane {lane} was synchronised")]
    Closed { lane: String },
}

/// Resolves with a frame's sequence once it is safe from a loss of power; see [`LaneWriter::synced`].
pub type Synced = Pin<Box<dyn Future<Output = Result<u64, SyncError>> + Send>>;

/// The one writer of a lane. `Send`, not `Clone`; dropping it ends the lane in good order.
///
/// An append is a copy into mapped memory: no system call, no lock, no allocation, except when a segment is full
/// (once per `segment_bytes`), where a ready one is taken from a short list.
pub struct LaneWriter {
    segment: SegmentWriter,
    pending: Option<Dropped>,
    lane: Arc<LaneShared>,
    shared: Arc<Shared>,
    payload_max: usize,
}

impl LaneWriter {
    pub(crate) fn open(shared: &Arc<Shared>, lane: Arc<LaneShared>) -> Result<Self, LaneError> {
        let failed = |source| LaneError::Directory { lane: lane.name.clone(), source };
        create_directory(&shared.directory.join(&lane.name)).map_err(failed)?;
        let mut inner = lock(&lane.inner);
        if inner.has_writer {
            return Err(LaneError::Taken { lane: lane.name.clone() });
        }
        let spare = shared
            .pool
            .take_first(shared.clock_us())
            .map_err(|reason| LaneError::Full { lane: lane.name.clone(), reason })?;
        let (segment, writer) = spare.adopt(&shared.node, &lane.name, shared.boot, inner.appended_next());
        inner.open.push(segment);
        inner.has_writer = true;
        let pending = inner.dropped.take();
        drop(inner);
        shared.provision_bell.ring();
        let payload_max = payload_bytes_max(shared.pool.segment_bytes());
        let mut writer = Self { segment: writer, pending, lane, shared: shared.clone(), payload_max };
        writer.append_mark(Kind::LaneStart);
        Ok(writer)
    }

    /// The lane's name.
    pub fn name(&self) -> &str {
        &self.lane.name
    }

    /// Appends a frame of `payload_len` bytes, which `fill` writes in place, and returns its sequence.
    ///
    /// When this returns the frame survives `kill -9`. `fill` gets exactly `payload_len` bytes and must write them all.
    /// If it panics, nothing has been appended.
    #[inline]
    pub fn append(
        &mut self,
        class: Class,
        kind: Kind,
        payload_len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<u64, AppendError> {
        if self.pending.is_some() || !self.segment.fits(payload_len) {
            self.make_room(payload_len)?;
        }
        Ok(self.segment.append(class, kind, payload_len, fill))
    }

    /// Appends a request's record; see [`append`](Self::append).
    #[inline]
    pub fn append_record(&mut self, class: Class, record: &RequestRecord<'_>) -> Result<u64, AppendError> {
        self.append(class, Kind::Request, record.encoded_len(), |buffer| record.encode(buffer))
    }

    /// Appends a payload that lies ready; see [`append`](Self::append).
    pub fn append_bytes(&mut self, class: Class, kind: Kind, payload: &[u8]) -> Result<u64, AppendError> {
        self.append(class, kind, payload.len(), |buffer| buffer.copy_from_slice(payload))
    }

    /// Appends a frame of class S; the future resolves with its sequence once it is safe from a loss of power.
    pub fn append_synced(
        &mut self,
        kind: Kind,
        payload_len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<Synced, AppendError> {
        let sequence = self.append(Class::S, kind, payload_len, fill)?;
        Ok(self.synced(sequence))
    }

    /// Resolves with `sequence` once the frame there, and every frame of the lane before it, is safe from a loss of
    /// power.
    ///
    /// Wakes the synchronising thread at once; whoever asks while a synchronisation runs shares the next one. The
    /// future borrows nothing and can be awaited on any runtime, or dropped.
    pub fn synced(&self, sequence: u64) -> Synced {
        let mut synced = self.lane.synced.subscribe();
        self.shared.sync_bell.ring();
        let lane = self.lane.name.clone();
        Box::pin(async move {
            let done =
                |state: &SyncState| state.next_sequence > sequence || state.failure.is_some() || state.closed;
            let Ok(state) = synced.wait_for(done).await else {
                return Err(SyncError::Closed { lane });
            };
            match &state.failure {
                _ if state.next_sequence > sequence => Ok(sequence),
                Some(message) => Err(SyncError::Failed { lane, message: message.to_string() }),
                None => Err(SyncError::Closed { lane }),
            }
        })
    }

    /// The sequence that the next frame will have.
    pub fn next_sequence(&self) -> u64 {
        self.segment.next_sequence()
    }

    /// Off the hot path: a segment is full, or there is a count of dropped records to write first.
    #[cold]
    fn make_room(&mut self, payload_len: usize) -> Result<(), AppendError> {
        if payload_len > self.payload_max {
            return Err(AppendError::TooLarge { bytes: payload_len, max: self.payload_max });
        }
        let with_count = payload_len + if self.pending.is_some() { 48 } else { 0 };
        if !self.segment.fits(with_count)
            && let Err(reason) = self.next_segment()
        {
            self.count_dropped(reason);
            return Err(AppendError::Full { reason });
        }
        if let Some(dropped) = self.pending.take() {
            self.segment.append(Class::R, Kind::Dropped, Dropped::BYTES, |buffer| {
                buffer.copy_from_slice(&dropped.encode());
            });
        }
        Ok(())
    }

    fn next_segment(&mut self) -> Result<(), DropReason> {
        let spare = self.shared.pool.take(self.shared.clock_us())?;
        let first_sequence = self.segment.next_sequence();
        let (segment, writer) =
            spare.adopt(&self.shared.node, &self.lane.name, self.shared.boot, first_sequence);
        // The new segment is known before the old one says that it is over.
        lock(&self.lane.inner).open.push(segment);
        std::mem::replace(&mut self.segment, writer).seal();
        self.shared.provision_bell.ring();
        Ok(())
    }

    fn count_dropped(&mut self, reason: DropReason) {
        let count = self.pending.map_or(0, |dropped| dropped.count) + 1;
        let dropped = Dropped { count, reason };
        self.segment.note_dropped(dropped);
        self.pending = Some(dropped);
        self.lane.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Marks of the lane's life; a lane without room goes without them.
    fn append_mark(&mut self, kind: Kind) {
        let boot = self.shared.boot.to_le_bytes();
        let fits = self.pending.is_none() && self.segment.fits(boot.len());
        if fits || self.make_room(boot.len()).is_ok() {
            self.segment.append(Class::R, kind, boot.len(), |buffer| buffer.copy_from_slice(&boot));
        }
    }
}

impl Drop for LaneWriter {
    fn drop(&mut self) {
        if self.pending.is_none() && self.segment.fits(8) {
            self.append_mark(Kind::LaneStop);
        }
        self.segment.seal();
        let mut inner = lock(&self.lane.inner);
        inner.has_writer = false;
        inner.next_sequence = self.segment.next_sequence();
        inner.dropped = self.pending;
        drop(inner);
        self.shared.sync_bell.ring();
    }
}
