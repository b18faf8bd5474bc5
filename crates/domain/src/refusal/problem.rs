//! The body of a refusal: `application/problem+json` (RFC 9457).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Fault, FieldError, Refusal};

/// The media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";
/// draft-ietf-httpapi-ratelimit-headers §"Problem Types".
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";
/// The same: the limits themselves cannot be counted.
const REDUCED_CAPACITY: &str = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity";

/// A problem as it stands on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A URI of the kind.
    #[serde(rename = "type")]
    pub type_uri: String,
    /// Short words for the kind.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// Stable code.
    pub code: String,
    /// The words for this case.
    pub detail: String,
    /// Whose fault it is.
    pub fault: Fault,
    /// `request_…`, to be quoted to support.
    pub request_id: String,
    /// Every wrong field, not just the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// All visible limits that refused.
    #[serde(rename = "violated-policies", default, skip_serializing_if = "Vec::is_empty")]
    pub violated_policies: Vec<String>,
    /// What to do.
    pub next: String,
    /// When to come back, in seconds.
    pub retry_after_s: Option<u32>,
    /// What else this refusal tells (RFC 9457 §3.2).
    #[serde(flatten)]
    pub members: BTreeMap<String, Value>,
}

impl Problem {
    /// The problem of `refusal`. `docs` is where the catalogue is served, without a slash at the end.
    pub fn new(refusal: &Refusal, docs: &str, request_id: String) -> Self {
        let parts = &refusal.0;
        let type_uri = match parts.kind.status {
            429 => QUOTA_EXCEEDED.to_owned(),
            503 if parts.kind.code == "limits.unavailable" => REDUCED_CAPACITY.to_owned(),
            _ => format!("{docs}/docs/errors/{}", parts.kind.code),
        };
        Problem {
            type_uri,
            title: parts.kind.title.to_owned(),
            status: parts.kind.status,
            code: parts.kind.code.to_owned(),
            detail: parts.detail.clone(),
            fault: parts.kind.fault,
            request_id,
            errors: parts.errors.clone(),
            violated_policies: parts.violated.clone(),
            next: parts.next.clone().unwrap_or_else(|| parts.kind.cure.to_owned()),
            retry_after_s: parts.retry_after_s,
            members: parts.members.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        }
    }

    /// The body's bytes.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a problem has only text and numbers")
    }
}
