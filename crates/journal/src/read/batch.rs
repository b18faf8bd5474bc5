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

/// Frames that do not follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the frames of a batch do not follow each other at sequence {sequence}")]
pub struct BatchError {
    /// Where.
    pub sequence: u64,
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

    /// Adds a frame that was read elsewhere.
    ///
    /// # Errors
    /// If it does not come after those that are there.
    pub fn append(
        &mut self,
        sequence: u64,
        class: Class,
        kind: Kind,
        payload: &[u8],
    ) -> Result<(), BatchError> {
        if self.entries.last().is_some_and(|last| last.sequence >= sequence) {
            return Err(BatchError { sequence });
        }
        self.push(ScannedFrame { sequence, class, kind, payload });
        Ok(())
    }

    /// Whether it tells everything from `from` (0: from anywhere) up to where it says to go on: each sequence is a frame's or
    /// in the gap.
    ///
    /// # Errors
    /// With the first sequence that is out of place.
    pub fn check(&self, from: u64) -> Result<(), BatchError> {
        let mut expected = from;
        if let Some(gap) = &self.gap {
            if from != 0 && gap.missing.start != from || gap.missing.is_empty() {
                return Err(BatchError { sequence: gap.missing.start });
            }
            expected = gap.missing.end;
        }
        for entry in &self.entries {
            if expected != 0 && entry.sequence != expected {
                return Err(BatchError { sequence: entry.sequence });
            }
            expected = entry.sequence + 1;
        }
        let is_told = self.next_sequence == expected;
        if is_told { Ok(()) } else { Err(BatchError { sequence: self.next_sequence }) }
    }

    /// What of it comes at or after `position`, at most `frames_max` frames.
    pub fn part(&self, position: u64, frames_max: usize) -> Batch {
        let gap = self.gap.clone().filter(|gap| gap.missing.end > position);
        let mut part = Batch { gap, next_sequence: self.next_sequence, ..Batch::default() };
        for frame in self.frames().filter(|frame| frame.sequence >= position) {
            if part.len() == frames_max {
                part.next_sequence = frame.sequence;
                break;
            }
            let Frame { sequence, class, kind, payload } = frame;
            part.push(ScannedFrame { sequence, class, kind, payload });
        }
        part
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
