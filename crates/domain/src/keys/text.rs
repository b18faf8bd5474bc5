//! The text of an API key: `rh_live_eu1_` + public id (10) + secret (32) + checksum (6), in base 62.
//!
//! The checksum is CRC-32 (IEEE) over the 42 characters of id and secret, base 62, most significant first,
//! padded with `0`, as in GitHub's tokens. A wrong character is found without any look-up.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::entropy::Entropy;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const PUBLIC_LENGTH: usize = 10;
const SECRET_LENGTH: usize = 32;
const CHECKSUM_LENGTH: usize = 6;
const BODY_LENGTH: usize = PUBLIC_LENGTH + SECRET_LENGTH;
/// The shipped prefix.
pub const PREFIX: &str = "rh";

/// Whether a key is for real work or for trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// Real work, billed.
    Live,
    /// For trying; recorded, not billed.
    Test,
}

impl Environment {
    /// The word in the key.
    pub fn as_str(self) -> &'static str {
        match self {
            Environment::Live => "live",
            Environment::Test => "test",
        }
    }
}

/// The part of a key that may be shown and is looked up: 10 letters and digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicId(pub [u8; PUBLIC_LENGTH]);

impl PublicId {
    /// The ten characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("made only from letters and digits")
    }

    /// Reads ten letters and digits.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; PUBLIC_LENGTH] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(u8::is_ascii_alphanumeric).then_some(PublicId(bytes))
    }
}

impl fmt::Debug for PublicId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A text that has the grammar and checksum of a key. Says nothing about whether such a key exists.
#[derive(Clone, Copy)]
pub struct KeyText<'a> {
    /// All of it, for the digest.
    pub whole: &'a str,
    /// Live or test.
    pub environment: Environment,
    /// Short name of the region it belongs to.
    pub region: &'a str,
    /// What it is looked up by.
    pub public_id: PublicId,
}

impl fmt::Debug for KeyText<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "KeyText({}…)", self.public_id.as_str())
    }
}

/// The text is not a key's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the text of an API key")]
pub struct Malformed;

impl<'a> KeyText<'a> {
    /// Checks grammar and checksum. No look-up, no allocation.
    pub fn parse(whole: &'a str) -> Result<Self, Malformed> {
        let (head, body) = whole
            .len()
            .checked_sub(BODY_LENGTH + CHECKSUM_LENGTH)
            .and_then(|at| whole.split_at_checked(at))
            .ok_or(Malformed)?;
        let mut parts = head.as_bytes().split(|byte| *byte == b'_');
        let (Some(prefix), Some(environment), Some(region), Some([]), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Malformed);
        };
        let region = &head[head.len() - 1 - region.len()..head.len() - 1];
        let environment = match environment {
            b"live" => Environment::Live,
            b"test" => Environment::Test,
            _ => return Err(Malformed),
        };
        let lower_or_digit = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let well_formed = (1..=16).contains(&prefix.len())
            && prefix[0].is_ascii_lowercase()
            && prefix.iter().all(|byte| lower_or_digit(*byte))
            && (2..=8).contains(&region.len())
            && region.bytes().all(lower_or_digit)
            // All of them, without leaving off at the first: sixteen at once.
            && body.bytes().fold(true, |so_far, byte| so_far & byte.is_ascii_alphanumeric());
        if !well_formed || body.as_bytes()[BODY_LENGTH..] != checksum(&body.as_bytes()[..BODY_LENGTH]) {
            return Err(Malformed);
        }
        let public_id = body.as_bytes().first_chunk().copied().map(PublicId).ok_or(Malformed)?;
        Ok(KeyText { whole, environment, region, public_id })
    }
}

/// Makes the text of a new key: 59 bits of public id and 190 bits of secret.
pub fn generate(environment: Environment, region: &str, entropy: &Entropy) -> (String, PublicId) {
    let body = entropy.base62(BODY_LENGTH);
    let public_id = PublicId::parse(&body[..PUBLIC_LENGTH]).expect("base 62 is letters and digits");
    let check = checksum(body.as_bytes());
    let check = std::str::from_utf8(&check).expect("base 62 is ASCII");
    (format!("{PREFIX}_{}_{region}_{body}{check}", environment.as_str()), public_id)
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_LENGTH] {
    let mut rest = crc32fast::hash(body);
    let mut out = [b'0'; CHECKSUM_LENGTH];
    for place in out.iter_mut().rev() {
        *place = ALPHABET[(rest % 62) as usize];
        rest /= 62;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const VECTORS: [&str; 2] = [
        "rh_live_eu1_0000000000AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA1OX4sK",
        "rh_live_eu1_Rowhouse01k3yk3yk3yk3yk3yk3yk3yk3yk3yk3yk32C50qD",
    ];

    #[test]
    fn published_vectors() {
        for vector in VECTORS {
            let key = KeyText::parse(vector).expect(vector);
            assert_eq!((key.environment, key.region), (Environment::Live, "eu1"));
        }
        assert_eq!(KeyText::parse(VECTORS[1]).expect("vector").public_id.as_str(), "Rowhouse01");
    }

    #[test]
    fn one_changed_character_is_found() {
        for at in 12..VECTORS[1].len() {
            let mut text = VECTORS[1].as_bytes().to_vec();
            text[at] = if text[at] == b'x' { b'y' } else { b'x' };
            let text = String::from_utf8(text).expect("ascii");
            assert!(KeyText::parse(&text).is_err(), "changed at {at}");
        }
        for bad in ["", "rh", "rh_live_eu1_", "rh_prod_eu1_x", "rh_live_eu1_x_y"] {
            assert!(KeyText::parse(bad).is_err(), "{bad}");
        }
    }
}
