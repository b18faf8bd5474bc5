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
            .field(pointer, "invalid", in_plain_words(&cause.to_string())),
            _ => Refusal::new(&kind::MALFORMED_JSON, format!("The body is not JSON: {cause}.")),
        }
    })?;
    reader.end().map_err(|_| Refusal::new(&kind::MALFORMED_JSON, "Something follows the JSON value."))?;
    Ok(value)
}

/// What is wrong with a value, without the words of the program that reads it: no names of types, no place in the text (the pointer says
/// where).
pub(super) fn in_plain_words(cause: &str) -> String {
    let cause = cause.rsplit_once(" at line ").map_or(cause, |(cause, _)| cause);
    let cause = cause.strip_prefix("Failed to deserialize query string: ").unwrap_or(cause);
    if let Some(name) = cause.strip_prefix("missing field ") {
        return format!("{name} is missing");
    }
    for (prefix, words) in [("unknown field ", "there is no"), ("unknown variant ", "not a value for this:")]
    {
        if let Some((found, known)) =
            cause.strip_prefix(prefix).and_then(|rest| rest.split_once(", expected "))
        {
            let known = known.trim_start_matches("one of ");
            return format!("{words} {found}; known: {known}");
        }
    }
    match cause.split_once(", expected ") {
        Some((found, wanted)) if found.starts_with("invalid ") => format!("expected {}", kind_of(wanted)),
        _ => cause.to_owned(),
    }
}

/// A kind of JSON value, by the name that the reader has for it.
fn kind_of(wanted: &str) -> String {
    let first = wanted.split(' ').next().unwrap_or_default();
    match first {
        "struct" | "map" | "enum" | "internally" | "adjacently" => "an object".to_owned(),
        "sequence" | "tuple" => "a list".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "unit" => "nothing".to_owned(),
        "option" => "a value or null".to_owned(),
        "a" if wanted.contains("string") => "text".to_owned(),
        "a" if wanted.starts_with("a sequence") => "a list".to_owned(),
        "a" if wanted.starts_with("a map") => "an object".to_owned(),
        "a" if wanted.starts_with("a boolean") => "true or false".to_owned(),
        _ => wanted.to_owned(),
    }
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    let text = path.to_string();
    if text == "." { String::new() } else { format!("/{}", text.replace(['.', '['], "/").replace(']', "")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_words_are_not_told() {
        for (cause, words) in [
            ("missing field `name` at line 1 column 2", "`name` is missing"),
            (
                "unknown field `colour`, expected one of `a`, `b` at line 1 column 9",
                "there is no `colour`; known: `a`, `b`",
            ),
            ("unknown field `x`, expected `a`", "there is no `x`; known: `a`"),
            (
                "unknown variant `x`, expected `a` or `b` at line 3 column 1",
                "not a value for this: `x`; known: `a` or `b`",
            ),
            ("invalid type: string \"x\", expected struct KeyBody at line 1 column 3", "expected an object"),
            ("invalid type: integer `1`, expected a string at line 1 column 3", "expected text"),
            ("invalid type: null, expected a sequence at line 1 column 3", "expected a list"),
            ("invalid value: integer `-1`, expected u32 at line 1 column 3", "expected a whole number"),
            ("invalid type: string \"x\", expected a boolean at line 1 column 3", "expected true or false"),
            (
                "Failed to deserialize query string: unknown field `colour`, expected `tenant`",
                "there is no `colour`; known: `tenant`",
            ),
            ("a reason of our own at line 4 column 7", "a reason of our own"),
        ] {
            assert_eq!(in_plain_words(cause), words);
        }
    }
}
