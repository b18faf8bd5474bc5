//! Checking a directory of segments offline: every frame of every segment, without changing anything.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::recover::read_header;
use crate::storage::{
    Damage, Found, HEADER_BYTES, Header, Mapping, SEGMENT_BYTES_MAX, Scanner, Word, frame_seed, lanes,
    segment_path, segments, spare_directory,
};

/// What [`verify_dir`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    pub segments: Vec<SegmentReport>,
}

/// What [`verify_dir`] found in one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentReport {
    pub lane: String,
    pub path: PathBuf,
    pub node: String,
    pub boot: u64,
    pub first_sequence: u64,
    pub frames: u64,
    /// Bytes of right frames, with padding.
    pub bytes: u64,
    /// Whether a writer has ended it; an unsealed one is being written, or awaits recovery.
    pub sealed: bool,
    /// Something that is not a frame stands at the end of an unsealed segment: recovery will discard it.
    pub torn_at: Option<u64>,
    pub damage: Vec<Damage>,
    /// What is wrong with the header, if anything.
    pub header: Option<String>,
}

impl SegmentReport {
    pub fn is_right(&self) -> bool {
        self.damage.is_empty() && self.header.is_none()
    }
}

impl VerifyReport {
    /// Whether every segment is right. A torn end is.
    pub fn is_right(&self) -> bool {
        self.segments.iter().all(SegmentReport::is_right)
    }
}

/// Reads every segment in `directory`, which no process needs to have open, and says what is wrong with it.
pub fn verify_dir(directory: &Path) -> io::Result<VerifyReport> {
    let mut report = VerifyReport::default();
    for lane in lanes(directory)? {
        for first_sequence in segments(directory, &lane)? {
            let path = segment_path(directory, &lane, first_sequence);
            report.segments.push(verify_segment(path, &lane, first_sequence)?);
        }
    }
    let spares = match std::fs::read_dir(spare_directory(directory)) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    for path in spares.into_iter().map(|entry| entry.path()) {
        if let Some(Ok(header)) = read_header(&path)? {
            report.segments.push(verify_segment(path, &header.lane, header.first_sequence)?);
        }
    }
    Ok(report)
}

fn verify_segment(path: PathBuf, lane: &str, first_sequence: u64) -> io::Result<SegmentReport> {
    let mut report = SegmentReport {
        lane: lane.to_owned(),
        path,
        node: String::new(),
        boot: 0,
        first_sequence,
        frames: 0,
        bytes: 0,
        sealed: false,
        torn_at: None,
        damage: Vec::new(),
        header: None,
    };
    let file = File::open(&report.path)?;
    if file.metadata()?.len() < HEADER_BYTES as u64 {
        report.header = Some("it is cut off".to_owned());
        return Ok(report);
    }
    let mapping = Mapping::read_only(&file)?;
    match mapping.header().map(|bytes| Header::decode(&bytes)) {
        Some(Ok(header)) => (report.node, report.boot) = (header.node, header.boot),
        Some(Err(error)) => report.header = Some(error.to_string()),
        None => report.header = Some("it belongs to no lane".to_owned()),
    }
    scan(&mapping, &mut report);
    Ok(report)
}

fn scan(mapping: &Mapping, report: &mut SegmentReport) {
    let whole = mapping.len() & !7;
    let seal = mapping.seal();
    report.sealed = seal.is_some();
    let limit = seal.map_or(whole, |seal| seal.end.min(whole));
    let certain = (mapping.load(Word::SyncedEnd) as usize).min(SEGMENT_BYTES_MAX);
    let mut scanner = Scanner::new(frame_seed(&report.lane, report.first_sequence), report.first_sequence);
    loop {
        let offset = scanner.offset;
        match scanner.next(mapping, certain, limit) {
            Found::Frame(_) => {
                report.frames += 1;
                report.bytes += (scanner.offset - offset) as u64;
            }
            Found::End => break,
            Found::Bad => {
                let resumed = scanner.resume(mapping, limit);
                if resumed.is_none() && offset >= certain {
                    report.torn_at = Some(offset as u64);
                    return;
                }
                let lost = resumed.clone().unwrap_or(scanner.next_sequence..scanner.sequence_bound(certain));
                report.damage.push(Damage { segment: report.path.clone(), offset: offset as u64, lost });
                if resumed.is_none() {
                    return;
                }
            }
        }
    }
    if let Some(seal) = seal
        && seal.next_sequence != scanner.next_sequence
    {
        let lost = scanner.next_sequence..seal.next_sequence;
        report.damage.push(Damage { segment: report.path.clone(), offset: seal.end as u64, lost });
    }
}
