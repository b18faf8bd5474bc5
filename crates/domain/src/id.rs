//! Identifiers: `<noun>_<26 lower-case Crockford base-32 characters of a UUIDv7>` outside, `uuid` in the database.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Characters of the part behind the underscore.
pub const ENCODED_LENGTH: usize = 26;

/// The 26 characters of `value`, most significant first.
pub fn encode(value: u128) -> String {
    (0..ENCODED_LENGTH).rev().map(|place| ALPHABET[((value >> (5 * place)) & 31) as usize] as char).collect()
}

/// The value of 26 lower-case characters; `None` if one is not of the alphabet or the value exceeds 128 bits.
pub fn decode(text: &str) -> Option<u128> {
    if text.len() != ENCODED_LENGTH || text.as_bytes()[0] > b'7' {
        return None;
    }
    text.bytes().try_fold(0u128, |value, byte| {
        let digit = ALPHABET.iter().position(|&letter| letter == byte)?;
        Some(value << 5 | digit as u128)
    })
}

/// Why a text is not the id that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// A well-formed id of another kind.
    #[error("expected an id that starts with `{expected}_`, got one that starts with `{found}_`")]
    WrongKind { expected: &'static str, found: String },
    /// Not an id at all.
    #[error("expected `{expected}_` and 26 letters and digits")]
    Malformed { expected: &'static str },
}

/// Reads `text` as an id with `prefix`; a bare UUID is taken too.
pub fn parse_prefixed(prefix: &'static str, text: &str) -> Result<Uuid, IdError> {
    if text.len() == 36
        && let Ok(uuid) = Uuid::from_str(text)
    {
        return Ok(uuid);
    }
    let malformed = IdError::Malformed { expected: prefix };
    let (found, rest) = text.rsplit_once('_').ok_or(malformed.clone())?;
    let value = decode(rest).ok_or(malformed)?;
    if found == prefix {
        Ok(Uuid::from_u128(value))
    } else {
        Err(IdError::WrongKind { expected: prefix, found: found.to_owned() })
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(pub Uuid);

        impl Hash for $name {
            // As one number: as sixteen bytes of a slice it takes three times as long.
            #[inline]
            fn hash<H: Hasher>(&self, state: &mut H) {
                state.write_u128(u128::from_ne_bytes(*self.0.as_bytes()));
            }
        }

        impl $name {
            /// The noun in front of the underscore.
            pub const PREFIX: &'static str = $prefix;
            /// The id as the number that the journal and hashes use.
            pub fn as_u128(self) -> u128 { self.0.as_u128() }
            /// The id of a number read from the journal.
            pub fn from_u128(value: u128) -> Self { $name(Uuid::from_u128(value)) }
        }
        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "{}_{}", $prefix, encode(self.0.as_u128()))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Display::fmt(self, out) }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> { parse_prefixed($prefix, text).map($name) }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> { out.collect_str(self) }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(input)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// A customer of the operator.
    TenantId = "tenant";
    /// A person.
    UserId = "user";
    /// A machine's principal.
    ServiceAccountId = "sa";
    /// An API key.
    KeyId = "key";
    /// A right given to a principal.
    GrantId = "grant";
    /// A named set of principals of one tenant.
    GroupId = "group";
    /// Something that waits for a second person's yes.
    ApprovalId = "approval";
    /// An audit event.
    EventId = "event";
    /// A long-running change that a client follows.
    OperationId = "operation";
    /// A rollout of migrations over the fleet.
    RolloutId = "rollout";
    /// One request through the gateway or to the control API.
    RequestId = "request";
    /// A domain of a tenant's own.
    HostId = "host";
    /// An invitation into a tenant.
    InvitationId = "invitation";
    /// A person who is signed in to one tenant.
    SessionId = "session";
    /// An issuer of tokens besides us.
    IssuerId = "issuer";
    /// A tenant's own provider of identities, as people sign in by it.
    ConnectionId = "connection";
    /// A program that people sign in to with their account here.
    ApplicationId = "application";
    /// An authority whose client certificates a tenant believes.
    AuthorityId = "authority";
    /// A client certificate that was taken back.
    RevocationId = "revocation";
    /// Something that proves a person.
    FactorId = "factor";
    /// An e-mail.
    MessageId = "message";
    /// An invoice.
    InvoiceId = "invoice";
    /// A backup of a tenant.
    BackupId = "backup";
    /// A copy of a backup beside the living tenant.
    RestoreId = "restore";
    /// Everything of a tenant, for it to take along.
    ExportId = "export";
    /// A legal reason to keep what would be deleted.
    HoldId = "hold";
    /// A line of an invoice.
    LineId = "line";
}

/// The reserved tenant that the operator's own people and keys belong to.
pub const OPERATOR_TENANT: TenantId = TenantId(Uuid::from_u128(1));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_keeps_order() {
        for value in [0, 1, u128::MAX, 0x0192_f3a0_0000_7000_8000_0000_0000_0001] {
            assert_eq!(decode(&encode(value)), Some(value));
        }
        assert!(encode(5) < encode(6) && encode(1 << 90) > encode(1 << 20));
        assert_eq!(decode("80000000000000000000000000"), None, "more than 128 bits");
    }

    #[test]
    fn another_kind_is_told_apart_from_nonsense() {
        let tenant = TenantId::from_u128(42).to_string();
        assert_eq!(tenant.parse::<TenantId>(), Ok(TenantId::from_u128(42)));
        assert!(matches!(tenant.parse::<UserId>(), Err(IdError::WrongKind { expected: "user", .. })));
        assert!(matches!("acme".parse::<TenantId>(), Err(IdError::Malformed { .. })));
        assert_eq!("00000000-0000-0000-0000-00000000002a".parse::<TenantId>(), Ok(TenantId::from_u128(42)));
    }
}
