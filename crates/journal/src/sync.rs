//! The journal's two threads: one brings lanes to the disk, one keeps spare segments ready and removes old ones.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::journal::Shared;
use crate::lane::{ClosedSegment, LaneShared};
use crate::storage::{Progress, Segment, lock, segment_path, spare_directory, sync_directory};

/// How long a frame of class R waits at most before its synchronisation begins. Half of the promised 50 ms: the other
/// half is for the disk.
const SYNC_EVERY: Duration = Duration::from_millis(25);
/// How often the second thread looks when nothing wakes it: retries after a full disk, and removal.
const PROVIDE_EVERY: Duration = Duration::from_millis(250);

/// What synchronising has cost since the journal was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SyncFigures {
    pub(crate) count: u64,
    pub(crate) total_us: u64,
    pub(crate) max_us: u64,
}

/// The first thread.
pub(crate) fn synchronise_lanes(shared: &Shared) {
    let _closing = TellWaiting(shared);
    loop {
        shared.sync_bell.wait(SYNC_EVERY);
        let stopping = shared.stopping.load(Ordering::Acquire);
        shared.synchronise();
        if stopping {
            return;
        }
    }
}

/// However the first thread ends, no one goes on waiting for it.
struct TellWaiting<'a>(&'a Shared);

impl Drop for TellWaiting<'_> {
    fn drop(&mut self) {
        for lane in self.0.lanes() {
            lane.synced.send_modify(|state| state.closed = true);
        }
    }
}

/// The second thread.
pub(crate) fn provide_segments(shared: &Shared) {
    loop {
        shared.tick_clock();
        rename_adopted(shared);
        if shared.stopping.load(Ordering::Acquire) {
            shared.pool.discard();
            return;
        }
        shared.pool.set_lanes(lock(&shared.lanes).len());
        if shared.pool.is_short() {
            let is_bound = shared.is_at_its_bound();
            let made = if is_bound { None } else { Some(shared.pool.refill(shared.clock_us())) };
            match made {
                Some(Ok(())) => continue,
                // What everyone has read is kept for those who look back: not instead of what is recorded now.
                _ if remove_oldest_read(shared) => continue,
                Some(Err(error)) => {
                    tracing::error!(%error, directory = %shared.directory.display(), "no new journal segment")
                }
                None => {
                    shared.pool.refuse("the journal has the size that it may have (journal.size_mib_max)")
                }
            }
        }
        for lane in shared.lanes() {
            remove_released(shared, &lane);
        }
        shared.provision_bell.wait(PROVIDE_EVERY);
    }
}

impl Shared {
    /// Whether another segment would go beyond the size that the journal may have.
    fn is_at_its_bound(&self) -> bool {
        let Some(most) = self.bytes_max else { return false };
        let lanes = self.lanes();
        let taken: u64 = lanes.iter().map(|lane| lock(&lane.inner).bytes()).sum();
        let segment = self.pool.segment_bytes() as u64;
        taken + (self.pool.ready() as u64 + 1) * segment > most
    }

    /// Brings everything appended before the call to the disk and wakes those who wait for it.
    pub(crate) fn synchronise(&self) {
        let mut figures = lock(&self.syncing);
        let mut advanced = false;
        for lane in self.lanes() {
            advanced |= synchronise_lane(self, &lane, &mut figures);
        }
        drop(figures);
        if advanced {
            self.appended.send_modify(|count| *count += 1);
        }
    }
}

/// Returns whether anything became durable.
fn synchronise_lane(shared: &Shared, lane: &LaneShared, figures: &mut SyncFigures) -> bool {
    if lane.synced.borrow().failure.is_some() {
        return false;
    }
    let open = lock(&lane.inner).open.clone();
    let mut advanced = false;
    let mut all_closed = true;
    for segment in open {
        let progress = segment.progress();
        if segment.needs_sync(progress) {
            let began = Instant::now();
            if let Err(error) = segment.synchronise(progress) {
                tracing::error!(%error, lane = lane.name, "synchronising the journal failed");
                lane.synced.send_modify(|state| state.failure = Some(error.to_string().into()));
                return advanced;
            }
            let took_us = began.elapsed().as_micros() as u64;
            figures.count += 1;
            figures.total_us += took_us;
            figures.max_us = figures.max_us.max(took_us);
            lane.synced.send_modify(|state| state.next_sequence = progress.next_sequence);
            advanced = true;
        }
        // Strictly oldest first: the last one, open or closed, is where the lane's next sequence is known from.
        all_closed = all_closed && progress.sealed && close(shared, lane, &segment, progress);
    }
    advanced
}

/// Moves a sealed and wholly synchronised segment from the open to the closed ones, unless it does not yet lie in its
/// lane; says whether it did.
fn close(shared: &Shared, lane: &LaneShared, segment: &Arc<Segment>, progress: Progress) -> bool {
    if !segment.renamed.load(Ordering::Acquire) {
        shared.provision_bell.ring();
        return false;
    }
    segment.release_tail();
    let mut inner = lock(&lane.inner);
    inner.open.retain(|open| !Arc::ptr_eq(open, segment));
    inner.closed.push(ClosedSegment {
        first_sequence: segment.first_sequence,
        next_sequence: progress.next_sequence,
        bytes: segment.bytes(),
        quarantined: false,
    });
    true
}

/// Moves segments that lanes have taken into use to where they belong, oldest first.
fn rename_adopted(shared: &Shared) {
    for lane in shared.lanes() {
        let open = lock(&lane.inner).open.clone();
        let fresh = open.iter().filter(|segment| !segment.renamed.load(Ordering::Acquire));
        for segment in fresh {
            let path = segment_path(&shared.directory, &lane.name, segment.first_sequence);
            if let Err(error) = rename(&segment.spare_path, &path, &shared.directory) {
                // Readers and recovery find it where it is; tried again with the next look.
                tracing::warn!(%error, lane = lane.name, "moving a journal segment into its lane failed");
                break;
            }
            segment.renamed.store(true, Ordering::Release);
        }
    }
}

fn rename(source: &Path, target: &Path, directory: &Path) -> std::io::Result<()> {
    std::fs::rename(source, target)?;
    target.parent().map_or(Ok(()), sync_directory)?;
    sync_directory(&spare_directory(directory))
}

/// Removes segments that everyone has read and that are old enough, oldest first.
fn remove_released(shared: &Shared, lane: &LaneShared) {
    for segment in read_by_all(lane) {
        let path = segment_path(&shared.directory, &lane.name, segment.first_sequence);
        let age_us = shared.clock_us().saturating_sub(changed_us(&path));
        if age_us < shared.keep.as_micros() as i64 || !remove(lane, &segment, &path) {
            return;
        }
    }
}

/// Removes the oldest segment of all lanes that everyone has read, however young it is. Whether there was one.
fn remove_oldest_read(shared: &Shared) -> bool {
    let lanes = shared.lanes();
    let oldest = lanes.iter().filter_map(|lane| {
        let segment = read_by_all(lane).into_iter().next()?;
        let path = segment_path(&shared.directory, &lane.name, segment.first_sequence);
        Some((changed_us(&path), lane, segment, path))
    });
    let oldest = oldest.min_by_key(|(changed_us, ..)| *changed_us);
    oldest.is_some_and(|(_, lane, segment, path)| remove(lane, &segment, &path))
}

/// Segments of a lane that everyone has read and that may go, oldest first.
fn read_by_all(lane: &LaneShared) -> Vec<ClosedSegment> {
    let released = lane.released.load(Ordering::Relaxed);
    let inner = lock(&lane.inner);
    // The newest segment stays: it is where the lane's next sequence is known from.
    let spared = usize::from(inner.open.is_empty());
    let closed = inner.closed[..inner.closed.len().saturating_sub(spared)].iter();
    let read = closed.take_while(|segment| segment.next_sequence <= released);
    read.filter(|segment| !segment.quarantined).cloned().collect()
}

/// Whether it is gone.
fn remove(lane: &LaneShared, segment: &ClosedSegment, path: &Path) -> bool {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "removing a journal segment failed");
        return false;
    }
    lock(&lane.inner).closed.retain(|closed| closed.first_sequence != segment.first_sequence);
    true
}

/// When a file was last changed, µs since 1970; long ago if it is gone.
fn changed_us(path: &Path) -> i64 {
    let changed = std::fs::metadata(path).and_then(|metadata| metadata.modified());
    let since = changed.ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_micros() as i64)
}
