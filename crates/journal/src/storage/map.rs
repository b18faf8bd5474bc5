//! The memory map of one segment: the only unsafe code of the journal.
//!
//! The map is shared (`MAP_SHARED`), so what is stored through it is in the page cache and survives `kill -9`.
//!
//! **The discipline that makes it sound.** A segment has at most one [`MapWriter`], which is not `Clone` and holds the
//! offset up to which frames are published. Bytes at or after that offset are touched only by it, except the length
//! word of the next frame, which everyone reaches atomically. Bytes before it are never written again. A reader learns
//! of a frame only by an acquire load of its length word, which the writer stores last, with release; so a slice is
//! only ever made of bytes that no one will change. The words of the header are only reached atomically.
//!
//! Across processes the same holds as long as all of them are this program and the file is not cut short while it is
//! mapped: the journal never shortens a segment (it gives disk space back by punching holes behind the end).
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};

use super::format::{FRAME_HEADER_BYTES, HEADER_BYTES, HEADER_FIXED_BYTES, padded};

/// The words of the header that change, by their offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Word {
    /// 0: a spare without a lane; 1: the fixed part of the header is set.
    State = 128,
    /// Offset behind the last frame, once there will be no more; 0 before.
    SealedEnd = 136,
    /// Offset up to which everything has been synchronised to the disk.
    SyncedEnd = 144,
    /// Sequence of the frame at `SyncedEnd`.
    SyncedNext = 152,
    /// Appends that failed and are not yet in a `dropped` frame.
    DroppedCount = 160,
    DroppedReason = 168,
    /// The sequence at which that `dropped` frame will stand; if a frame stands there, it has been written.
    DroppedAt = 184,
    /// Checks `SealedEnd` and `SyncedNext` against each other; see `Seal`.
    SealCheck = 192,
    /// First bad byte found by recovery, if the segment is quarantined; 0 otherwise.
    QuarantinedAt = 176,
}

/// The end of a segment that is over and wholly on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seal {
    /// Offset behind the last frame.
    pub(crate) end: usize,
    /// The sequence at which the lane goes on. In a quarantined segment it may lie behind the last readable frame.
    pub(crate) next_sequence: u64,
}

impl Seal {
    fn check(self) -> u64 {
        let checksum = crc32c::crc32c(&(self.end as u64).to_le_bytes());
        u64::from(crc32c::crc32c_append(checksum, &self.next_sequence.to_le_bytes())) | 1 << 32
    }
}

/// A segment's file, mapped whole.
pub(crate) struct Mapping {
    raw: MmapRaw,
    writable: bool,
}

/// What stands at an offset where a frame may begin.
pub(crate) enum Published<'a> {
    /// Length zero: nothing has been published here.
    Nothing,
    /// A frame without its padding; its checksum has not been looked at.
    Frame(&'a [u8]),
    /// A length that cannot be.
    BadLength,
}

impl Mapping {
    /// Maps `file` whole for reading and writing.
    pub(crate) fn writable(file: &File) -> io::Result<Self> {
        Self::checked(MmapOptions::new().map_raw(file)?, true)
    }

    /// Maps `file` whole for reading; storing to it panics.
    pub(crate) fn read_only(file: &File) -> io::Result<Self> {
        Self::checked(MmapOptions::new().map_raw_read_only(file)?, false)
    }

    fn checked(raw: MmapRaw, writable: bool) -> io::Result<Self> {
        if raw.len() < HEADER_BYTES {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "shorter than a segment's header"));
        }
        Ok(Self { raw, writable })
    }

    pub(crate) fn len(&self) -> usize {
        self.raw.len()
    }

    #[inline]
    fn word(&self, word: Word) -> &AtomicU64 {
        // SAFETY: every `Word` is a multiple of 8 below HEADER_BYTES, the map is at least that long, page-aligned and
        // lives as long as `self`; all access to these bytes goes through this function, so it is always atomic.
        unsafe { AtomicU64::from_ptr(self.raw.as_mut_ptr().add(word as usize).cast()) }
    }

    #[inline]
    pub(crate) fn load(&self, word: Word) -> u64 {
        u64::from_le(self.word(word).load(Ordering::Acquire))
    }

    #[inline]
    pub(crate) fn store(&self, word: Word, value: u64) {
        assert!(self.writable, "a segment mapped for reading is not stored to");
        self.word(word).store(value.to_le(), Ordering::Release);
    }

    /// Notes that the segment is over and wholly on the disk.
    pub(crate) fn set_seal(&self, seal: Seal) {
        self.store(Word::SealedEnd, seal.end as u64);
        self.store(Word::SyncedNext, seal.next_sequence);
        self.store(Word::SyncedEnd, seal.end as u64);
        self.store(Word::SealCheck, seal.check());
    }

    /// The seal, if there is one and it is right.
    pub(crate) fn seal(&self) -> Option<Seal> {
        let check = self.load(Word::SealCheck);
        let seal =
            Seal { end: self.load(Word::SealedEnd) as usize, next_sequence: self.load(Word::SyncedNext) };
        (check == seal.check() && self.load(Word::SyncedEnd) == seal.end as u64).then_some(seal)
    }

    /// The fixed part of the header, if the segment belongs to a lane.
    pub(crate) fn header(&self) -> Option<[u8; HEADER_FIXED_BYTES]> {
        if self.load(Word::State) != 1 {
            return None;
        }
        let mut bytes = [0; HEADER_FIXED_BYTES];
        // SAFETY: in bounds (see `checked`); the state was loaded with acquire and is stored with release after the
        // last write of these bytes, so no one writes them now.
        unsafe { std::ptr::copy_nonoverlapping(self.raw.as_ptr(), bytes.as_mut_ptr(), bytes.len()) };
        Some(bytes)
    }

    /// What stands at `offset`, a multiple of 8, in a segment whose frames end by `limit`.
    #[inline]
    pub(crate) fn published(&self, offset: usize, limit: usize) -> Published<'_> {
        debug_assert!(offset.is_multiple_of(8) && offset >= HEADER_BYTES && limit <= self.len());
        if offset + 4 > limit {
            return Published::Nothing;
        }
        // SAFETY: in bounds by the check above, aligned because the map is page-aligned and `offset` a multiple of 8;
        // length words are only accessed atomically while a writer may still store to them.
        let length =
            unsafe { AtomicU32::from_ptr(self.raw.as_mut_ptr().add(offset).cast()) }.load(Ordering::Acquire);
        let length = u32::from_le(length) as usize;
        if length == 0 {
            return Published::Nothing;
        }
        if length < FRAME_HEADER_BYTES || length > limit - offset {
            return Published::BadLength;
        }
        // SAFETY: in bounds by the check above. The length word was loaded with acquire and is not zero, so the writer
        // published these bytes and never writes them again (the module's discipline); readers never write.
        Published::Frame(unsafe { std::slice::from_raw_parts(self.raw.as_ptr().add(offset), length) })
    }
}

/// The one writer of a mapped segment.
pub(crate) struct MapWriter {
    mapping: Arc<Mapping>,
    /// Where the next frame begins; a multiple of 8.
    offset: usize,
}

impl MapWriter {
    /// Takes a spare into use: writes the fixed header and publishes it.
    ///
    /// # Panics
    /// If the mapping already belongs to a lane: there would be two writers.
    pub(crate) fn adopt(mapping: Arc<Mapping>, header: &[u8; HEADER_FIXED_BYTES]) -> Self {
        assert!(mapping.writable, "a spare is mapped for writing");
        let first =
            mapping.word(Word::State).compare_exchange(0, 2u64.to_le(), Ordering::AcqRel, Ordering::Acquire);
        assert!(first.is_ok(), "a spare is taken into use once");
        // SAFETY: in bounds (see `checked`); the exchange above lets one caller through per segment, and readers look
        // at these bytes only once the state is 1, which is stored below with release.
        unsafe { std::ptr::copy_nonoverlapping(header.as_ptr(), mapping.raw.as_mut_ptr(), header.len()) };
        mapping.store(Word::State, 1);
        Self { mapping, offset: HEADER_BYTES }
    }

    #[inline]
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    /// Whether a frame of `frame_bytes` fits, with a zero length behind it.
    #[inline]
    pub(crate) fn fits(&self, frame_bytes: usize) -> bool {
        self.offset + padded(frame_bytes) + 8 <= self.mapping.len()
    }

    /// The bytes of the next frame behind its length word: checksum, sequence, class, kind, payload.
    ///
    /// # Panics
    /// If the frame does not fit.
    #[inline]
    pub(crate) fn unpublished(&mut self, frame_bytes: usize) -> &mut [u8] {
        assert!(frame_bytes >= FRAME_HEADER_BYTES && self.fits(frame_bytes), "the caller made room");
        // SAFETY: in bounds by the assertion. These bytes lie behind the published end, where only this writer
        // reaches, and it is borrowed mutably; the length word at `offset`, which readers poll, is left out.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.mapping.raw.as_mut_ptr().add(self.offset + 4),
                frame_bytes - 4,
            )
        }
    }

    /// Publishes the frame that [`unpublished`](Self::unpublished) prepared.
    ///
    /// # Panics
    /// If the frame does not fit.
    #[inline]
    pub(crate) fn publish(&mut self, frame_bytes: usize) {
        assert!(frame_bytes >= FRAME_HEADER_BYTES && self.fits(frame_bytes), "the caller made room");
        let next = self.offset + padded(frame_bytes);
        // SAFETY: `fits` leaves eight bytes behind the frame; both offsets are multiples of 8 in a page-aligned map;
        // length words are only reached atomically.
        let (this, following) = unsafe {
            let start = self.mapping.raw.as_mut_ptr();
            (AtomicU32::from_ptr(start.add(self.offset).cast()), AtomicU32::from_ptr(start.add(next).cast()))
        };
        // What an abandoned longer frame may have left here must not look like a length.
        following.store(0, Ordering::Relaxed);
        this.store((frame_bytes as u32).to_le(), Ordering::Release);
        self.offset = next;
    }
}
