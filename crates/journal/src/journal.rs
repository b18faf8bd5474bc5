//! Opening a journal and what can be asked of it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::lane::{LaneShared, LaneWriter};
use crate::recover::{self, RecoveryReport};
use crate::status::JournalStatus;
use crate::storage::{
    DirectoryLock, LockError, Pool, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, create_directory,
    lane_name_is_valid, lock, node_of, spare_directory,
};
use crate::sync::{SyncFigures, provide_segments, synchronise_lanes};
use crate::{DropReason, Reader};

/// How a journal is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// This node's name, 1 to 39 bytes; a directory belongs to one node for ever.
    pub node: String,
    /// Size of a segment: a multiple of 4,096 from 64 KiB to 1 GiB.
    pub segment_bytes: usize,
    /// A segment that everyone has read is kept this long after its last change.
    pub keep: Duration,
    /// Most bytes that segments take, those that lie ready included; `None` is as many as the disk has. Where no more is to be had,
    /// appends fail as on a full disk.
    pub bytes_max: Option<u64>,
}

impl Options {
    /// 64 MiB segments, kept for 24 hours.
    pub fn new(node: impl Into<String>) -> Self {
        Self {
            node: node.into(),
            segment_bytes: 64 * 1024 * 1024,
            keep: Duration::from_secs(24 * 60 * 60),
            bytes_max: None,
        }
    }
}

/// Why a journal was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the journal in {directory} is in use by process {holder}")]
    Held { directory: PathBuf, holder: String },
    #[error("the journal in {directory} belongs to node {found}, not to {asked}")]
    OtherNode { directory: PathBuf, found: String, asked: String },
    #[error("{0}")]
    Options(&'static str),
    #[error("{path} is of journal format version {found}, which this build cannot read")]
    Version { path: PathBuf, found: u16 },
    #[error("opening the journal in {directory}: {source}")]
    Io { directory: PathBuf, source: std::io::Error },
}

/// Why a lane was not opened.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    #[error(
        "`{name}` is not the name of a lane: lower-case letters, digits and hyphens, at most 39, and not `spare`"
    )]
    Name { name: String },
    #[error("lane {lane} already has its writer")]
    Taken { lane: String },
    #[error("lane {lane} cannot have a segment: {}", .reason.as_str())]
    Full { lane: String, reason: DropReason },
    #[error("making the directory of lane {lane}: {source}")]
    Directory { lane: String, source: std::io::Error },
}

/// An open journal. Closes in good order when dropped; drop the lanes' writers first.
pub struct Journal {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What the journal, its writers and its threads share.
pub(crate) struct Shared {
    pub(crate) directory: PathBuf,
    pub(crate) node: String,
    pub(crate) boot: u64,
    pub(crate) keep: Duration,
    pub(crate) bytes_max: Option<u64>,
    pub(crate) pool: Pool,
    pub(crate) lanes: Mutex<Vec<Arc<LaneShared>>>,
    pub(crate) appended: watch::Sender<u64>,
    pub(crate) sync_bell: Bell,
    pub(crate) provision_bell: Bell,
    pub(crate) stopping: AtomicBool,
    /// Held by whoever synchronises.
    pub(crate) syncing: Mutex<SyncFigures>,
    clock_us: AtomicI64,
    _lock: DirectoryLock,
}

impl Journal {
    /// Locks and recovers `directory` (made if it is missing) and starts the journal's two threads.
    ///
    /// The report says what was found, above all what could not be read: log it.
    pub fn open(directory: &Path, options: Options) -> Result<(Self, RecoveryReport), OpenError> {
        check(&options)?;
        let failed = |source| OpenError::Io { directory: directory.to_owned(), source };
        create_directory(directory).map_err(failed)?;
        let directory_lock = DirectoryLock::take(directory).map_err(|error| match error {
            LockError::Held { holder } => OpenError::Held { directory: directory.to_owned(), holder },
            LockError::Io(source) => failed(source),
        })?;
        create_directory(&spare_directory(directory)).map_err(failed)?;
        let boot = next_boot(directory, &directory_lock, &options.node)?;
        let recovered = recover::recover(directory)?;
        let report = RecoveryReport { boot, lanes: recovered.reports, unreadable: recovered.unreadable };
        let shared = Arc::new(Shared {
            directory: directory.to_owned(),
            node: options.node,
            boot,
            keep: options.keep,
            bytes_max: options.bytes_max,
            pool: Pool::new(spare_directory(directory), options.segment_bytes, boot),
            lanes: Mutex::new(recovered.lanes),
            appended: watch::Sender::new(0),
            sync_bell: Bell::default(),
            provision_bell: Bell::default(),
            stopping: AtomicBool::new(false),
            syncing: Mutex::default(),
            clock_us: AtomicI64::new(wall_clock_us()),
            _lock: directory_lock,
        });
        let threads = vec![
            thread("journal-sync", &shared, synchronise_lanes).map_err(failed)?,
            thread("journal-provide", &shared, provide_segments).map_err(failed)?,
        ];
        Ok((Self { shared, threads }, report))
    }

    /// Opens a lane for writing. A lane has one writer at a time; it goes on where it ended.
    pub fn lane(&self, name: &str) -> Result<LaneWriter, LaneError> {
        if !lane_name_is_valid(name) {
            return Err(LaneError::Name { name: name.to_owned() });
        }
        let lane = self.shared.lane_or_new(name);
        LaneWriter::open(&self.shared, lane)
    }

    /// A reader of this journal's directory.
    pub fn reader(&self) -> Reader {
        Reader::new(self.shared.directory.clone())
    }

    /// Changes whenever frames have become durable, at most once per synchronisation: await
    /// [`changed`](watch::Receiver::changed), then read until a batch is empty. Lags appends by at most 25 ms and one
    /// synchronisation.
    pub fn appended(&self) -> watch::Receiver<u64> {
        self.shared.appended.subscribe()
    }

    /// Says that everything of `lane` below `upto_sequence` has been read by all who must read it. Segments wholly
    /// below are removed in the background once they are older than `keep`; the newest and quarantined ones stay.
    pub fn release(&self, lane: &str, upto_sequence: u64) {
        let lanes = lock(&self.shared.lanes);
        if let Some(lane) = lanes.iter().find(|known| known.name == lane) {
            lane.released.fetch_max(upto_sequence, Ordering::Relaxed);
        }
    }

    /// Blocks until everything appended before the call is on the disk, or failed to get there (see
    /// [`status`](Self::status)). For tests, ends and offline tools; writers use [`LaneWriter::synced`].
    pub fn synchronise(&self) {
        self.shared.synchronise();
    }

    /// How the journal stands. Takes short locks that no append takes.
    pub fn status(&self) -> JournalStatus {
        JournalStatus::of(&self.shared)
    }

    /// This opening's number; larger than any before in this directory.
    pub fn boot(&self) -> u64 {
        self.shared.boot
    }

    pub fn node(&self) -> &str {
        &self.shared.node
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.sync_bell.ring();
        self.shared.provision_bell.ring();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so; the files are as good as they can be.
            let _ = thread.join();
        }
        // Once more, now that every segment lies in its lane: closes the last ones.
        self.shared.synchronise();
    }
}

impl Shared {
    pub(crate) fn clock_us(&self) -> i64 {
        self.clock_us.load(Ordering::Relaxed)
    }

    pub(crate) fn tick_clock(&self) {
        self.clock_us.store(wall_clock_us(), Ordering::Relaxed);
    }

    pub(crate) fn lanes(&self) -> Vec<Arc<LaneShared>> {
        lock(&self.lanes).clone()
    }

    fn lane_or_new(&self, name: &str) -> Arc<LaneShared> {
        let mut lanes = lock(&self.lanes);
        if let Some(lane) = lanes.iter().find(|lane| lane.name == name) {
            return lane.clone();
        }
        let lane = Arc::new(LaneShared::new(name.to_owned(), 1));
        lanes.push(lane.clone());
        lane
    }
}

fn check(options: &Options) -> Result<(), OpenError> {
    if options.node.is_empty() || options.node.len() > 39 || options.node.contains('\n') {
        return Err(OpenError::Options("a node's name has 1 to 39 bytes and no line break"));
    }
    let bytes = options.segment_bytes;
    if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes) || !bytes.is_multiple_of(4096) {
        return Err(OpenError::Options("segment_bytes is a multiple of 4096 from 64 KiB to 1 GiB"));
    }
    Ok(())
}

fn next_boot(directory: &Path, held: &DirectoryLock, node: &str) -> Result<u64, OpenError> {
    let failed = |source| OpenError::Io { directory: directory.to_owned(), source };
    let boot = match node_of(directory).map_err(failed)? {
        Some((found, _)) if found != node => {
            let (directory, asked) = (directory.to_owned(), node.to_owned());
            return Err(OpenError::OtherNode { directory, found, asked });
        }
        Some((_, last)) => last + 1,
        None => 1,
    };
    held.set_boot(directory, node, boot).map_err(failed)?;
    Ok(boot)
}

fn thread(name: &str, shared: &Arc<Shared>, run: fn(&Shared)) -> std::io::Result<JoinHandle<()>> {
    let shared = shared.clone();
    std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&shared))
}

/// The time segments are stamped with, and against which `keep` is measured.
#[allow(
    clippy::disallowed_methods,
    reason = "files are dated by the real clock; no decision about a request rests on it"
)]
fn wall_clock_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Wakes a thread early.
#[derive(Default)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Bell {
    pub(crate) fn ring(&self) {
        *lock(&self.rung) = true;
        self.heard.notify_one();
    }

    /// Waits for a ring or the timeout, and takes the ring.
    pub(crate) fn wait(&self, timeout: Duration) {
        let rung = lock(&self.rung);
        let waited = self.heard.wait_timeout_while(rung, timeout, |rung| !*rung);
        let (mut rung, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *rung = false;
    }
}
