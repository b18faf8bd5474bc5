//! What comes with a certificate so that nobody need take our word: the proof that it is in the operator's log, and the signed
//! end of the tenant's own log. Both are checked with the certificate, a key and nothing else.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::certificate::Certificate;
use super::envelope::Envelope;
use crate::audit::leaf::Leaf;
use crate::audit::note::{Checkpoint, NoteError, VerifierKey};
use crate::audit::proof::{Proof, ProofError};

/// The event that says that a certificate was given.
pub const EVENT: &str = "lifecycle.certificate_issued";

/// What comes with a certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// That it was given, and is on record.
    #[serde(default)]
    pub inclusion: Option<Inclusion>,
    /// The end of the tenant's log.
    #[serde(default)]
    pub tree_head: Option<TreeHead>,
}

/// A leaf of a log, and the way from it to a signed head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inclusion {
    /// The log's name.
    pub origin: String,
    /// The key that signs it, `name+id+key`.
    pub vkey: String,
    /// The leaf, verbatim.
    pub leaf: String,
    /// `c2sp.org/tlog-proof@v1`.
    pub proof: String,
}

/// A log's head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeHead {
    /// The key that signed it, `name+id+key`.
    pub vkey: String,
    /// The signed note (C2SP `tlog-checkpoint`).
    pub checkpoint: String,
}

/// Why evidence proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// A key of another form.
    #[error("a key that came with the certificate is not of the form name+id+key")]
    Key,
    /// The leaf is not that of this certificate.
    #[error("the event that came with the certificate is about another one")]
    OtherLeaf,
    /// The way from leaf to head.
    #[error("the certificate is not shown to be on record: {0}")]
    Proof(#[from] ProofError),
    /// The head's note.
    #[error("the end of the tenant's audit log: {0}")]
    Head(#[from] NoteError),
    /// A head of another log, or another moment.
    #[error("the signed end of the audit log is not the one that the certificate names")]
    OtherHead,
}

impl Evidence {
    /// Checks what is there against the certificate that `envelope` was opened to. Keys that are given count in place of those that
    /// came along.
    ///
    /// # Errors
    /// With the first thing that does not fit.
    pub fn verify(
        &self,
        envelope: &Envelope,
        certificate: &Certificate,
        given: &[VerifierKey],
    ) -> Result<(), EvidenceError> {
        if let Some(inclusion) = &self.inclusion {
            inclusion.verify(envelope, certificate, given)?;
        }
        match &self.tree_head {
            Some(head) => head.verify(certificate, given),
            None => Ok(()),
        }
    }
}

/// The given keys of that name; the carried one if there is none.
fn keys_for(carried: &str, given: &[VerifierKey]) -> Result<Vec<VerifierKey>, EvidenceError> {
    let carried = VerifierKey::parse(carried).ok_or(EvidenceError::Key)?;
    let known: Vec<VerifierKey> = given.iter().filter(|key| key.name() == carried.name()).cloned().collect();
    Ok(if known.is_empty() { vec![carried] } else { known })
}

/// SHA-256 of an envelope's payload as it stands there, in hex: what the event names.
pub fn payload_digest(envelope: &Envelope) -> String {
    Sha256::digest(&envelope.payload).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Inclusion {
    fn verify(
        &self,
        envelope: &Envelope,
        certificate: &Certificate,
        given: &[VerifierKey],
    ) -> Result<(), EvidenceError> {
        let leaf = Leaf::read(self.leaf.as_bytes()).map_err(|_| EvidenceError::OtherLeaf)?;
        let draft = &leaf.draft;
        let is_named = draft.targets.iter().any(|target| target.id == certificate.tenant);
        let is_this = draft.details.text("payload_sha256") == Some(&payload_digest(envelope));
        if draft.event != EVENT || !is_named || !is_this {
            return Err(EvidenceError::OtherLeaf);
        }
        let keys = keys_for(&self.vkey, given)?;
        Proof::parse(&self.proof)?.verify(self.leaf.as_bytes(), &self.origin, &keys)?;
        Ok(())
    }
}

impl TreeHead {
    fn verify(&self, certificate: &Certificate, given: &[VerifierKey]) -> Result<(), EvidenceError> {
        let signed = Checkpoint::open(&self.checkpoint, &keys_for(&self.vkey, given)?)?;
        let end = &certificate.audit;
        let is_it = (&signed.origin, signed.head.size, signed.head.root.to_string())
            == (&end.origin, end.size, end.root.clone());
        if is_it { Ok(()) } else { Err(EvidenceError::OtherHead) }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::audit::note::SignerKey;
    use crate::lifecycle::certificate::{AuditEnd, Sweep, TYPE, code_digest};

    fn certificate(size: u64) -> Certificate {
        let at: Timestamp = "2026-11-21T10:00:00Z".parse().expect("a time");
        Certificate {
            document_type: TYPE.to_owned(),
            tenant: "tenant_x".to_owned(),
            code_sha256: code_digest("acme"),
            isolation: "shared".to_owned(),
            requested_at: at,
            retention_ended_at: at,
            erased_at: at,
            stores: Vec::new(),
            sweep: Sweep { at, found: 0, tables: 1, files: 1, bytes: 1, marker_seen_before: true },
            exported_at: None,
            holds: Vec::new(),
            audit: AuditEnd { origin: "audit.test/t/x".to_owned(), size, root: "AAAA".to_owned() },
        }
    }

    #[test]
    fn a_leaf_about_something_else_or_no_leaf_proves_nothing() {
        let key = SignerKey::from_seed("audit.test/platform", &[7; 32]).expect("a name");
        let certificate = certificate(7);
        let envelope = certificate.sign(&key);
        assert_eq!(Evidence::default().verify(&envelope, &certificate, &[]), Ok(()), "nothing is claimed");
        let inclusion = Inclusion {
            origin: "audit.test/t/operator".to_owned(),
            vkey: key.verifier().to_string(),
            leaf: "{}".to_owned(),
            proof: String::new(),
        };
        let evidence = Evidence { inclusion: Some(inclusion), tree_head: None };
        assert_eq!(evidence.verify(&envelope, &certificate, &[]), Err(EvidenceError::OtherLeaf));
        let head = TreeHead { vkey: "no key".to_owned(), checkpoint: String::new() };
        let evidence = Evidence { inclusion: None, tree_head: Some(head) };
        assert_eq!(evidence.verify(&envelope, &certificate, &[]), Err(EvidenceError::Key));
    }
}
