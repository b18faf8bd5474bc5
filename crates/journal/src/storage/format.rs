//! The bytes of a segment: a header of 256 bytes, then frames.
//!
//! ```text
//! header   0 magic "ROWHJRNL" · 8 version u16 · 10 header bytes u16 · 12 crc32c of bytes 16..128
//!         16 boot u64 · 24 first sequence u64 · 32 created at, µs since 1970, i64 · 40 segment bytes u64
//!         48 node: u8 length and 39 bytes · 88 lane: u8 length and 39 bytes
//!        128 words that change (see `Word`), u64 each · zeros to 256
//! frame    0 length u32 (of the frame without padding; stored last) · 4 crc32c u32 · 8 sequence u64
//!         16 class u8 · 17 kind u8 · 18 payload · zeros to a multiple of 8
//! ```
//!
//! The checksum covers a frame from byte 8 to its end. It starts from `frame_seed(lane, first sequence) ^ length`, so
//! that a frame is valid only with its length, and only in the segment it was written for.

/// Version of the segment format that this build writes.
pub const FORMAT_VERSION: u16 = 1;
/// Smallest segment that can be asked for; one record always fits.
pub const SEGMENT_BYTES_MIN: usize = 64 * 1024;
/// Largest segment that can be asked for.
pub const SEGMENT_BYTES_MAX: usize = 1024 * 1024 * 1024;

pub(crate) const MAGIC: [u8; 8] = *b"ROWHJRNL";
pub(crate) const HEADER_BYTES: usize = 256;
pub(crate) const HEADER_FIXED_BYTES: usize = 128;
pub(crate) const FRAME_HEADER_BYTES: usize = 18;
/// Longest node or lane name.
pub(crate) const NAME_BYTES_MAX: usize = 39;

/// The size of a frame with its padding.
#[inline]
pub(crate) const fn padded(frame_bytes: usize) -> usize {
    (frame_bytes + 7) & !7
}

/// What the checksums of a segment's frames start from.
pub(crate) fn frame_seed(lane: &str, first_sequence: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(lane.as_bytes()), &first_sequence.to_le_bytes())
}

/// The part of a header that never changes once the segment belongs to a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) boot: u64,
    pub(crate) first_sequence: u64,
    pub(crate) created_at_us: i64,
    pub(crate) segment_bytes: u64,
    pub(crate) node: String,
    pub(crate) lane: String,
}

/// Why bytes are not a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeaderError {
    #[error("it does not begin like a journal segment")]
    Magic,
    #[error("it is of format version {found}; this build reads {FORMAT_VERSION}")]
    Version { found: u16 },
    #[error("the checksum of its header is wrong")]
    Checksum,
    #[error("a name in its header is not text")]
    Name,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_FIXED_BYTES] {
        let mut bytes = [0; HEADER_FIXED_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[10..12].copy_from_slice(&(HEADER_BYTES as u16).to_le_bytes());
        bytes[16..24].copy_from_slice(&self.boot.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first_sequence.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.created_at_us.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.segment_bytes.to_le_bytes());
        put_name(&mut bytes[48..88], &self.node);
        put_name(&mut bytes[88..128], &self.lane);
        let checksum = crc32c::crc32c(&bytes[16..]);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; HEADER_FIXED_BYTES]) -> Result<Self, HeaderError> {
        if bytes[..8] != MAGIC {
            return Err(HeaderError::Magic);
        }
        let found = u16::from_le_bytes([bytes[8], bytes[9]]);
        if found != FORMAT_VERSION {
            return Err(HeaderError::Version { found });
        }
        if crc32c::crc32c(&bytes[16..]).to_le_bytes() != bytes[12..16] {
            return Err(HeaderError::Checksum);
        }
        Ok(Self {
            boot: number(bytes, 16),
            first_sequence: number(bytes, 24),
            created_at_us: number(bytes, 32).cast_signed(),
            segment_bytes: number(bytes, 40),
            node: name(&bytes[48..88])?,
            lane: name(&bytes[88..128])?,
        })
    }
}

fn number(bytes: &[u8; HEADER_FIXED_BYTES], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("a range of eight bytes"))
}

fn put_name(field: &mut [u8], name: &str) {
    assert!(name.len() <= NAME_BYTES_MAX, "names are checked where they come in");
    field[0] = name.len() as u8;
    field[1..=name.len()].copy_from_slice(name.as_bytes());
}

fn name(field: &[u8]) -> Result<String, HeaderError> {
    let bytes = field[1..].get(..usize::from(field[0])).ok_or(HeaderError::Name)?;
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| HeaderError::Name)
}
