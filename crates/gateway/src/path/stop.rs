//! A refusal on its way to the client, with what only HTTP needs.

use http::{HeaderMap, HeaderValue};
use rowhouse_domain::refusal::{Kind, Refusal, kind};

/// Ends a request early.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) refusal: Refusal,
    /// `Allow`, for 405.
    pub(crate) allow: Option<HeaderValue>,
    /// Not refused at all: what a browser is told that asked for a page.
    pub(crate) preflight: Option<Box<HeaderMap>>,
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
        Stop { refusal, allow: None, location: None, preflight: None, close, synchronous: false }
    }
}

impl Stop {
    /// A refusal of `kind`.
    pub(crate) fn new(kind: &'static Kind, detail: impl Into<String>) -> Self {
        Refusal::new(kind, detail).into()
    }

    /// A browser's question that is answered with yes.
    pub(crate) fn preflight(headers: HeaderMap) -> Self {
        Stop { preflight: Some(Box::new(headers)), ..Stop::new(&kind::CORS_REFUSED, "A page may ask.") }
    }

    /// A request that could be understood in more than one way, or in none. Nothing more is read.
    pub(crate) fn malformed(detail: &'static str) -> Self {
        Stop::new(&kind::MALFORMED_REQUEST, detail)
    }
}
