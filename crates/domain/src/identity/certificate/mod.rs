//! Client certificates (RFC 5280, RFC 8446 §4.4.2): machines of a tenant that show one of its own authorities, and sign in as a
//! service account without a key.
//!
//! A tenant's authorities are its own and nobody else's: whom a certificate names is decided from them alone, never from what the
//! system believes, and a rule of a service account names the authority that it means by its id. So the same subject under two
//! authorities is two machines, and an authority by itself lets nobody in. That its bearer holds the key, the handshake has
//! proven; all else is decided here, with each request, so that what is withdrawn is withdrawn for open connections and resumed
//! sessions too.

mod authority;
mod path;
mod rule;

#[cfg(test)]
mod tests;

pub use authority::{
    Authority, AuthorityFault, CertificateFacts, CertificateNames, certificates, names, one_certificate,
};
pub use path::{CHAIN_MAX, Certified, TenantAuthorities};
pub use rule::{CertificateRule, MatchBy, canonical};

/// SHA-256 of a certificate's bytes.
pub fn fingerprint(der: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(der).into()
}

/// Why a certificate is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// No certificate at all, or one that cannot be read.
    #[error("it is not well-formed")]
    Malformed,
    /// More certificates than [`CHAIN_MAX`].
    #[error("its chain is too long")]
    TooLong,
    /// It leads to no authority of the tenant.
    #[error("it leads to no authority of the tenant")]
    UnknownAuthority,
    /// It, or one above it, is not valid yet.
    #[error("it is not valid yet")]
    NotYet,
    /// It, or one above it, is not valid any more.
    #[error("it has expired")]
    Expired,
    /// It is not for clients (RFC 5280 §4.2.1.12), or one above it may not sign certificates.
    #[error("it is not for this use")]
    WrongUse,
    /// A name that an authority above it may not give.
    #[error("its authority may not give this name")]
    WrongName,
    /// A signature that does not fit, or of a kind that is not taken.
    #[error("a signature in its chain is wrong")]
    BadSignature,
    /// Taken back by the tenant.
    #[error("it was revoked")]
    Revoked,
    /// Genuine, and no service account has a rule that it meets.
    #[error("no service account is meant by it")]
    Untrusted,
    /// Genuine, and rules of several service accounts mean it equally.
    #[error("several service accounts are meant by it")]
    Ambiguous,
}

impl CertificateFault {
    /// The word used in explanations.
    pub fn as_str(self) -> &'static str {
        match self {
            CertificateFault::Malformed => "malformed",
            CertificateFault::TooLong => "too_long",
            CertificateFault::UnknownAuthority => "unknown_authority",
            CertificateFault::NotYet => "not_yet",
            CertificateFault::Expired => "expired",
            CertificateFault::WrongUse => "wrong_use",
            CertificateFault::WrongName => "wrong_name",
            CertificateFault::BadSignature => "bad_signature",
            CertificateFault::Revoked => "revoked",
            CertificateFault::Untrusted => "untrusted",
            CertificateFault::Ambiguous => "ambiguous",
        }
    }

    /// 401: what only a genuine certificate can meet is told, the rest is private.
    pub fn refusal(self) -> crate::refusal::Refusal {
        use crate::refusal::{Refusal, kind};
        match self {
            CertificateFault::Revoked => {
                Refusal::new(&kind::CERTIFICATE_REVOKED, "The client certificate was revoked.")
            }
            CertificateFault::Untrusted => Refusal::new(
                &kind::CERTIFICATE_UNTRUSTED,
                "The client certificate is genuine, but no service account is meant by it.",
            ),
            CertificateFault::Ambiguous => Refusal::new(
                &kind::CERTIFICATE_UNTRUSTED,
                "The client certificate is genuine, but it means several service accounts at once.",
            ),
            _ => Refusal::new(&kind::CERTIFICATE_INVALID, "The client certificate is not valid here.")
                .private(self.as_str()),
        }
    }
}
