//! A directory for one test, and short words for what every test does.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rowhouse_journal::{Batch, Gap, Journal, Kind, Options, RecoveryReport, Tail};

/// Smallest segments, so that tests roll over often.
pub const SEGMENT_BYTES: usize = 64 * 1024;

/// Where the first segment of the lane that most tests use comes to lie.
pub const FIRST_SEGMENT: &str = "core-0/00000000000000000001.segment";

/// A directory that goes away with the test.
pub struct Place {
    path: PathBuf,
}

impl Place {
    pub fn new(name: &str) -> Self {
        Self::at(std::env::temp_dir().join(format!("rowhouse-journal-{}-{name}", std::process::id())))
    }

    fn at(path: PathBuf) -> Self {
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// In memory where the machine has a place for that: for tests that make very many files.
    pub fn in_memory(name: &str) -> Self {
        let shared_memory = Path::new("/dev/shm");
        let base = if shared_memory.is_dir() { shared_memory.to_owned() } else { std::env::temp_dir() };
        Self::at(base.join(format!("rowhouse-journal-{}-{name}", std::process::id())))
    }

    /// What a crash right now would leave behind: a copy of the files as they are.
    pub fn copy_of(source: &Path, name: &str) -> Self {
        let copy = Self::in_memory(name);
        // The spares first: what is moved into its lane meanwhile is then found there.
        let lanes = directories(source).into_iter().filter(|path| !path.ends_with("spare"));
        for directory in [source.join("spare")].into_iter().chain(lanes) {
            let target = copy.path.join(directory.file_name().unwrap());
            std::fs::create_dir_all(&target).unwrap();
            for entry in std::fs::read_dir(&directory).unwrap() {
                let path = entry.unwrap().path();
                match std::fs::copy(&path, target.join(path.file_name().unwrap())) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    copied => drop(copied.unwrap()),
                }
            }
        }
        std::fs::copy(source.join("node"), copy.path.join("node")).unwrap();
        copy
    }

    /// Sizes of the segments' files.
    pub fn bytes(&self) -> u64 {
        let files = directories(&self.path).into_iter().flat_map(|path| std::fs::read_dir(path).unwrap());
        files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len())).sum()
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

fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).collect()
}

/// Waits for what another thread does, with a deadline.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited 20 s for: {what}");
        std::thread::yield_now();
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
    /// What was read later.
    pub fn add(&mut self, later: Read) {
        self.sequences.extend(later.sequences);
        self.usage.extend(later.usage);
        self.marks.extend(later.marks);
        self.dropped += later.dropped;
        self.gaps.extend(later.gaps);
    }

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
