//! `[limits]`: where gateways count together.

use serde::{Deserialize, Serialize};

use super::Span;

/// `[limits]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// A Redis; each gateway counts for itself without.
    pub store_url: Option<String>,
    /// How long a request waits for it.
    pub store_deadline: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { store_url: None, store_deadline: Span::millis(5) }
    }
}
