//! What is stored of a key: HMAC-SHA-256 of its text under a numbered pepper that is never in the database.
//!
//! No slow hash: the input is 190 random bits, and the check runs on every request.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

type HmacSha256 = Hmac<Sha256>;

/// A pepper with its padded blocks already hashed, so that a digest costs two compressions.
#[derive(Clone)]
pub struct Pepper {
    version: u32,
    keyed: HmacSha256,
}

impl Pepper {
    /// Prepares 32 random bytes under a number.
    pub fn new(version: u32, bytes: &[u8; 32]) -> Self {
        let keyed = HmacSha256::new_from_slice(bytes).expect("HMAC takes keys of any length");
        Pepper { version, keyed }
    }

    /// The number of this pepper.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The digest of a key's whole text.
    pub fn digest(&self, key_text: &str) -> [u8; 32] {
        let mut mac = self.keyed.clone();
        mac.update(key_text.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for Pepper {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Pepper(version {})", self.version)
    }
}

/// All peppers that keys in use were made with; the last is the current one.
#[derive(Clone, Debug)]
pub struct Peppers(Vec<Pepper>);

impl Peppers {
    /// `peppers` must not be empty.
    pub fn new(peppers: Vec<Pepper>) -> Self {
        assert!(!peppers.is_empty(), "there is always a current pepper");
        Peppers(peppers)
    }

    /// The pepper for new keys.
    pub fn current(&self) -> &Pepper {
        self.0.last().expect("never empty")
    }

    /// Whether `key_text` is the key with this digest, in constant time.
    pub fn matches(&self, key_text: &str, version: u32, digest: &[u8; 32]) -> bool {
        let pepper = self.0.iter().find(|pepper| pepper.version == version).unwrap_or(self.current());
        let same = pepper.digest(key_text).ct_eq(digest);
        bool::from(same) && pepper.version == version
    }

    /// Spends the time of a check on a key that does not exist, so that the answer's time tells nothing.
    pub fn waste(&self, key_text: &str) {
        std::hint::black_box(self.current().digest(key_text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_hmac_of_the_whole_text_and_bound_to_its_pepper() {
        let peppers = Peppers::new(vec![Pepper::new(1, &[7; 32]), Pepper::new(2, &[8; 32])]);
        let old = Pepper::new(1, &[7; 32]).digest("text");
        assert!(peppers.matches("text", 1, &old));
        assert!(!peppers.matches("texT", 1, &old));
        assert!(!peppers.matches("text", 2, &old));
        assert!(!peppers.matches("text", 3, &peppers.current().digest("text")), "unknown pepper");
    }
}
