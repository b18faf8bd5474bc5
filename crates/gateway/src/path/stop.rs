//! A refusal on its way to the client, with what only HTTP needs.

use http::HeaderValue;
use rowhouse_domain::refusal::{Kind, Refusal, kind};

/// Ends a request early.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) refusal: Refusal,
    /// `Allow`, for 405.
    pub(crate) allow: Option<HeaderValue>,
    /// `Location`, for 308.
    pub(crate) location: Option<HeaderValue>,
    /// Whether nothing more is read from this connection.
    pub(crate) close: bool,
    /// Whether the answer waits until the record is safe from a loss of power.
    pub(crate) synchronous: bool,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        let close = refusal.code() == kind::MALFORMED_REQUEST.code;
        Stop { refusal, allow: None, location: None, close, synchronous: false }
    }
}

impl Stop {
    /// A refusal of `kind`.
    pub(crate) fn new(kind: &'static Kind, detail: impl Into<String>) -> Self {
        Refusal::new(kind, detail).into()
    }

    /// A request that could be understood in more than one way, or in none. Nothing more is read.
    pub(crate) fn malformed(detail: &'static str) -> Self {
        Stop::new(&kind::MALFORMED_REQUEST, detail)
    }
}
