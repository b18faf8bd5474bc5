//! Whom a certificate means: by its key, by a name in it, or by its subject.

use serde::{Deserialize, Serialize};

use crate::id::ServiceAccountId;

/// By what a certificate is known, the surest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchBy {
    /// SHA-256 of its public key (SubjectPublicKeyInfo), in hexadecimal.
    SpkiSha256,
    /// A URI among its alternative names, as SPIFFE has them, to the byte.
    Uri,
    /// A DNS name among its alternative names.
    Dns,
    /// Its whole subject, as RFC 4514 writes it.
    Subject,
}

impl MatchBy {
    /// All of them, in the order in which they are asked.
    pub const ALL: [MatchBy; 4] = [MatchBy::SpkiSha256, MatchBy::Uri, MatchBy::Dns, MatchBy::Subject];

    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            MatchBy::SpkiSha256 => "spki_sha256",
            MatchBy::Uri => "uri",
            MatchBy::Dns => "dns",
            MatchBy::Subject => "subject",
        }
    }

    /// Reads it, to the letter.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|own| own.as_str() == text)
    }
}

/// A certificate that meets this signs in as the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRule {
    /// By what.
    pub by: MatchBy,
    /// As [`canonical`] writes it.
    pub value: Box<str>,
    /// As whom.
    pub account: ServiceAccountId,
}

/// The one way in which a rule's value is written; `None` for one that no certificate could meet.
pub fn canonical(by: MatchBy, value: &str) -> Option<String> {
    let sound = (1..=255).contains(&value.len()) && !value.chars().any(char::is_control);
    let own = match by {
        MatchBy::SpkiSha256 => {
            let hex = value.replace(':', "").to_ascii_lowercase();
            (hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(hex)
        }
        MatchBy::Uri => {
            (value.contains(':') && value.is_ascii() && !value.contains([' ', '*'])).then(|| value.to_owned())
        }
        MatchBy::Dns => {
            let name = value.to_ascii_lowercase();
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            name.bytes().all(fits).then_some(name)
        }
        MatchBy::Subject => (value.contains('=')).then(|| value.to_owned()),
    };
    own.filter(|_| sound)
}
