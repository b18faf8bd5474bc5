//! Sealing what must not lie in clear in the control database: AES-256-GCM-SIV (RFC 8452), under a key derived from the
//! installation's master key. A repeated nonce would tell equal plaintexts apart and nothing more.
//!
//! Sealed is: 12 bytes of random nonce, then the ciphertext with its tag. What it is and whose is additional data, so that
//! one sealed value cannot be put in the place of another.

use aes_gcm_siv::aead::{Aead, Payload};
use aes_gcm_siv::{Aes256GcmSiv, Nonce};
use hmac::{Hmac, KeyInit, Mac};
use rowhouse_domain::entropy::Entropy;
use sha2::Sha256;

const NONCE_LENGTH: usize = 12;

/// A value that was not sealed with this key, for this purpose, as this thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sealed value does not open: it belongs to something else, or the master key is another")]
pub struct SealBroken;

/// Seals and opens for one purpose.
pub struct Seal(Aes256GcmSiv);

impl Seal {
    /// For `purpose`, as in `tenancy/context_key/v1`. Different purposes have unrelated keys.
    pub fn new(master: &[u8; 32], purpose: &str) -> Self {
        let mut mac =
            <Hmac<Sha256> as KeyInit>::new_from_slice(master).expect("HMAC takes keys of any length");
        mac.update(purpose.as_bytes());
        Seal(Aes256GcmSiv::new(&mac.finalize().into_bytes()))
    }

    /// Seals `plain` as the thing that `names` name.
    pub fn seal(&self, entropy: &Entropy, names: &[&str], plain: &[u8]) -> Vec<u8> {
        let nonce = entropy.bytes::<NONCE_LENGTH>();
        let payload = Payload { msg: plain, aad: &additional(names) };
        let sealed = self.0.encrypt(&Nonce::from(nonce), payload).expect("far below the limit of 64 GiB");
        [nonce.as_slice(), &sealed].concat()
    }

    /// Opens what was sealed as the same thing.
    ///
    /// # Errors
    /// If a bit of it, of the names or of the key is another.
    pub fn open(&self, names: &[&str], sealed: &[u8]) -> Result<Vec<u8>, SealBroken> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LENGTH>().ok_or(SealBroken)?;
        let payload = Payload { msg: sealed, aad: &additional(names) };
        self.0.decrypt(&Nonce::from(*nonce), payload).map_err(|_| SealBroken)
    }
}

/// Each name with its length before it, so that no two lists are one text.
fn additional(names: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for name in names {
        bytes.extend_from_slice(&(name.len() as u64).to_be_bytes());
        bytes.extend_from_slice(name.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entropy() -> Entropy {
        Entropy::new(|out| getrandom::fill(out).expect("the system has randomness"))
    }

    #[test]
    fn only_the_same_thing_under_the_same_key_opens() {
        let seal = Seal::new(&[1; 32], "purpose/v1");
        let sealed = seal.seal(&entropy(), &["cell", "database"], b"secret");
        assert_eq!(seal.open(&["cell", "database"], &sealed).as_deref(), Ok(b"secret".as_slice()));
        assert_eq!(seal.open(&["cell", "databas", "e"], &sealed), Err(SealBroken));
        assert_eq!(seal.open(&["celldatabase"], &sealed), Err(SealBroken));
        for other in [Seal::new(&[2; 32], "purpose/v1"), Seal::new(&[1; 32], "purpose/v2")] {
            assert_eq!(other.open(&["cell", "database"], &sealed), Err(SealBroken));
        }
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(seal.open(&["cell", "database"], &altered), Err(SealBroken), "altered at {at}");
        }
        assert_eq!(seal.open(&["cell", "database"], &sealed[..11]), Err(SealBroken));
    }

    #[test]
    fn the_same_plaintext_is_sealed_differently_each_time() {
        let (seal, entropy) = (Seal::new(&[1; 32], "purpose/v1"), entropy());
        assert_ne!(seal.seal(&entropy, &[], b"secret"), seal.seal(&entropy, &[], b"secret"));
    }
}
