//! The claim that makes an event count once, for ever: 128 bits of SHA-256 over whose it is, who sent it and its
//! id. Each part is preceded by its length, so no two different identities have the same bytes before hashing.

use std::fmt;

use sha2::{Digest, Sha256};

/// The identity of an event in 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Claim(pub [u8; 16]);

impl Claim {
    /// The claim of event `id` from `source`, of `tenant` (its id, in any one fixed form).
    pub fn of(tenant: &[u8], source: &str, id: &str) -> Self {
        let digest = digest(&[tenant, source.as_bytes(), id.as_bytes()]);
        let (head, _) = digest.split_first_chunk::<16>().expect("SHA-256 has 32 bytes");
        Claim(*head)
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// SHA-256 over parts, each preceded by its length as eight bytes, most significant first.
pub(super) fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
