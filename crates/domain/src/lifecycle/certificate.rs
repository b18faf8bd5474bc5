//! The certificate of decommissioning: what became of a tenant's data in each store, what a search found afterwards, and
//! where its audit log ends. It names no person and no company: the tenant is an id and the digest of its code.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::envelope::{Envelope, EnvelopeError};
use crate::audit::note::{SignerKey, VerifierKey};

/// The type of its envelope's payload.
pub const PAYLOAD_TYPE: &str = "application/vnd.rowhouse.decommission+json";
/// The document's own type.
pub const TYPE: &str = "rowhouse.decommission/v1";

/// What became of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// [`TYPE`].
    #[serde(rename = "type")]
    pub document_type: String,
    /// Which tenant.
    pub tenant: String,
    /// SHA-256 of its code, in hex: whoever knows the code can tell that it was this one.
    pub code_sha256: String,
    /// The level of isolation that it lay on at the end.
    pub isolation: String,
    /// When it was asked to leave.
    pub requested_at: Timestamp,
    /// Until when everything was kept.
    pub retention_ended_at: Timestamp,
    /// When the last store had been emptied.
    pub erased_at: Timestamp,
    /// What became of its data in each.
    pub stores: Vec<StoreResult>,
    /// What was looked for afterwards.
    pub sweep: Sweep,
    /// When its data was last exported.
    pub exported_at: Option<Timestamp>,
    /// Legal holds that still bind something; none, or it would not have come to this.
    pub holds: Vec<String>,
    /// Where its audit log ends.
    pub audit: AuditEnd,
}

/// What became of a store's data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreResult {
    /// Which store.
    pub store: String,
    /// Its cell, for a database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell: Option<String>,
    /// How many things there were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<u64>,
    /// What happened to them.
    pub result: Outcome,
    /// When the key that they were sealed with was destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_destroyed_at: Option<Timestamp>,
    /// When the last of them ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_expires_at: Option<Timestamp>,
    /// What demands that they are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<String>,
    /// More, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What happened to a store's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Removed.
    Erased,
    /// Its key was destroyed; what is left cannot be read.
    Shredded,
    /// It ends by itself, at a time or as it is overwritten.
    Expires,
    /// The law wants it kept.
    Retained,
    /// There was nothing.
    NothingFound,
}

/// What was looked for after the erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// When.
    pub at: Timestamp,
    /// How many traces were found; a certificate is only given for none.
    pub found: u64,
    /// Tables that were read whole.
    pub tables: u64,
    /// Files that were read whole, and their bytes.
    pub files: u64,
    /// In those files.
    pub bytes: u64,
    /// Whether a marker written before the erasure was found in the files then, so that the search is known to see.
    pub marker_seen_before: bool,
}

/// Where the tenant's audit log ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditEnd {
    /// The log's name.
    pub origin: String,
    /// Leaves.
    pub size: u64,
    /// Root over them, in base64 (RFC 6962 §2.1).
    pub root: String,
}

/// Why a certificate is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The envelope.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// A known key signed something else in this type.
    #[error("what was signed is no certificate of this version: {0}")]
    Malformed(String),
}

/// SHA-256 of a code, in hex.
pub fn code_digest(code: &str) -> String {
    Sha256::digest(code).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Certificate {
    /// The signed envelope.
    pub fn sign(&self, key: &SignerKey) -> Envelope {
        let payload = serde_json::to_vec(self).expect("text keys only");
        Envelope::sign(PAYLOAD_TYPE, &payload, key)
    }

    /// Opens a signed one.
    ///
    /// # Errors
    /// If none of `keys` signed it as it is.
    pub fn open(envelope: &Envelope, keys: &[VerifierKey]) -> Result<Certificate, CertificateError> {
        let payload = envelope.open(PAYLOAD_TYPE, keys)?;
        let malformed = |error: serde_json::Error| CertificateError::Malformed(error.to_string());
        let certificate: Certificate = serde_json::from_slice(&payload).map_err(malformed)?;
        match certificate.document_type == TYPE {
            true => Ok(certificate),
            false => Err(CertificateError::Malformed(format!("its type is `{}`", certificate.document_type))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_opens_as_it_was_signed() {
        let at: Timestamp = "2026-11-21T10:00:00Z".parse().expect("a time");
        let certificate = Certificate {
            document_type: TYPE.to_owned(),
            tenant: "tenant_01hx0000000000000000000000".to_owned(),
            code_sha256: code_digest("acme"),
            isolation: "schema".to_owned(),
            requested_at: at,
            retention_ended_at: at,
            erased_at: at,
            stores: vec![StoreResult {
                store: "database".to_owned(),
                cell: Some("local-1".to_owned()),
                items: Some(3),
                result: Outcome::Erased,
                key_destroyed_at: None,
                last_expires_at: None,
                basis: None,
                note: None,
            }],
            sweep: Sweep { at, found: 0, tables: 2, files: 3, bytes: 4, marker_seen_before: true },
            exported_at: None,
            holds: Vec::new(),
            audit: AuditEnd { origin: "audit.test/t/x".to_owned(), size: 7, root: "AAAA".to_owned() },
        };
        let key = SignerKey::from_seed("audit.test/platform", &[7; 32]).expect("a name");
        let envelope = certificate.sign(&key);
        let keys = [key.verifier().clone()];
        assert_eq!(Certificate::open(&envelope, &keys).expect("ours"), certificate);
        let other = Envelope::sign(PAYLOAD_TYPE, b"{}", &key);
        assert!(matches!(Certificate::open(&other, &keys), Err(CertificateError::Malformed(_))));
        assert_eq!(code_digest("acme").len(), 64);
    }
}
