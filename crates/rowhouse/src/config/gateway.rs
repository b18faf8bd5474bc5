//! `[gateway]`: how a gateway that runs on its own finds the control plane, and what it does without it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Span;

/// `[gateway]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gateway {
    /// Where control planes let nodes in, `host:port`, tried in turn.
    pub control: Vec<String>,
    /// File with the token of `rowhouse node enrol`; needed once.
    pub enrolment_file: Option<PathBuf>,
    /// Without word of the control plane for so long, the directory is stale.
    pub stale_after: Span,
    /// What is done then.
    pub when_stale: WhenStale,
}

/// Of a directory that may have been overtaken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenStale {
    /// Requests are refused.
    #[default]
    Refuse,
    /// Requests are served, and health says so.
    Serve,
}

impl Default for Gateway {
    fn default() -> Self {
        Gateway {
            control: Vec::new(),
            enrolment_file: None,
            stale_after: Span::seconds(24 * 3600),
            when_stale: WhenStale::Refuse,
        }
    }
}
