//! Segments on disk: their format, their memory map, their making and their reading back.

mod directory;
mod format;
mod map;
mod pool;
mod scan;
mod segment;

pub(crate) use directory::{
    DirectoryLock, LockError, create_directory, lane_name_is_valid, lanes, node_of, segment_path, segments,
    spare_directory, sync_directory,
};
pub use format::{FORMAT_VERSION, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
pub(crate) use format::{HEADER_BYTES, Header, HeaderError, frame_seed};
pub(crate) use map::{Mapping, Seal, Word};
pub(crate) use pool::{Pool, lock};
pub use scan::Damage;
pub(crate) use scan::{Found, ScannedFrame, Scanner};
pub(crate) use segment::{Progress, Segment, SegmentWriter, Spare, payload_bytes_max, release_tail};
