//! Frames as they are handed out: copied out of the map into one buffer, so that they are the reader's own.

use std::ops::Range;

use crate::storage::ScannedFrame;
use crate::{Class, Frame, Kind};

/// Some frames of a lane, in order.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub(crate) payloads: Vec<u8>,
    pub(crate) entries: Vec<Entry>,
    /// Frames are missing before the first frame of this batch. Reported once.
    pub gap: Option<Gap>,
    /// Where to go on: a projection stores this in the transaction of what it made of the batch.
    pub next_sequence: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    sequence: u64,
    class: Class,
    kind: Kind,
    payload: Range<usize>,
}

/// Frames that should be there and are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The missing sequences. After damage the end can be higher than what was ever written.
    pub missing: Range<u64>,
    pub cause: GapCause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapCause {
    /// The segment is not there: removed after it was released, or by hand.
    Removed,
    /// The segment is damaged.
    Damaged,
}

impl Batch {
    pub fn frames(&self) -> impl ExactSizeIterator<Item = Frame<'_>> {
        self.entries.iter().map(|entry| Frame {
            sequence: entry.sequence,
            class: entry.class,
            kind: entry.kind,
            payload: &self.payloads[entry.payload.clone()],
        })
    }

    /// How many frames there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no frames; there may still be a gap.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of payload.
    pub fn bytes(&self) -> usize {
        self.payloads.len()
    }

    pub(crate) fn push(&mut self, frame: ScannedFrame<'_>) {
        let start = self.payloads.len();
        self.payloads.extend_from_slice(frame.payload);
        self.entries.push(Entry {
            sequence: frame.sequence,
            class: frame.class,
            kind: frame.kind,
            payload: start..self.payloads.len(),
        });
    }
}
