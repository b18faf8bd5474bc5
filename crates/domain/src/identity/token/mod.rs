//! Access tokens: what a person or a machine shows instead of signing in again. A JWT (RFC 7519) after the profile of RFC 9068,
//! signed with Ed25519 (RFC 8037) and read by the rules of RFC 8725: the algorithm is ours and never the token's, a key is
//! found in our own record and never in the token, and what has two readings has none.
//!
//! A token says who, for which tenant, in which session and how strongly proven; never what its bearer may do.
//! Both planes read it with the same function: [`Unverified::read`], then [`Unverified::verify`].

mod claims;
mod envelope;
mod ring;

#[cfg(test)]
mod tests;

pub use claims::{Subject, TokenClaims};
pub use envelope::Unverified;
pub use ring::{TokenKey, TokenKeys, TokenRing, TokenSigner};

/// What the gateway wants to be meant by (`aud`, RFC 7519 §4.1.3).
pub const AUDIENCE_GATEWAY: &str = "urn:rowhouse:gateway";
/// What the control API wants to be meant by.
pub const AUDIENCE_CONTROL: &str = "urn:rowhouse:control";
/// How long a token is good for, in seconds.
pub const TOKEN_LIFETIME_S: i64 = 600;
/// The longest life that is believed, in seconds.
pub const TOKEN_LIFETIME_MAX_S: i64 = 3_600;
/// Clocks of issuer and reader may differ by this much, in seconds.
pub const TOKEN_LEEWAY_S: i64 = 30;

/// Why a token is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Not three canonical base64url parts with our header and our claims.
    #[error("it is not well-formed")]
    Malformed,
    /// It says another algorithm than ours, or another type.
    #[error("it is of another algorithm or type")]
    WrongHeader,
    /// Signed with a key that is not ours, or not any more.
    #[error("its key is unknown")]
    UnknownKey,
    /// The signature does not fit.
    #[error("its signature is wrong")]
    BadSignature,
    /// Somebody else's.
    #[error("it is of another issuer")]
    WrongIssuer,
    /// Meant for somebody else.
    #[error("it is for another audience")]
    WrongAudience,
    /// From the future.
    #[error("it is not valid yet")]
    NotYet,
    /// Over.
    #[error("it has expired")]
    Expired,
    /// It is bound to something that its bearer has not shown.
    #[error("it is bound to what was not shown")]
    Unbound,
    /// Genuine, of another issuer, and nobody trusts its subject.
    #[error("nobody trusts its subject")]
    Untrusted,
}

impl TokenFault {
    /// The word used in explanations.
    pub fn as_str(self) -> &'static str {
        match self {
            TokenFault::Malformed => "malformed",
            TokenFault::WrongHeader => "wrong_header",
            TokenFault::UnknownKey => "unknown_key",
            TokenFault::BadSignature => "bad_signature",
            TokenFault::WrongIssuer => "wrong_issuer",
            TokenFault::WrongAudience => "wrong_audience",
            TokenFault::NotYet => "not_yet",
            TokenFault::Expired => "expired",
            TokenFault::Unbound => "unbound",
            TokenFault::Untrusted => "untrusted",
        }
    }

    /// 401 `identity.token_expired` for what was good once, else 401 `identity.token_invalid`; why is private.
    pub fn refusal(self) -> crate::refusal::Refusal {
        use crate::refusal::{Refusal, kind};
        match self {
            TokenFault::Expired => Refusal::new(&kind::TOKEN_EXPIRED, "The access token has expired."),
            TokenFault::Untrusted => Refusal::new(
                &kind::SUBJECT_UNTRUSTED,
                "The token is genuine, but no service account trusts its subject for its audience.",
            ),
            _ => Refusal::new(&kind::TOKEN_INVALID, "The access token is not valid here.")
                .private(self.as_str()),
        }
    }
}

/// Whether a bearer's text is meant as a token: it begins as a JSON object in base64url does. No API key does.
pub fn is_token(text: &str) -> bool {
    text.starts_with("eyJ")
}
