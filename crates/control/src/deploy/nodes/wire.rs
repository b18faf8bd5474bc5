//! What goes over the connection. Messages of the directory are JSON, packed (zstd) and with their length in front, so that
//! the same bytes can lie in a file; batches of the journal are the journal's own bytes.

use rowhouse_domain::directory::Change;
use rowhouse_journal::{Batch, BatchError, Class, Gap, GapCause, Kind};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Raised when a reader of the one before would misread what is told.
pub const FORMAT: u32 = 2;
/// Bytes of one message, packed or not.
pub const MESSAGE_MAX: usize = 256 * 1024 * 1024;
/// Frames and bytes of one batch of the journal; one frame may go beyond the bytes.
pub const BATCH_FRAMES: usize = 4096;
/// See [`BATCH_FRAMES`].
pub const BATCH_BYTES: usize = 1024 * 1024;
/// Bytes of what a node tells of upstreams.
pub const SEEN_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of a body of the door, beyond which nobody reads.
pub const BODY_MAX: usize = 64 * 1024 * 1024;

/// The first words of a node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// Who it wants to be.
    pub name: String,
    /// The secret half of the token, in hexadecimal.
    pub secret: String,
    /// The public half of the key that it signs contexts with, in hexadecimal.
    pub context_key: String,
}

/// How a node follows the directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Follow {
    /// [`FORMAT`].
    pub format: u32,
    /// Number of this start of the node.
    pub boot: u64,
    /// Which process of the node it is.
    pub process: Uuid,
    /// Its release.
    pub release: String,
    /// Which life of the control plane the version is of.
    #[serde(default)]
    pub life: Option<Uuid>,
    /// The version that it has.
    #[serde(default)]
    pub version: Option<u64>,
}

/// What stands beside the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The node's name.
    pub node: String,
    /// Which life of the control plane the versions that follow are of; those of another one are told apart by nothing else.
    pub life: Uuid,
    /// Peppers of API keys: number and 64 hexadecimal digits.
    pub peppers: Vec<(u32, String)>,
    /// Where refusals link to.
    pub docs_url: String,
}

/// One message of the stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// The first one.
    Welcome(Welcome),
    /// A change, or a part of one.
    Change(Box<Change>),
    /// What was told is all there is.
    Beat {
        /// The version in force.
        version: u64,
    },
    /// Whether it is to take requests; told first of all, and whenever it changes.
    Drain {
        /// That it is not: the number of the asking.
        drain: Option<i64>,
    },
    /// The node is revoked: it must forget what it was told.
    Revoked,
}

/// A message cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Longer than any is.
    #[error("a message of {0} bytes")]
    TooLong(usize),
    /// It does not unpack.
    #[error("a message that does not unpack")]
    Packed(#[source] std::io::Error),
    /// It is none that this release knows.
    #[error("a message that this release does not know")]
    Unknown(#[source] serde_json::Error),
    /// A batch whose bytes do not fit each other.
    #[error("a batch of the journal that is not well-formed")]
    Batch,
    /// A batch whose frames are not in order.
    #[error(transparent)]
    Order(#[from] BatchError),
}

impl Message {
    /// Its bytes, without a length.
    pub fn pack(&self) -> Vec<u8> {
        let json = serde_json::to_vec(self).expect("messages are text and numbers");
        zstd::bulk::compress(&json, 1).expect("memory takes it")
    }

    /// Reads what [`pack`](Self::pack) wrote.
    ///
    /// # Errors
    /// If it is no message.
    pub fn unpack(bytes: &[u8]) -> Result<Message, WireError> {
        let json = zstd::stream::decode_all(bytes).map_err(WireError::Packed)?;
        serde_json::from_slice(&json).map_err(WireError::Unknown)
    }
}

/// Word of a node that it takes no requests, and that all it recorded has arrived.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drained {
    /// The number of the asking.
    pub drain: i64,
}

/// What a node sends of a lane.
#[derive(Debug, Clone, Default)]
pub struct Shipment {
    /// Where the batch begins: the position that it follows; 0 before the first of a lane.
    pub from: u64,
    /// The frames; there may be none.
    pub batch: Batch,
    /// The sequence that the lane's next frame will have, as the node knows it.
    pub end: u64,
    /// With this batch everything is told that was recorded by this instant, µs since 1970.
    pub complete_to_us: Option<i64>,
}

/// Where the control plane stands on a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The sequence to go on with; 0: nothing was ever taken.
    pub next: u64,
}

const HEAD: usize = 8 * 6 + 1;
const FRAME_HEAD: usize = 8 + 1 + 1 + 4;

impl Shipment {
    /// Little-endian: from, end, complete to (or the least `i64`), next, gap (cause, first, end), frames.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD + self.batch.bytes() + self.batch.len() * FRAME_HEAD);
        out.extend_from_slice(&self.from.to_le_bytes());
        out.extend_from_slice(&self.end.to_le_bytes());
        out.extend_from_slice(&self.complete_to_us.unwrap_or(i64::MIN).to_le_bytes());
        out.extend_from_slice(&self.batch.next_sequence.to_le_bytes());
        let (cause, missing) = match &self.batch.gap {
            None => (0, 0..0),
            Some(Gap { missing, cause: GapCause::Removed }) => (1, missing.clone()),
            Some(Gap { missing, cause: GapCause::Damaged }) => (2, missing.clone()),
        };
        out.push(cause);
        out.extend_from_slice(&missing.start.to_le_bytes());
        out.extend_from_slice(&missing.end.to_le_bytes());
        for frame in self.batch.frames() {
            out.extend_from_slice(&frame.sequence.to_le_bytes());
            out.push(frame.class as u8);
            out.push(frame.kind.number());
            out.extend_from_slice(&(frame.payload.len() as u32).to_le_bytes());
            out.extend_from_slice(frame.payload);
        }
        out
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// If the bytes do not fit each other, or the frames are not in order.
    pub fn decode(bytes: &[u8]) -> Result<Shipment, WireError> {
        let mut rest = Bytes(bytes);
        let (from, end, complete, next) = (rest.u64()?, rest.u64()?, rest.u64()? as i64, rest.u64()?);
        let cause = rest.take(1)?[0];
        let missing = rest.u64()?..rest.u64()?;
        let gap = match cause {
            0 => None,
            1 => Some(Gap { missing, cause: GapCause::Removed }),
            2 => Some(Gap { missing, cause: GapCause::Damaged }),
            _ => return Err(WireError::Batch),
        };
        let mut batch = Batch::default();
        (batch.gap, batch.next_sequence) = (gap, next);
        while !rest.0.is_empty() {
            let sequence = rest.u64()?;
            let class = match rest.take(1)?[0] {
                1 => Class::R,
                2 => Class::S,
                _ => return Err(WireError::Batch),
            };
            let kind = Kind::from_number(rest.take(1)?[0]);
            let length = u32::from_le_bytes(rest.take(4)?.try_into().expect("four bytes are four"));
            batch.append(sequence, class, kind, rest.take(length as usize)?)?;
        }
        batch.check(from)?;
        let complete_to_us = Some(complete).filter(|at| *at != i64::MIN);
        Ok(Shipment { from, batch, end, complete_to_us })
    }
}

struct Bytes<'b>(&'b [u8]);

impl<'b> Bytes<'b> {
    fn take(&mut self, count: usize) -> Result<&'b [u8], WireError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(WireError::Batch)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u64(&mut self) -> Result<u64, WireError> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().expect("eight bytes are eight")))
    }
}

/// The text of an enrolment token: `rhn_`, then the secret half and the control plane's public key in hexadecimal.
pub struct TokenText {
    /// Known to the control plane by its digest.
    pub secret: [u8; 32],
    /// Whom to enrol with.
    pub door: [u8; 32],
}

/// What it begins with.
const TOKEN_PREFIX: &str = "rhn_";

impl TokenText {
    /// As it is shown, once.
    pub fn write(&self) -> String {
        format!("{TOKEN_PREFIX}{}{}", hex(&self.secret), hex(&self.door))
    }

    /// Reads it.
    pub fn parse(text: &str) -> Option<TokenText> {
        let digits = text.trim().strip_prefix(TOKEN_PREFIX).filter(|digits| digits.len() == 128)?;
        let (secret, door) = digits.split_at_checked(64)?;
        Some(TokenText { secret: unhex(secret)?, door: unhex(door)? })
    }
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 32 bytes from 64 hexadecimal digits.
pub fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits = (text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(text)?;
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// Whether a node can be called so.
pub fn is_node_name(name: &str) -> bool {
    (1..=39).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}
