//! A "no" with its reason: one declared kind for each, the words for this case, and what to do next.
//!
//! Both planes answer refusals as RFC 9457 problems with the same body. What must not leave the house
//! (`private`) is kept apart and only logged. A kind that is not in the catalogue does not compile.

mod catalogue;
mod problem;

pub use catalogue::{ALL, kind, kind_by_code};
pub use problem::{MEDIA_TYPE, Problem};
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The caller asked for what cannot be had.
    Caller,
    /// The service behind the gateway failed.
    Upstream,
    /// A bug or an outage of ours.
    Ours,
}

/// One kind of refusal: the stable part.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// `<feature>.<what>`, stable for ever.
    pub code: &'static str,
    /// HTTP status.
    pub status: u16,
    /// Whose fault it is.
    pub fault: Fault,
    /// Short words for the kind.
    pub title: &'static str,
    /// What to do about it.
    pub cure: &'static str,
}

/// A wrong field of a request, by JSON pointer (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// Where, as in `/billing/email`.
    pub pointer: String,
    /// A short stable word, as in `taken`.
    pub code: String,
    /// What would be right.
    pub detail: String,
}

/// A refusal of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(Box<Parts>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Parts {
    kind: &'static Kind,
    detail: String,
    next: Option<String>,
    errors: Vec<FieldError>,
    retry_after_s: Option<u32>,
    violated: Vec<String>,
    private: Option<String>,
    members: BTreeMap<&'static str, Value>,
}

impl Refusal {
    /// The same with what it is about in front of its words.
    pub fn about(mut self, subject: impl std::fmt::Display) -> Self {
        self.0.detail = format!("{subject}: {}", self.0.detail);
        self
    }

    /// A refusal of `kind`; `detail` is for people and never carries internals.
    pub fn new(kind: &'static Kind, detail: impl Into<String>) -> Self {
        Refusal(Box::new(Parts {
            kind,
            detail: detail.into(),
            next: None,
            errors: Vec::new(),
            retry_after_s: None,
            violated: Vec::new(),
            private: None,
            members: BTreeMap::new(),
        }))
    }

    /// Says what to do in this case, instead of the kind's general cure.
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.0.next = Some(next.into());
        self
    }

    /// When to come back, in whole seconds.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after_s = Some(seconds);
        self
    }

    /// Names a wrong field.
    pub fn field(mut self, pointer: impl Into<String>, code: &str, detail: impl Into<String>) -> Self {
        self.0.errors.push(FieldError {
            pointer: pointer.into(),
            code: code.to_owned(),
            detail: detail.into(),
        });
        self
    }

    /// Names a limit or quota that refused.
    pub fn violates(mut self, policy: impl Into<String>) -> Self {
        self.0.violated.push(policy.into());
        self
    }

    /// Adds a member to the problem, as figures that explain it (RFC 9457 §3.2).
    pub fn member(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.members.insert(name, value.into());
        self
    }

    /// Keeps a detail for the log and the record; it never reaches the caller.
    pub fn private(mut self, detail: impl Into<String>) -> Self {
        self.0.private = Some(detail.into());
        self
    }

    /// The stable part.
    pub fn kind(&self) -> &'static Kind {
        self.0.kind
    }
    /// What a 401 says about how to do better, in `WWW-Authenticate` (RFC 6750 §3); `None` for another status.
    pub fn challenge(&self) -> Option<&'static str> {
        match self.0.kind {
            kind if kind.status != 401 => None,
            kind if kind.code == kind::NO_CREDENTIALS.code => Some("Bearer"),
            kind if kind.code == kind::AMBIGUOUS_CREDENTIALS.code => Some("Bearer error=\"invalid_request\""),
            // RFC 9470 §3.
            kind if kind.code == kind::STEP_UP_REQUIRED.code => Some(
                "Bearer error=\"insufficient_user_authentication\", error_description=\"prove once more who you are\", max_age=600",
            ),
            _ => Some("Bearer error=\"invalid_token\""),
        }
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.0.kind.code
    }
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.0.kind.status
    }
    /// The words for this case.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }
    /// When to come back.
    pub fn retry_after_s(&self) -> Option<u32> {
        self.0.retry_after_s
    }
    /// What only the log may know.
    pub fn private_detail(&self) -> Option<&str> {
        self.0.private.as_deref()
    }
    /// The wrong fields named so far.
    pub fn errors(&self) -> &[FieldError] {
        &self.0.errors
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}: {}", self.code(), self.detail())
    }
}

impl std::error::Error for Refusal {}
