//! Security keys and passkeys (W3C Web Authentication, Level 3): what an authenticator answers to a challenge is believed only
//! after every step of the specification. Pure: the challenge, the credential and the key are handed in, and what changed is
//! handed back.
//!
//! Narrower than the specification where that makes two readings one: no extensions are asked for, no attestation is asked for (one
//! that an authenticator gives of itself is checked all the same), frames of other sites are refused, and so is a key of any algorithm
//! but [`cose::Algorithm`]'s three.

mod assertion;
mod authenticator_data;
mod cbor;
mod client_data;
pub mod cose;
mod registration;

#[cfg(test)]
#[path = "authenticator.rs"]
mod authenticator;
#[cfg(test)]
mod tests;

pub use assertion::{Asserted, Assertion, Expected, Known, verify_assertion};
pub use registration::{Registered, Registration, verify_registration};

/// How long a challenge is good, in seconds.
pub const CHALLENGE_LIFE_S: i64 = 300;
/// The longest id of a credential, in bytes (§4).
pub const CREDENTIAL_ID_MAX: usize = 1_023;

/// Who we are to authenticators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelyingParty {
    /// The host of the sign-in pages; never a parent domain.
    pub id: String,
    /// Their origin, compared for equality.
    pub origin: String,
}

impl RelyingParty {
    /// From the address of the sign-in pages; none if it is no `http` or `https` address with a host.
    pub fn of(public_url: &str) -> Option<Self> {
        let (scheme, rest) = public_url.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        let host = match authority.strip_prefix('[') {
            Some(six) => six.split_once(']')?.0,
            None => authority.split_once(':').map_or(authority, |(host, _)| host),
        };
        let fits = matches!(scheme, "http" | "https") && !host.is_empty() && !authority.contains('@');
        fits.then(|| RelyingParty {
            id: host.to_ascii_lowercase(),
            origin: format!("{scheme}://{}", authority.to_ascii_lowercase()),
        })
    }
}

/// Why an answer of an authenticator is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebauthnFault {
    /// Not what the specification describes.
    #[error("it is not well-formed")]
    Malformed,
    /// An enrolment was sent as a sign-in, or the other way round.
    #[error("it is of another ceremony")]
    WrongCeremony,
    /// Of another challenge than ours.
    #[error("it answers another challenge")]
    WrongChallenge,
    /// Made on another site.
    #[error("it is of another origin")]
    WrongOrigin,
    /// Made in a frame of another site.
    #[error("it was made in a frame of another site")]
    CrossOrigin,
    /// Made for another relying party.
    #[error("it is for another relying party")]
    WrongRelyingParty,
    /// Nobody touched the authenticator.
    #[error("nobody was present")]
    UserNotPresent,
    /// Neither fingerprint, face nor PIN was shown.
    #[error("the person was not verified")]
    UserNotVerified,
    /// The authenticator contradicts itself about backups, or changed its mind.
    #[error("what it says about backups does not fit")]
    WrongBackup,
    /// A key of an algorithm that is not taken, or not of the shape of its algorithm.
    #[error("its key is not of a kind that is taken")]
    WrongKey,
    /// An attestation that was not asked for, or whose signature does not fit.
    #[error("its attestation does not fit")]
    WrongAttestation,
    /// Of another credential than is expected.
    #[error("it is of another credential")]
    WrongCredential,
    /// Of another person.
    #[error("it is of another person")]
    WrongUser,
    /// The signature does not fit.
    #[error("its signature is wrong")]
    BadSignature,
    /// The counter went back: there may be a copy of the authenticator.
    #[error("its counter went back")]
    CounterBack,
}

impl WebauthnFault {
    /// The word used in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            WebauthnFault::Malformed => "malformed",
            WebauthnFault::WrongCeremony => "wrong_ceremony",
            WebauthnFault::WrongChallenge => "wrong_challenge",
            WebauthnFault::WrongOrigin => "wrong_origin",
            WebauthnFault::CrossOrigin => "cross_origin",
            WebauthnFault::WrongRelyingParty => "wrong_relying_party",
            WebauthnFault::UserNotPresent => "user_not_present",
            WebauthnFault::UserNotVerified => "user_not_verified",
            WebauthnFault::WrongBackup => "wrong_backup",
            WebauthnFault::WrongKey => "wrong_key",
            WebauthnFault::WrongAttestation => "wrong_attestation",
            WebauthnFault::WrongCredential => "wrong_credential",
            WebauthnFault::WrongUser => "wrong_user",
            WebauthnFault::BadSignature => "bad_signature",
            WebauthnFault::CounterBack => "counter_back",
        }
    }
}
