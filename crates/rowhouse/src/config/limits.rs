//! `[limits]`: where gateways count together.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Span;

/// `[limits]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// A Redis; each gateway counts for itself without.
    pub store_url: Option<String>,
    /// Whom to believe of a `rediss://`, a file in PEM; who the system believes if not set.
    pub store_authorities: Option<PathBuf>,
    /// What to show it, by the name of its files among `server.upstream_certificates`; nothing if not set.
    pub store_certificate: Option<String>,
    /// How long a request waits for it.
    pub store_deadline: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            store_url: None,
            store_authorities: None,
            store_certificate: None,
            store_deadline: Span::millis(5),
        }
    }
}
