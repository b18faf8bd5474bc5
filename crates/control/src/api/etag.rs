//! `ETag` and `If-Match` (RFC 9110 §8.8.3, §13.1.1): strong, the version in quotes.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use rowhouse_domain::refusal::{Refusal, kind};

use super::ApiError;

/// The header of an answer that shows `version`.
pub fn etag(version: i64) -> [(header::HeaderName, HeaderValue); 1] {
    let value = HeaderValue::from_str(&format!("\"{version}\"")).expect("digits in quotes");
    [(header::ETAG, value)]
}

/// What the caller takes for the current version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMatch {
    /// It does not say.
    Unsaid,
    /// Any (`*`).
    Any,
    /// One of these.
    One(Vec<i64>),
}

impl IfMatch {
    /// For what nobody changes without having read it.
    ///
    /// # Errors
    /// 428 `api.precondition_required` if the caller does not say.
    pub fn said(&self) -> Result<&Self, Refusal> {
        match self {
            IfMatch::Unsaid => {
                Err(Refusal::new(&kind::PRECONDITION_REQUIRED, "Say which version you change."))
            }
            said => Ok(said),
        }
    }

    /// Refuses with 412 if the caller takes another version for the current one.
    ///
    /// # Errors
    /// 412 `api.changed_meanwhile`.
    pub fn check(&self, current: i64) -> Result<(), Refusal> {
        match self {
            IfMatch::One(wanted) if !wanted.contains(&current) => {
                Err(Refusal::new(&kind::CHANGED_MEANWHILE, format!("It is at version {current} now.")))
            }
            _ => Ok(()),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if text.trim() == "*" {
            return Some(IfMatch::Any);
        }
        // A weak tag never matches strongly, so it is left out and not an error.
        let tags = text.split(',').map(str::trim).filter(|tag| !tag.starts_with("W/"));
        let version = |tag: &str| tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok();
        tags.map(version).collect::<Option<Vec<_>>>().map(IfMatch::One)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else { return Ok(IfMatch::Unsaid) };
        let parsed = value.to_str().ok().and_then(IfMatch::parse);
        // Some other tag is no version of ours: it cannot match.
        Ok(parsed.unwrap_or(IfMatch::One(Vec::new())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_matched_strongly() {
        for (text, current, fits) in [
            ("\"7\"", 7, true),
            ("\"6\", \"7\"", 7, true),
            ("*", 7, true),
            ("\"6\"", 7, false),
            ("W/\"7\"", 7, false),
        ] {
            let parsed = IfMatch::parse(text).expect("well-formed");
            assert_eq!(parsed.check(current).is_ok(), fits, "{text}");
        }
        assert_eq!(IfMatch::parse("7"), None);
        assert_eq!(IfMatch::Unsaid.said().expect_err("nothing was said").status(), 428);
        assert!(IfMatch::Unsaid.check(1).is_ok() && IfMatch::Any.said().is_ok());
        assert_eq!(IfMatch::One(Vec::new()).check(1).expect_err("no version of ours").status(), 412);
    }
}
