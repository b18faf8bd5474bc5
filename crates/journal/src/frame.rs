//! Frames: what a lane is a sequence of.

use crate::{DecodeError, RequestRecord};

/// How durable a frame is before whoever asked for it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Class {
    /// Safe from `kill -9` at once, from a loss of power within 50 ms.
    R = 1,
    /// The appender waits for the group-committed synchronisation ([`LaneWriter::synced`](crate::LaneWriter::synced)).
    S = 2,
}

/// What a frame's payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A [`RequestRecord`].
    Request,
    /// A usage event from the ingestion API, as JSON bytes that the journal does not look into.
    Usage,
    /// An audit event, as JSON bytes that the journal does not look into.
    Audit,
    /// A [`Dropped`]: an exact count of what could not be recorded.
    Dropped,
    /// A writer opened the lane; payload: boot number, u64.
    LaneStart,
    /// The writer closed the lane in good order; payload: boot number, u64.
    LaneStop,
    /// Written by a later version.
    Unknown(u8),
}

impl Kind {
    /// As the format numbers it.
    pub fn number(self) -> u8 {
        match self {
            Self::Request => 1,
            Self::Usage => 2,
            Self::Audit => 3,
            Self::Dropped => 4,
            Self::LaneStart => 5,
            Self::LaneStop => 6,
            Self::Unknown(number) => number,
        }
    }

    /// The kind of a number of the format.
    pub fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Request,
            2 => Self::Usage,
            3 => Self::Audit,
            4 => Self::Dropped,
            5 => Self::LaneStart,
            6 => Self::LaneStop,
            number => Self::Unknown(number),
        }
    }
}

/// One frame as read; its payload lies in the [`Batch`](crate::Batch) it came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Position in the lane; grows by one from frame to frame, and by more only where a gap is reported.
    pub sequence: u64,
    pub class: Class,
    pub kind: Kind,
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The payload as a record; meant for frames of [`Kind::Request`].
    pub fn record(&self) -> Result<RequestRecord<'a>, DecodeError> {
        RequestRecord::decode(self.payload)
    }

    /// The payload as a count of dropped records, if this is a frame of [`Kind::Dropped`].
    pub fn dropped(&self) -> Option<Dropped> {
        if self.kind != Kind::Dropped {
            return None;
        }
        let (count, rest) = self.payload.split_first_chunk::<8>()?;
        let reason = DropReason::from_number(*rest.first()?);
        Some(Dropped { count: u64::from_le_bytes(*count), reason })
    }
}

/// How many appends failed since the last frame before this one, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    pub count: u64,
    pub reason: DropReason,
}

impl Dropped {
    pub(crate) const BYTES: usize = 9;

    pub(crate) fn encode(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.count.to_le_bytes());
        bytes[8] = self.reason as u8;
        bytes
    }
}

/// Why records could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DropReason {
    /// The disk or the quota is full.
    NoSpace = 1,
    /// A new segment could not be made for another reason; the log has it.
    NoSegment = 2,
}

impl DropReason {
    pub(crate) fn from_number(number: u8) -> Self {
        if number == Self::NoSpace as u8 { Self::NoSpace } else { Self::NoSegment }
    }

    pub(crate) fn of(error: &std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        match error.kind() {
            StorageFull | QuotaExceeded => Self::NoSpace,
            _ => Self::NoSegment,
        }
    }

    /// The word for it in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSpace => "no_space",
            Self::NoSegment => "no_segment",
        }
    }
}
