//! Spare segments: a thread keeps some ready, so that a writer that fills one goes on without a system call.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Spare;
use crate::DropReason;

/// The spares of one journal.
pub(crate) struct Pool {
    directory: PathBuf,
    segment_bytes: usize,
    boot: u64,
    ready: Mutex<Vec<Spare>>,
    target: AtomicUsize,
    made: AtomicU64,
    /// Why the last attempt failed, as long as none succeeded since.
    failed: Mutex<Option<(DropReason, String)>>,
    failing: AtomicBool,
}

impl Pool {
    pub(crate) fn new(directory: PathBuf, segment_bytes: usize, boot: u64) -> Self {
        Self {
            directory,
            segment_bytes,
            boot,
            ready: Mutex::default(),
            target: AtomicUsize::new(2),
            made: AtomicU64::new(0),
            failed: Mutex::default(),
            failing: AtomicBool::new(false),
        }
    }

    pub(crate) fn segment_bytes(&self) -> usize {
        self.segment_bytes
    }

    /// Two, and one more than there are lanes: lanes under the same load run full at the same time.
    pub(crate) fn set_lanes(&self, lanes: usize) {
        self.target.store((lanes + 1).max(2), Ordering::Relaxed);
    }

    pub(crate) fn ready(&self) -> usize {
        lock(&self.ready).len()
    }

    pub(crate) fn is_short(&self) -> bool {
        self.ready() < self.target.load(Ordering::Relaxed)
    }

    pub(crate) fn failure(&self) -> Option<(DropReason, String)> {
        lock(&self.failed).clone()
    }

    /// A spare: a ready one, or, when the thread has fallen behind, one made here and now. While the disk is known to
    /// be full this fails at once; the thread keeps trying.
    pub(crate) fn take(&self, created_at_us: i64) -> Result<Spare, DropReason> {
        if let Some(spare) = lock(&self.ready).pop() {
            return Ok(spare);
        }
        if self.failing.load(Ordering::Relaxed)
            && let Some((reason, _)) = self.failure()
        {
            return Err(reason);
        }
        self.make(created_at_us).map_err(|error| DropReason::of(&error))
    }

    /// A spare for a lane that begins, which cannot be without one: made here and now if none is ready, even if the journal has the size
    /// that it may have.
    pub(crate) fn take_first(&self, created_at_us: i64) -> Result<Spare, DropReason> {
        if let Some(spare) = lock(&self.ready).pop() {
            return Ok(spare);
        }
        self.make(created_at_us).map_err(|error| DropReason::of(&error))
    }

    /// Makes one spare and keeps it ready.
    pub(crate) fn refill(&self, created_at_us: i64) -> io::Result<()> {
        let spare = self.make(created_at_us)?;
        lock(&self.ready).push(spare);
        Ok(())
    }

    /// Gives none until one is made again, and says why.
    pub(crate) fn refuse(&self, why: &str) {
        let before = lock(&self.failed).replace((DropReason::NoSpace, why.to_owned()));
        if before.is_none() {
            tracing::error!(why, "no new journal segment");
        }
        self.failing.store(true, Ordering::Relaxed);
    }

    fn make(&self, created_at_us: i64) -> io::Result<Spare> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join(format!("{:010}-{number:010}.segment", self.boot));
        let made = Spare::create(path, self.segment_bytes, created_at_us);
        let failure = made.as_ref().err().map(|error| (DropReason::of(error), error.to_string()));
        self.failing.store(failure.is_some(), Ordering::Relaxed);
        *lock(&self.failed) = failure;
        made
    }

    /// Removes the spares' files; for the end of a journal in good order.
    pub(crate) fn discard(&self) {
        for spare in lock(&self.ready).drain(..) {
            // What cannot be removed now is removed by the next opening.
            let _ = std::fs::remove_file(&spare.path);
        }
    }
}

/// A lock whose holder panicked still guards plain data; the journal goes on.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
