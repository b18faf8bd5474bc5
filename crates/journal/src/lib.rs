//! The journal: the durable local record of requests.
//!
//! Every request a gateway answered is appended here once, before its answer leaves; usage, traffic, audit and quotas
//! are read from here, so they cannot disagree. What is appended survives `kill -9` at once and a loss of power after
//! the next synchronisation (class R: within 50 ms; class S: before the caller is told).
//!
//! * [`Journal::open`] locks a directory, recovers it and starts two threads (one synchronises, one provides segments).
//! * [`Journal::lane`] gives a [`LaneWriter`]: one writer, one ever-growing sequence of frames.
//! * [`Journal::reader`] or [`Reader::open_dir`] (also from another process) gives a [`Tail`] per lane.
//! * [`RequestRecord`] is what a request leaves behind; it is written and read without allocating.
//! * [`verify_dir`] checks a directory of segments offline.
//!
//! A position is `(node, lane, sequence)`: within a lane the sequence only ever grows, across segments, restarts and
//! damage, so "everything before sequence n" is all a projection has to remember.
//!
//! The format on disk is described in `docs/internals/journal.md`.

mod frame;
mod journal;
mod lane;
mod read;
mod record;
mod recover;
mod status;
mod storage;
mod sync;
mod verify;

pub use frame::{Class, DropReason, Dropped, Frame, Kind};
pub use journal::{Journal, LaneError, OpenError, Options};
pub use lane::{AppendError, LaneWriter, SyncError, Synced};
pub use read::{Batch, BatchError, Gap, GapCause, Reader, Tail, TailError};
pub use record::{
    AuditMark, DecodeError, Fault, Outcome, PrincipalKind, Protocol, RequestRecord, USAGE_PAIRS_MAX,
    UsageFull, UsagePairs,
};
pub use recover::{LaneRecovery, RecoveryReport};
pub use status::{JournalStatus, LaneStatus};
pub use storage::{Damage, FORMAT_VERSION, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
pub use verify::{SegmentReport, VerifyReport, verify_dir};
