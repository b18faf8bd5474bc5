//! Reading one segment frame by frame, with every check, and finding the way back after damage.

use std::ops::Range;
use std::path::PathBuf;

use super::format::{FRAME_HEADER_BYTES, HEADER_BYTES, padded};
use super::map::{Mapping, Published};
use crate::{Class, Kind};

/// A stretch of a segment that cannot be read although frames stood there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub segment: PathBuf,
    /// Offset of the first byte that cannot be read.
    pub offset: u64,
    /// The sequences that are lost. Where nothing readable follows in the segment, the end is an upper bound.
    pub lost: Range<u64>,
}

/// A place in a segment.
#[derive(Debug, Clone)]
pub(crate) struct Scanner {
    seed: u32,
    pub(crate) offset: usize,
    /// Sequence of the frame that stands, or will stand, at `offset`.
    pub(crate) next_sequence: u64,
}

/// A frame whose checksum and sequence are right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScannedFrame<'m> {
    pub(crate) sequence: u64,
    pub(crate) class: Class,
    pub(crate) kind: Kind,
    pub(crate) payload: &'m [u8],
}

#[derive(Debug)]
pub(crate) enum Found<'m> {
    Frame(ScannedFrame<'m>),
    /// Nothing more, and nothing more was promised.
    End,
    /// What stands here is not the expected frame.
    Bad,
}

impl Scanner {
    /// A scanner at the first frame of a segment.
    pub(crate) fn new(seed: u32, first_sequence: u64) -> Self {
        Self { seed, offset: HEADER_BYTES, next_sequence: first_sequence }
    }

    /// Looks at the next frame and steps over it if it is right.
    ///
    /// Nothing at or behind `limit` is looked at. Frames are known to have stood up to `certain`: a zero length
    /// before it is damage, behind it the end.
    #[inline]
    pub(crate) fn next<'m>(&mut self, mapping: &'m Mapping, certain: usize, limit: usize) -> Found<'m> {
        match mapping.published(self.offset, limit) {
            Published::Frame(bytes) => match self.check(bytes) {
                Some(frame) if frame.sequence == self.next_sequence => {
                    self.offset += padded(bytes.len());
                    self.next_sequence += 1;
                    Found::Frame(frame)
                }
                _ => Found::Bad,
            },
            Published::Nothing if self.offset >= certain => Found::End,
            Published::Nothing | Published::BadLength => Found::Bad,
        }
    }

    /// After [`Found::Bad`]: moves to the next right frame before `limit` and returns which sequences were passed
    /// over; `None` (and no move) if there is none.
    pub(crate) fn resume(&mut self, mapping: &Mapping, limit: usize) -> Option<Range<u64>> {
        let mut offset = self.offset + 8;
        while offset + FRAME_HEADER_BYTES <= limit {
            if let Published::Frame(bytes) = mapping.published(offset, limit)
                && self.is_plausible(bytes, offset)
                && let Some(frame) = self.check(bytes)
            {
                let lost = self.next_sequence..frame.sequence;
                self.offset = offset;
                self.next_sequence = frame.sequence;
                return Some(lost);
            }
            offset += 8;
        }
        None
    }

    /// The highest sequence that may have stood behind a bad frame, plus one, if frames went on to `limit`.
    pub(crate) fn sequence_bound(&self, limit: usize) -> u64 {
        self.next_sequence + self.frames_between(limit) + 1
    }

    /// Cheap look before the checksum: a sequence that could have been reached in the bytes passed over.
    fn is_plausible(&self, frame: &[u8], offset: usize) -> bool {
        let sequence = sequence_of(frame);
        sequence >= self.next_sequence && sequence - self.next_sequence <= self.frames_between(offset)
    }

    fn frames_between(&self, end: usize) -> u64 {
        (end.saturating_sub(self.offset) / padded(FRAME_HEADER_BYTES)) as u64
    }

    #[inline]
    fn check<'m>(&self, frame: &'m [u8]) -> Option<ScannedFrame<'m>> {
        let stored = u32::from_le_bytes(frame[4..8].try_into().expect("four bytes"));
        if crc32c::crc32c_append(self.seed ^ frame.len() as u32, &frame[8..]) != stored {
            return None;
        }
        let class = match frame[16] {
            1 => Class::R,
            2 => Class::S,
            _ => return None,
        };
        Some(ScannedFrame {
            sequence: sequence_of(frame),
            class,
            kind: Kind::from_number(frame[17]),
            payload: &frame[FRAME_HEADER_BYTES..],
        })
    }
}

fn sequence_of(frame: &[u8]) -> u64 {
    u64::from_le_bytes(frame[8..16].try_into().expect("a frame is at least 18 bytes"))
}
