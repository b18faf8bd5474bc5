//! Finding the segment in which a sequence lies.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::recover::read_header;
use crate::storage::{Header, Mapping, Scanner, frame_seed, segment_path, segments, spare_directory};

/// A segment opened for reading.
pub(super) struct OpenSegment {
    pub(super) mapping: Mapping,
    pub(super) scanner: Scanner,
    pub(super) first_sequence: u64,
}

impl OpenSegment {
    fn open(path: &Path, lane: &str, first_sequence: u64) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mapping = match Mapping::read_only(&file) {
            Ok(mapping) => mapping,
            // A stump: nothing in it can be read.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        };
        if let Some(Err(error)) = mapping.header().map(|bytes| Header::decode(&bytes)) {
            tracing::warn!(%error, path = %path.display(), "reading a journal segment by its name only");
        }
        let scanner = Scanner::new(frame_seed(lane, first_sequence), first_sequence);
        Ok(Some(Self { mapping, scanner, first_sequence }))
    }
}

/// What there is for a sequence.
pub(super) enum Place {
    /// The segment that contains it, or would if it has been written.
    Segment(OpenSegment),
    /// Not here, but a later one is, which begins with this sequence.
    Later(u64),
    /// Nothing yet.
    Nothing,
}

/// Looks for the segment with `sequence` (0: the oldest), ignoring those that begin at or before `exhausted`.
pub(super) fn find(directory: &Path, lane: &str, sequence: u64, exhausted: Option<u64>) -> io::Result<Place> {
    // What the writer has just taken into use lies among the spares until it has been renamed.
    let fresh = freshly_adopted(directory, lane)?;
    let mut known: Vec<(u64, PathBuf)> = fresh;
    for first_sequence in segments(directory, lane)? {
        known.push((first_sequence, segment_path(directory, lane, first_sequence)));
    }
    known.sort();
    known.retain(|(first_sequence, _)| exhausted.is_none_or(|exhausted| *first_sequence > exhausted));
    let candidates = known.iter().rev().filter(|(first, _)| *first <= sequence);
    for (first_sequence, path) in candidates {
        if let Some(segment) = OpenSegment::open(path, lane, *first_sequence)? {
            return Ok(Place::Segment(segment));
        }
    }
    let Some((later, _)) = known.iter().find(|(first, _)| *first > sequence) else {
        return Ok(Place::Nothing);
    };
    // Renames happen oldest first, but a listing made meanwhile may show a later one and not the one before: looking
    // for it by name settles it.
    let exact = OpenSegment::open(&segment_path(directory, lane, sequence), lane, sequence)?;
    Ok(exact.map_or(Place::Later(*later), Place::Segment))
}

/// Segments of the lane that still lie among the spares.
fn freshly_adopted(directory: &Path, lane: &str) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match std::fs::read_dir(spare_directory(directory)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        match read_header(&path) {
            Ok(Some(Ok(header))) if header.lane == lane => found.push((header.first_sequence, path)),
            Ok(_) => {}
            // Renamed or removed between the listing and the look.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}
