//! Bodies: strict JSON. Unknown fields are refused (wire types say `deny_unknown_fields`), wrong ones named by
//! JSON pointer. The bytes are kept for the idempotency check.

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use rowhouse_domain::refusal::{Refusal, kind};
use serde::de::DeserializeOwned;

use super::ApiError;

/// Largest body unless an endpoint says otherwise: 1 MiB.
const DEFAULT_MAX: usize = 1024 * 1024;

/// Put into the request's extensions by a route that takes more.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimit(pub usize);

/// A parsed body, and its bytes.
#[derive(Debug)]
pub struct Body<T> {
    /// What it says.
    pub value: T,
    /// As it came.
    pub bytes: Bytes,
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        check_media_type(request.headers())?;
        let limit = request.extensions().get::<BodyLimit>().map_or(DEFAULT_MAX, |limit| limit.0);
        let bytes = axum::body::to_bytes(request.into_body(), limit)
            .await
            .map_err(|_| Refusal::new(&kind::TOO_LARGE, format!("The body is larger than {limit} bytes.")))?;
        Ok(Body { value: parse(&bytes)?, bytes })
    }
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let media = given.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    if media == "application/json" || (media.starts_with("application/") && media.ends_with("+json")) {
        return Ok(());
    }
    Err(Refusal::new(&kind::UNSUPPORTED_MEDIA, format!("`{given}` is not taken here.")))
}

/// Reads `bytes` as `T`. Malformed JSON is 400; a well-formed body of the wrong shape is 422 with the pointer.
/// An empty body is read as `{}`.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let bytes = if bytes.iter().all(u8::is_ascii_whitespace) { b"{}" } else { bytes };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let pointer = pointer(error.path());
        let cause = error.into_inner();
        match cause.classify() {
            serde_json::error::Category::Data => Refusal::new(
                &kind::INVALID,
                "A field of the body is wrong.",
            )
            .field(pointer, "invalid", cause.to_string()),
            _ => Refusal::new(&kind::MALFORMED_JSON, format!("The body is not JSON: {cause}.")),
        }
    })?;
    reader.end().map_err(|_| Refusal::new(&kind::MALFORMED_JSON, "Something follows the JSON value."))?;
    Ok(value)
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    let text = path.to_string();
    if text == "." { String::new() } else { format!("/{}", text.replace(['.', '['], "/").replace(']', "")) }
}
