//! The keys that sign checkpoints: one for each log, derived from one seed of the installation.

use hmac::{Hmac, KeyInit, Mac};
use rowhouse_domain::audit::note::SignerKey;
use rowhouse_domain::id::TenantId;
use sha2::Sha256;

/// Derives a log's key from the installation's seed.
#[derive(Clone)]
pub struct Keys {
    seed: [u8; 32],
    name: String,
}

impl Keys {
    /// `name` begins every log's origin, as in `audit.example.com`; it has no white space and no plus sign.
    pub fn new(seed: [u8; 32], name: impl Into<String>) -> Self {
        Keys { seed, name: name.into() }
    }

    /// The origin of a log opened today: `<name>/t/<tenant id>`.
    pub fn origin(&self, log: TenantId) -> String {
        format!("{}/t/{log}", self.name)
    }

    /// The key of a log, named like its origin.
    pub fn signer(&self, log: TenantId, origin: &str) -> SignerKey {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.seed).expect("HMAC takes keys of any length");
        mac.update(b"rowhouse audit log key v1");
        mac.update(log.0.as_bytes());
        SignerKey::from_seed(origin, &mac.finalize().into_bytes().into())
            .expect("an origin is a key name: no white space, no plus sign")
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Keys({})", self.name)
    }
}
