//! Following one lane.

use std::ops::Range;
use std::path::PathBuf;

use super::batch::{Batch, Gap, GapCause};
use super::find::{OpenSegment, Place, find};
use crate::storage::{Found, Word};

/// Why a tail could not read.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    #[error("reading lane {lane}: {source}")]
    Io { lane: String, source: std::io::Error },
    /// The position lies behind the lane's end: the directory is not the one in which it was reached. (For a moment
    /// this is also so after a loss of power, until the journal's own process has recovered the directory.)
    #[error("lane {lane} ends at {end}, but sequence {asked} was asked for: is this the same journal?")]
    Ahead { lane: String, asked: u64, end: u64 },
}

/// A place in a lane that moves on with every batch.
///
/// Never blocks the writer and makes no system call while it stays within a segment.
pub struct Tail {
    directory: PathBuf,
    lane: String,
    durable: bool,
    /// The next sequence to give; 0: the oldest there is.
    next_sequence: u64,
    current: Option<OpenSegment>,
    /// The last segment read to its end, by its first sequence.
    exhausted: Option<u64>,
    /// Found behind the frames of the last batch; goes with the next one.
    gap: Option<Gap>,
    /// The highest end seen.
    end: u64,
}

/// How far a batch got in a segment.
enum Step {
    /// The batch is full, or has to end before a gap.
    Full,
    /// There is nothing more yet.
    CaughtUp,
    /// The segment is over.
    Ended,
}

/// How much may be put into a batch.
#[derive(Clone, Copy)]
struct Room {
    frames: usize,
    bytes: usize,
}

impl Tail {
    pub(super) fn new(directory: PathBuf, lane: String, from_sequence: u64, durable: bool) -> Self {
        let next_sequence = from_sequence;
        Self { directory, lane, durable, next_sequence, current: None, exhausted: None, gap: None, end: 0 }
    }

    /// The lane that is followed.
    pub fn lane(&self) -> &str {
        &self.lane
    }

    /// The next sequence to be given; 0 before the first batch of a tail from the oldest frame.
    pub fn next_sequence(&self) -> u64 {
        self.gap.as_ref().map_or(self.next_sequence, |gap| gap.missing.start)
    }

    /// The next frames: at most `frames_max`, and no further one once there are `bytes_max` bytes of payload. Empty
    /// if there is nothing new; never waits.
    pub fn next_batch(&mut self, frames_max: usize, bytes_max: usize) -> Result<Batch, TailError> {
        let mut batch = Batch { gap: self.gap.take(), ..Batch::default() };
        let room = Room { frames: frames_max, bytes: bytes_max };
        loop {
            let Some(mut segment) = self.current.take() else {
                if self.open_next(&mut batch)? {
                    continue;
                }
                break;
            };
            let step = self.read_segment(&mut segment, &mut batch, room);
            self.end = self.end.max(segment.scanner.next_sequence);
            if let Step::Ended = step {
                self.exhausted = Some(segment.first_sequence);
            } else {
                self.current = Some(segment);
                if let Step::CaughtUp = step {
                    self.check_not_ahead()?;
                }
                break;
            }
        }
        batch.next_sequence = self.next_sequence();
        Ok(batch)
    }

    /// Opens the segment with the next sequence; false if there is none yet, or if a gap has to end the batch.
    fn open_next(&mut self, batch: &mut Batch) -> Result<bool, TailError> {
        if self.gap.is_some() {
            return Ok(false);
        }
        let place = find(&self.directory, &self.lane, self.next_sequence, self.exhausted);
        match place.map_err(|source| TailError::Io { lane: self.lane.clone(), source })? {
            Place::Segment(segment) => self.current = Some(segment),
            Place::Later(first_sequence) => {
                if self.next_sequence != 0 {
                    self.report(batch, self.next_sequence..first_sequence, GapCause::Removed);
                }
                self.next_sequence = first_sequence;
            }
            Place::Nothing => {
                self.check_not_ahead()?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read_segment(&mut self, segment: &mut OpenSegment, batch: &mut Batch, room: Room) -> Step {
        let OpenSegment { mapping, scanner, .. } = segment;
        let whole = mapping.len() & !7;
        let seal = mapping.seal();
        let synced = (mapping.load(Word::SyncedEnd) as usize).min(whole);
        if let Some(seal) = seal
            && scanner.next_sequence < self.next_sequence
            && seal.next_sequence <= self.next_sequence
        {
            self.end = self.end.max(seal.next_sequence);
            return Step::Ended;
        }
        let limit = match seal {
            Some(seal) => seal.end.min(whole),
            None if self.durable => synced,
            None => whole,
        };
        loop {
            if batch.len() >= room.frames || batch.bytes() >= room.bytes || self.gap.is_some() {
                return Step::Full;
            }
            let expected = scanner.next_sequence;
            match scanner.next(mapping, synced, limit) {
                Found::Frame(frame) if frame.sequence < self.next_sequence => {}
                Found::Frame(frame) => {
                    batch.push(frame);
                    self.next_sequence = frame.sequence + 1;
                }
                Found::End if seal.is_some() => break,
                Found::End => return Step::CaughtUp,
                Found::Bad if seal.is_none() && scanner.offset >= synced => return Step::CaughtUp,
                Found::Bad => match scanner.resume(mapping, limit) {
                    Some(lost) => self.pass_over(batch, lost),
                    None if seal.is_some() => break,
                    // What follows is not there yet.
                    None => return Step::CaughtUp,
                },
            }
            debug_assert!(scanner.next_sequence > expected, "every turn moves on");
        }
        // Behind the last readable frame of a damaged segment.
        let readable = scanner.next_sequence;
        if let Some(seal) = seal
            && seal.next_sequence > readable
        {
            self.pass_over(batch, readable..seal.next_sequence);
            scanner.next_sequence = seal.next_sequence;
        }
        Step::Ended
    }

    fn pass_over(&mut self, batch: &mut Batch, lost: Range<u64>) {
        let missing = lost.start.max(self.next_sequence)..lost.end;
        if missing.is_empty() {
            return;
        }
        self.next_sequence = missing.end;
        self.report(batch, missing, GapCause::Damaged);
    }

    /// A gap stands before the frames of a batch; one found behind them waits for the next batch.
    fn report(&mut self, batch: &mut Batch, missing: Range<u64>, cause: GapCause) {
        let gap = Some(Gap { missing, cause });
        if batch.is_empty() && batch.gap.is_none() {
            batch.gap = gap;
        } else {
            self.gap = gap;
        }
    }

    fn check_not_ahead(&self) -> Result<(), TailError> {
        let (asked, end) = (self.next_sequence, self.end);
        if end != 0 && asked > end {
            return Err(TailError::Ahead { lane: self.lane.clone(), asked, end });
        }
        Ok(())
    }
}
