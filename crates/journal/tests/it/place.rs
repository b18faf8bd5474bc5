//! A directory for one test, and short words for what every test does.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rowhouse_journal::{Batch, Gap, Journal, Kind, Options, RecoveryReport, Tail};

/// Smallest segments, so that tests roll over often.
pub const SEGMENT_BYTES: usize = 64 * 1024;

/// A directory that goes away with the test.
pub struct Place {
    path: PathBuf,
}

impl Place {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rowhouse-journal-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn open(&self) -> (Journal, RecoveryReport) {
        Journal::open(&self.path, options()).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

pub fn options() -> Options {
    Options { segment_bytes: SEGMENT_BYTES, keep: Duration::ZERO, ..Options::new("node-a") }
}

/// What a tail gives until it is caught up: payloads of usage frames, other frames' kinds counted, gaps.
#[derive(Debug, Default)]
pub struct Read {
    pub sequences: Vec<u64>,
    pub usage: Vec<Vec<u8>>,
    pub marks: Vec<Kind>,
    pub dropped: u64,
    pub gaps: Vec<Gap>,
}

pub fn read_all(tail: &mut Tail) -> Read {
    let mut read = Read::default();
    loop {
        let batch = tail.next_batch(100, 10_000).unwrap();
        if batch.is_empty() && batch.gap.is_none() {
            return read;
        }
        read.take(&batch);
    }
}

impl Read {
    fn take(&mut self, batch: &Batch) {
        self.gaps.extend(batch.gap.clone());
        for frame in batch.frames() {
            self.sequences.push(frame.sequence);
            match frame.kind {
                Kind::Usage => self.usage.push(frame.payload.to_vec()),
                kind => self.marks.push(kind),
            }
            self.dropped += frame.dropped().map_or(0, |dropped| dropped.count);
        }
    }
}

/// A payload of `length` bytes that says which one it is.
pub fn payload(number: u64, length: usize) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(length.max(8), number as u8);
    bytes
}
