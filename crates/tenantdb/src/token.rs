//! The signed context: what a transaction shows to the database to be one tenant's.
//!
//! `r1.<kid>.<tenant>.<epoch>.<rights>.<backend pid>.<not after>.<hex HMAC-SHA256>`. The database verifies it with
//! `rh.tenant` (`cell/guard.sql`), from the two padded blocks of RFC 2104, so that the key itself lies nowhere in it.
//! A token is worth nothing on another backend, after its time, or for another epoch of the place.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Sha256;
use uuid::Uuid;
use zeroize::Zeroize;

/// How long a token can start transactions, in seconds of the server's time.
pub const LIFETIME_S: i64 = 30;

/// Block length of SHA-256, in bytes.
const BLOCK: usize = 64;

/// The key that signs contexts for one database. Two databases never share one.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseKey {
    kid: String,
    secret: [u8; 32],
}

/// A key id that cannot stand in a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a key id has 1 to 32 lower-case letters, digits and underscores")]
pub struct KidError;

impl DatabaseKey {
    /// A key from 32 random bytes; `kid` names it in tokens (`[a-z0-9_]{1,32}`).
    ///
    /// # Errors
    /// If `kid` holds anything else.
    pub fn new(kid: impl Into<String>, secret: [u8; 32]) -> Result<Self, KidError> {
        let kid = kid.into();
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if (1..=32).contains(&kid.len()) && kid.bytes().all(plain) {
            Ok(DatabaseKey { kid, secret })
        } else {
            Err(KidError)
        }
    }

    /// The key's name.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Inner and outer padded block (RFC 2104 §2), what `rh.key` stores.
    pub(crate) fn padded_blocks(&self) -> ([u8; BLOCK], [u8; BLOCK]) {
        let pad = |byte: u8| {
            let mut block = [byte; BLOCK];
            block.iter_mut().zip(self.secret).for_each(|(cell, key)| *cell ^= key);
            block
        };
        (pad(0x36), pad(0x5c))
    }

    /// Signs `claims`.
    pub fn mint(&self, claims: &TokenClaims<'_>) -> String {
        let TokenClaims { tenant, epoch, rights, backend_pid, not_after_s } = claims;
        let message = format!("r1.{}.{tenant}.{epoch}.{rights}.{backend_pid}.{not_after_s}", self.kid);
        let signature = self.sign(message.as_bytes());
        let mut token = message;
        token.push('.');
        for byte in signature {
            use fmt::Write;
            write!(token, "{byte:02x}").expect("a String takes all that is written");
        }
        token
    }

    fn sign(&self, message: &[u8]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes keys of any length");
        mac.update(message);
        mac.finalize().into_bytes().into()
    }
}

impl Drop for DatabaseKey {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl fmt::Debug for DatabaseKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "DatabaseKey({}, …)", self.kid)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyOnTheWire {
    kid: String,
    /// 64 hexadecimal digits.
    secret: String,
}

impl Serialize for DatabaseKey {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let secret = self.secret.iter().map(|byte| format!("{byte:02x}")).collect();
        KeyOnTheWire { kid: self.kid.clone(), secret }.serialize(out)
    }
}

impl<'de> Deserialize<'de> for DatabaseKey {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let wire = KeyOnTheWire::deserialize(input)?;
        let wrong = || D::Error::custom("a context key has 64 hexadecimal digits");
        if wire.secret.len() != 64 || !wire.secret.is_ascii() {
            return Err(wrong());
        }
        let mut secret = [0; 32];
        for (place, byte) in secret.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&wire.secret[2 * place..2 * place + 2], 16).map_err(|_| wrong())?;
        }
        DatabaseKey::new(wire.kid, secret).map_err(D::Error::custom)
    }
}

/// What a token says.
#[derive(Debug, Clone, Copy)]
pub struct TokenClaims<'a> {
    /// Whose rows.
    pub tenant: Uuid,
    /// The epoch of the place; each move raises it.
    pub epoch: u64,
    /// A subset of `rwd`.
    pub rights: &'a str,
    /// The only backend that may show it.
    pub backend_pid: i32,
    /// Seconds since 1970 on the server's clock, compared with the start of the transaction.
    pub not_after_s: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::Digest;

    fn key() -> DatabaseKey {
        DatabaseKey::new("k1", [7; 32]).expect("a plain kid")
    }

    #[test]
    fn the_database_can_verify_from_the_padded_blocks() {
        let claims = TokenClaims {
            tenant: Uuid::from_u128(5),
            epoch: 3,
            rights: "rwd",
            backend_pid: 42,
            not_after_s: 99,
        };
        let token = key().mint(&claims);
        let (message, signature) = token.rsplit_once('.').expect("a signature");
        assert_eq!(message, "r1.k1.00000000-0000-0000-0000-000000000005.3.rwd.42.99");
        let (inner, outer) = key().padded_blocks();
        let inner_hash = Sha256::new().chain_update(inner).chain_update(message).finalize();
        let expected = Sha256::new().chain_update(outer).chain_update(inner_hash).finalize();
        let expected: String = expected.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(signature, expected);
    }

    #[test]
    fn a_kid_cannot_smuggle_fields_and_a_key_is_not_printed() {
        for bad in ["", "a.b", "A", "a'b", &"a".repeat(33)] {
            assert_eq!(DatabaseKey::new(bad, [0; 32]), Err(KidError), "{bad}");
        }
        assert_eq!(format!("{:?}", key()), "DatabaseKey(k1, …)");
    }

    #[test]
    fn keys_travel_as_hexadecimal() {
        let json = serde_json::to_string(&key()).expect("serializable");
        assert_eq!(json, format!(r#"{{"kid":"k1","secret":"{}"}}"#, "07".repeat(32)));
        assert_eq!(serde_json::from_str::<DatabaseKey>(&json).expect("round trip"), key());
        for bad in [r#"{"kid":"k1","secret":"07"}"#.to_owned(), json.replace("07", "zz")] {
            assert!(serde_json::from_str::<DatabaseKey>(&bad).is_err(), "{bad}");
        }
    }
}
