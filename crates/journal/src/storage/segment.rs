//! A segment in use: what its writer, the synchronising thread and status share of it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::FallocateFlags;

use super::format::{FRAME_HEADER_BYTES, HEADER_BYTES, Header, frame_seed, padded};
use super::map::{MapWriter, Mapping, Seal, Word};
use crate::{Class, Dropped, Kind};

/// A segment that no lane has taken yet: allocated, zero, mapped.
pub(crate) struct Spare {
    pub(crate) path: PathBuf,
    file: File,
    mapping: Arc<Mapping>,
    created_at_us: i64,
}

impl Spare {
    /// Allocates a segment at `path`. Its blocks are only reserved: writing zeros beforehand was tried and halved what
    /// a lane can take for as long as the disk is the limit.
    pub(crate) fn create(path: PathBuf, bytes: usize, created_at_us: i64) -> io::Result<Self> {
        let made = Self::allocate(&path, bytes, created_at_us);
        if made.is_err() {
            // A half-made file would take the space that is missing; the error that matters is the first one.
            let _ = std::fs::remove_file(&path);
        }
        made
    }

    fn allocate(path: &Path, bytes: usize, created_at_us: i64) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes as u64) {
            Ok(()) => {}
            // A file system without preallocation: writing zeros is the only way to own the space.
            Err(rustix::io::Errno::OPNOTSUPP) => write_zeros(&file, bytes)?,
            Err(error) => return Err(error.into()),
        }
        file.sync_all()?;
        let mapping = Arc::new(Mapping::writable(&file)?);
        Ok(Self { path: path.to_owned(), file, mapping, created_at_us })
    }

    /// Gives the spare to a lane.
    pub(crate) fn adopt(
        self,
        node: &str,
        lane: &str,
        boot: u64,
        first_sequence: u64,
    ) -> (Arc<Segment>, SegmentWriter) {
        let header = Header {
            boot,
            first_sequence,
            created_at_us: self.created_at_us,
            segment_bytes: self.mapping.len() as u64,
            node: node.to_owned(),
            lane: lane.to_owned(),
        };
        let map = MapWriter::adopt(self.mapping.clone(), &header.encode());
        let segment = Arc::new(Segment {
            file: self.file,
            mapping: self.mapping,
            first_sequence,
            spare_path: self.path,
            progress: AtomicU64::new(pack(HEADER_BYTES, 0)),
            sealed: AtomicBool::new(false),
            seal_synced: AtomicBool::new(false),
            renamed: AtomicBool::new(false),
        });
        let writer = SegmentWriter {
            map,
            segment: segment.clone(),
            seed: frame_seed(lane, first_sequence),
            frames: 0,
        };
        (segment, writer)
    }
}

fn write_zeros(file: &File, bytes: usize) -> io::Result<()> {
    const CHUNK: usize = 1024 * 1024;
    let zeros = vec![0; CHUNK.min(bytes)];
    let mut at = 0;
    while at < bytes {
        let length = zeros.len().min(bytes - at);
        file.write_all_at(&zeros[..length], at as u64)?;
        at += length;
    }
    Ok(())
}

/// A segment that belongs to a lane of this process.
pub(crate) struct Segment {
    file: File,
    mapping: Arc<Mapping>,
    pub(crate) first_sequence: u64,
    /// Where the file lies until it has been renamed into its lane.
    pub(crate) spare_path: PathBuf,
    /// End offset and number of frames in one word, so that they always belong together.
    progress: AtomicU64,
    sealed: AtomicBool,
    /// The seal is on the disk.
    seal_synced: AtomicBool,
    /// The file lies in its lane's directory.
    pub(crate) renamed: AtomicBool,
}

/// Up to where a segment is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) end: usize,
    pub(crate) next_sequence: u64,
    pub(crate) sealed: bool,
}

fn pack(end: usize, frames: u32) -> u64 {
    (u64::from(frames) << 32) | (end as u64 / 8)
}

impl Segment {
    pub(crate) fn progress(&self) -> Progress {
        // Sealed first: once it is set, the progress read afterwards is final.
        let sealed = self.sealed.load(Ordering::Acquire);
        let packed = self.progress.load(Ordering::Acquire);
        Progress {
            end: (packed as u32 as usize) * 8,
            next_sequence: self.first_sequence + (packed >> 32),
            sealed,
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.mapping.len() as u64
    }

    /// Whether the disk lacks anything of what `upto` stands for.
    pub(crate) fn needs_sync(&self, upto: Progress) -> bool {
        upto.end as u64 != self.mapping.load(Word::SyncedEnd).max(HEADER_BYTES as u64)
            || upto.sealed && !self.seal_synced.load(Ordering::Acquire)
    }

    /// Brings everything up to the progress taken before the call to the disk and notes it in the header. Of a sealed
    /// segment the note is brought to the disk too: recovery takes such a segment as whole.
    pub(crate) fn synchronise(&self, upto: Progress) -> io::Result<()> {
        rustix::fs::fdatasync(&self.file)?;
        if upto.sealed {
            self.mapping.set_seal(Seal { end: upto.end, next_sequence: upto.next_sequence });
            rustix::fs::fdatasync(&self.file)?;
            self.seal_synced.store(true, Ordering::Release);
        } else {
            self.mapping.store(Word::SyncedNext, upto.next_sequence);
            self.mapping.store(Word::SyncedEnd, upto.end as u64);
        }
        Ok(())
    }

    /// Gives the disk space behind the end of a sealed segment back. The file keeps its size, because it is mapped.
    pub(crate) fn release_tail(&self) {
        release_tail(&self.file, self.progress().end, self.mapping.len());
    }
}

/// Punches a hole from the page behind `end` to `bytes`; where that is not supported, the space stays taken.
pub(crate) fn release_tail(file: &File, end: usize, bytes: usize) {
    let start = (end + 8).next_multiple_of(4096);
    if start < bytes {
        let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let _ = rustix::fs::fallocate(file, mode, start as u64, (bytes - start) as u64);
    }
}

/// The one writer of a segment.
pub(crate) struct SegmentWriter {
    map: MapWriter,
    segment: Arc<Segment>,
    seed: u32,
    frames: u32,
}

impl SegmentWriter {
    pub(crate) fn next_sequence(&self) -> u64 {
        self.segment.first_sequence + u64::from(self.frames)
    }

    #[inline]
    pub(crate) fn fits(&self, payload_len: usize) -> bool {
        self.map.fits(FRAME_HEADER_BYTES + payload_len)
    }

    /// Appends one frame and returns its sequence. `fill` must write the whole payload: what it leaves is what lay
    /// there, usually zeros.
    ///
    /// # Panics
    /// If the frame does not fit, or if `fill` panics; then nothing has been appended.
    #[inline]
    pub(crate) fn append(
        &mut self,
        class: Class,
        kind: Kind,
        payload_len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> u64 {
        let frame_bytes = FRAME_HEADER_BYTES + payload_len;
        let sequence = self.next_sequence();
        // Behind the length word: checksum at 0, sequence at 4, class at 12, kind at 13, payload at 14.
        let bytes = self.map.unpublished(frame_bytes);
        bytes[4..12].copy_from_slice(&sequence.to_le_bytes());
        bytes[12] = class as u8;
        bytes[13] = kind.number();
        fill(&mut bytes[14..]);
        let checksum = crc32c::crc32c_append(self.seed ^ frame_bytes as u32, &bytes[4..]);
        bytes[..4].copy_from_slice(&checksum.to_le_bytes());
        self.map.publish(frame_bytes);
        self.frames += 1;
        self.segment.progress.store(pack(self.map.offset(), self.frames), Ordering::Release);
        sequence
    }

    /// Says that nothing more will come; once that is synchronised, readers go on to the next segment.
    pub(crate) fn seal(&self) {
        self.segment.sealed.store(true, Ordering::Release);
    }

    /// Keeps the count of failed appends where it survives `kill -9` although no frame can be written: the next frame
    /// of the lane will be the `dropped` frame.
    pub(crate) fn note_dropped(&self, dropped: Dropped) {
        self.segment.mapping.store(Word::DroppedCount, dropped.count);
        self.segment.mapping.store(Word::DroppedReason, dropped.reason as u64);
        self.segment.mapping.store(Word::DroppedAt, self.next_sequence());
    }
}

/// Most bytes of payload that a frame in a segment of `segment_bytes` can have.
pub(crate) fn payload_bytes_max(segment_bytes: usize) -> usize {
    // Half a segment: a frame that just does not fit wastes at most half of one.
    (segment_bytes - HEADER_BYTES) / 2 - padded(FRAME_HEADER_BYTES) - 8
}
