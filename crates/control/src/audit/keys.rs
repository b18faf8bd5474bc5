//! The keys that sign checkpoints: one for each log, derived from one seed of the installation.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use rowhouse_domain::audit::note::SignerKey;
use rowhouse_domain::id::TenantId;
use sha2::Sha256;

use super::standing::Standing;

/// Derives a log's key from the installation's seed, and knows whether the logs may go on.
#[derive(Clone)]
pub struct Keys {
    seed: [u8; 32],
    name: String,
    standing: Arc<Standing>,
}

impl Keys {
    /// `name` begins every log's origin, as in `audit.example.com`; it has no white space and no plus sign.
    pub fn new(seed: [u8; 32], name: impl Into<String>) -> Self {
        Keys { seed, name: name.into(), standing: Arc::default() }
    }

    /// Whether the logs agree with what was signed; readiness is told from here.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The platform's own key, for documents that are not logs, named `<name>/platform`. `None` for a name that no key can
    /// have.
    pub fn platform(&self) -> Option<SignerKey> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.seed).expect("HMAC takes keys of any length");
        mac.update(b"rowhouse platform key v1");
        SignerKey::from_seed(&format!("{}/platform", self.name), &mac.finalize().into_bytes().into())
    }

    /// The origin of a log opened today: `<name>/t/<tenant id>`.
    pub fn origin(&self, log: TenantId) -> String {
        format!("{}/t/{log}", self.name)
    }

    /// The key of a log, named like its origin. `None` for an origin that cannot be a key's name: empty, or with
    /// white space or a plus sign. We never wrote such a one.
    pub fn signer(&self, log: TenantId, origin: &str) -> Option<SignerKey> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.seed).expect("HMAC takes keys of any length");
        mac.update(b"rowhouse audit log key v1");
        mac.update(log.0.as_bytes());
        SignerKey::from_seed(origin, &mac.finalize().into_bytes().into())
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Keys({})", self.name)
    }
}
