//! What opening a journal does with what the last process left: finds the end of every lane, and what is damaged.
//!
//! A segment that was sealed and synchronised is taken as whole (readers check every frame, and `verify` reads
//! everything). Any other one is scanned from its first frame. It ends at the first frame that is not right; if right
//! frames follow that one, or it lies where the disk had already confirmed everything, that is not a torn end but
//! damage: the segment is quarantined (kept until an operator removes it) and read as far as it can be.
//! Either way the segment is sealed, and the lane goes on in a new one.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::lane::{ClosedSegment, LaneShared};
use crate::storage::{
    Damage, Found, HEADER_BYTES, Header, HeaderError, Mapping, SEGMENT_BYTES_MAX, Scanner, Seal, Word,
    frame_seed, lanes, lock, release_tail, segment_path, segments, spare_directory, sync_directory,
};
use crate::{DropReason, Dropped, OpenError};

/// What opening a journal found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryReport {
    pub boot: u64,
    pub lanes: Vec<LaneRecovery>,
    /// Segments whose header was damaged before they lay in their lane: it is not known whose they are. They are kept.
    pub unreadable: Vec<PathBuf>,
}

impl RecoveryReport {
    /// Whether any lane has lost frames that had been safe.
    pub fn is_damaged(&self) -> bool {
        !self.unreadable.is_empty() || self.lanes.iter().any(|lane| !lane.damage.is_empty())
    }
}

/// What opening a journal found in one lane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LaneRecovery {
    pub lane: String,
    /// Oldest sequence that can still be read.
    pub first_sequence: u64,
    /// Where the lane goes on.
    pub next_sequence: u64,
    pub segments: usize,
    /// Frames and bytes that were checked; segments sealed in good order are not.
    pub scanned_frames: u64,
    pub scanned_bytes: u64,
    /// A frame was cut off by the crash and discarded: its segment and offset.
    pub torn: Option<(PathBuf, u64)>,
    pub damage: Vec<Damage>,
    /// Appends that failed in the last boot and could not be written down; they are the lane's next frame.
    pub dropped: Option<Dropped>,
}

pub(crate) struct Recovered {
    pub(crate) lanes: Vec<Arc<LaneShared>>,
    pub(crate) reports: Vec<LaneRecovery>,
    pub(crate) unreadable: Vec<PathBuf>,
}

/// Recovers every lane of a locked directory.
pub(crate) fn recover(directory: &Path) -> Result<Recovered, OpenError> {
    let failed = |source| OpenError::Io { directory: directory.to_owned(), source };
    let unreadable = settle_spares(directory)?;
    let mut recovered = Recovered { lanes: Vec::new(), reports: Vec::new(), unreadable };
    for name in lanes(directory).map_err(failed)? {
        let (lane, report) = recover_lane(directory, &name)?;
        recovered.lanes.push(Arc::new(lane));
        recovered.reports.push(report);
    }
    Ok(recovered)
}

/// Moves spares that a lane had just taken to where they belong and removes the others. Returns what it could not
/// make sense of.
fn settle_spares(directory: &Path) -> Result<Vec<PathBuf>, OpenError> {
    let failed = |source| OpenError::Io { directory: directory.to_owned(), source };
    let spares = spare_directory(directory);
    let mut unreadable = Vec::new();
    for entry in std::fs::read_dir(&spares).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        match read_header(&path).map_err(failed)? {
            Some(Ok(header)) => {
                let target = segment_path(directory, &header.lane, header.first_sequence);
                std::fs::rename(&path, &target).map_err(failed)?;
                target.parent().map_or(Ok(()), sync_directory).map_err(failed)?;
            }
            Some(Err(HeaderError::Version { found })) => return Err(OpenError::Version { path, found }),
            // Not even its lane is known. Kept for whoever wants to look at it, out of the way.
            Some(Err(error)) => {
                tracing::error!(%error, path = %path.display(), "a journal segment cannot be read");
                let kept = path.with_extension("unreadable");
                std::fs::rename(&path, &kept).map_err(failed)?;
                unreadable.push(kept);
            }
            None => std::fs::remove_file(&path).map_err(failed)?,
        }
    }
    sync_directory(&spares).map_err(failed)?;
    Ok(unreadable)
}

/// The header of a file that a lane has taken; `None` of an unused spare.
pub(crate) fn read_header(path: &Path) -> io::Result<Option<Result<Header, HeaderError>>> {
    let mut bytes = [0; HEADER_BYTES];
    match File::open(path)?.read_exact_at(&mut bytes, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let state = Word::State as usize;
    let taken = bytes[state] == 1;
    let fixed = bytes.first_chunk().expect("a header is longer than its fixed part");
    Ok(taken.then(|| Header::decode(fixed)))
}

fn recover_lane(directory: &Path, name: &str) -> Result<(LaneShared, LaneRecovery), OpenError> {
    let failed = |source| OpenError::Io { directory: directory.to_owned(), source };
    let mut report = LaneRecovery { lane: name.to_owned(), next_sequence: 1, ..LaneRecovery::default() };
    let mut closed = Vec::new();
    let mut dropped = None;
    for first_sequence in segments(directory, name).map_err(failed)? {
        let path = segment_path(directory, name, first_sequence);
        if let Some(Err(HeaderError::Version { found })) = read_header(&path).map_err(failed)? {
            return Err(OpenError::Version { path, found });
        }
        let segment = recover_segment(&path, name, first_sequence, &mut report).map_err(failed)?;
        report.next_sequence = report.next_sequence.max(segment.closed.next_sequence);
        dropped = segment.dropped.or(dropped);
        if segment.closed.next_sequence == first_sequence && !segment.closed.quarantined {
            // Nothing was ever written to it, and its name is the one that the next segment will have.
            std::fs::remove_file(&path).map_err(failed)?;
        } else {
            closed.push(segment.closed);
        }
    }
    report.segments = closed.len();
    report.first_sequence = closed.first().map_or(report.next_sequence, |segment| segment.first_sequence);
    report.dropped = dropped.filter(|(at, _)| *at == report.next_sequence).map(|(_, dropped)| dropped);
    let lane = LaneShared::new(name.to_owned(), report.next_sequence);
    {
        let mut inner = lock(&lane.inner);
        inner.closed = closed;
        inner.dropped = report.dropped;
        inner.damage = report.damage.clone();
    }
    Ok((lane, report))
}

struct RecoveredSegment {
    closed: ClosedSegment,
    /// Failed appends, and at which sequence their frame was to stand.
    dropped: Option<(u64, Dropped)>,
}

fn recover_segment(
    path: &Path,
    lane: &str,
    first_sequence: u64,
    report: &mut LaneRecovery,
) -> io::Result<RecoveredSegment> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let bytes = file.metadata()?.len();
    if bytes < HEADER_BYTES as u64 {
        return Ok(quarantine_stump(path, first_sequence, bytes, report));
    }
    let mapping = Mapping::writable(&file)?;
    let header_is_right = mapping.header().is_some_and(|header| Header::decode(&header).is_ok());
    let seal = mapping.seal().filter(|_| header_is_right && mapping.load(Word::QuarantinedAt) == 0);
    let next_sequence = match seal {
        Some(seal) => seal.next_sequence,
        None => {
            file.sync_data()?;
            let end = scan(&mapping, path, frame_seed(lane, first_sequence), first_sequence, report);
            seal_scanned(&file, &mapping, &end)?;
            end.next_sequence
        }
    };
    let dropped = Dropped {
        count: mapping.load(Word::DroppedCount),
        reason: DropReason::from_number(mapping.load(Word::DroppedReason) as u8),
    };
    if !header_is_right {
        let lost = first_sequence..first_sequence;
        report.damage.push(Damage { segment: path.to_owned(), offset: 0, lost });
    }
    let quarantined = !header_is_right || mapping.load(Word::QuarantinedAt) != 0;
    Ok(RecoveredSegment {
        closed: ClosedSegment { first_sequence, next_sequence, bytes, quarantined },
        dropped: (dropped.count != 0).then(|| (mapping.load(Word::DroppedAt), dropped)),
    })
}

/// A file too short to be a segment: what it held is not known.
fn quarantine_stump(
    path: &Path,
    first_sequence: u64,
    bytes: u64,
    report: &mut LaneRecovery,
) -> RecoveredSegment {
    // As many as the largest segment could have held: none of them is given out again.
    let next_sequence = first_sequence + (SEGMENT_BYTES_MAX / 24) as u64;
    report.damage.push(Damage {
        segment: path.to_owned(),
        offset: bytes,
        lost: first_sequence..next_sequence,
    });
    RecoveredSegment {
        closed: ClosedSegment { first_sequence, next_sequence, bytes, quarantined: true },
        dropped: None,
    }
}

/// Where a scanned segment ends.
struct End {
    offset: usize,
    next_sequence: u64,
    quarantined_at: Option<usize>,
}

fn scan(mapping: &Mapping, path: &Path, seed: u32, first_sequence: u64, report: &mut LaneRecovery) -> End {
    let whole = mapping.len() & !7;
    let limit = mapping.seal().map_or(whole, |seal| seal.end.min(whole));
    // A damaged word says at worst too much, and then frames are reported as missing that never were.
    let certain = (mapping.load(Word::SyncedEnd) as usize).min(SEGMENT_BYTES_MAX);
    let mut scanner = Scanner::new(seed, first_sequence);
    let mut quarantined_at = Some(mapping.load(Word::QuarantinedAt) as usize).filter(|at| *at != 0);
    let mut damaged = |offset: usize, lost| {
        report.damage.push(Damage { segment: path.to_owned(), offset: offset as u64, lost })
    };
    loop {
        match scanner.next(mapping, certain, limit) {
            Found::Frame(_) => report.scanned_frames += 1,
            Found::End => break,
            Found::Bad => {
                let (at, expected) = (scanner.offset, scanner.next_sequence);
                if let Some(lost) = scanner.resume(mapping, limit) {
                    quarantined_at.get_or_insert(at);
                    damaged(at, lost);
                    continue;
                }
                if at >= certain {
                    report.torn = Some((path.to_owned(), at as u64));
                    break;
                }
                quarantined_at.get_or_insert(at);
                // No sequence that may have been read before is given out again.
                scanner.next_sequence = scanner.sequence_bound(certain);
                damaged(at, expected..scanner.next_sequence);
                break;
            }
        }
    }
    // What an earlier opening found behind the last readable frame.
    if let Some(seal) = mapping.seal()
        && seal.next_sequence > scanner.next_sequence
    {
        damaged(seal.end, scanner.next_sequence..seal.next_sequence);
        scanner.next_sequence = seal.next_sequence;
    }
    report.scanned_bytes += (scanner.offset - HEADER_BYTES) as u64;
    End { offset: scanner.offset, next_sequence: scanner.next_sequence, quarantined_at }
}

/// Seals a scanned segment, whose frames are on the disk, so that it is not scanned again.
fn seal_scanned(file: &File, mapping: &Mapping, end: &End) -> io::Result<()> {
    mapping.store(Word::QuarantinedAt, end.quarantined_at.unwrap_or(0) as u64);
    mapping.set_seal(Seal { end: end.offset, next_sequence: end.next_sequence });
    rustix::fs::fdatasync(file)?;
    if end.quarantined_at.is_none() {
        release_tail(file, end.offset, mapping.len());
    }
    Ok(())
}
