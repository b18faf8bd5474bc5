//! Files that hold what is a tenant's: compressed, sealed in chunks under a key derived from the tenant's, written whole or
//! not at all.
//!
//! ```text
//! "RHSEAL1\n" · kind · tenant · id            in clear, and bound to every chunk
//! length · flags · section name · nonce · sealed(zstd(up to 1 MiB)) · tag
//! …
//! the last chunk says that it is the last
//! ```
//!
//! AES-256-GCM-SIV (RFC 8452). Additional data of a chunk: tenant, id, kind, section (which names the version of the
//! tables), the chunk's number, whether it is the last; each with its length before it. So a chunk that was altered,
//! left out, put elsewhere or taken from another tenant's file does not open, and is named.

mod reader;
mod writer;

use rowhouse_domain::id::TenantId;
use uuid::Uuid;

pub use reader::{Chunk, Reader, SealedError};
pub use writer::{Writer, Written};

/// Plain bytes of a chunk, at most. Reading and writing need a few times this, however long the file is.
pub const CHUNK: usize = 1024 * 1024;
const MAGIC: &[u8; 8] = b"RHSEAL1\n";
const NONCE: usize = 12;
const LAST: u8 = 1;
/// Longest name of a section.
const SECTION_MAX: usize = 400;

/// What a file is and whose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Whose.
    pub tenant: TenantId,
    /// Its id.
    pub id: Uuid,
    /// As in `snapshot`.
    pub kind: &'static str,
}

impl Names {
    fn header(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(u8::try_from(self.kind.len()).expect("kinds are words"));
        bytes.extend_from_slice(self.kind.as_bytes());
        bytes.extend_from_slice(self.tenant.0.as_bytes());
        bytes.extend_from_slice(self.id.as_bytes());
        bytes
    }

    fn additional(&self, section: &str, number: u64, flags: u8) -> Vec<u8> {
        let (number, flags) = (number.to_be_bytes(), [flags]);
        let parts: [&[u8]; 6] = [
            self.tenant.0.as_bytes(),
            self.id.as_bytes(),
            self.kind.as_bytes(),
            section.as_bytes(),
            &number,
            &flags,
        ];
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }
}

#[cfg(test)]
mod tests;
