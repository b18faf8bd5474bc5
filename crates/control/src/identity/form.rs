//! Forms (`application/x-www-form-urlencoded`): written as the query of an address is, and read as one.

use axum::extract::Query;
use axum::http::Uri;
use bytes::Bytes;
use serde::de::DeserializeOwned;

/// Longest form.
pub const FORM_MAX: usize = 16 * 1024;

/// Reads one; `None` for what is none, or too long.
pub fn read<T: DeserializeOwned>(body: &Bytes) -> Option<T> {
    let text = std::str::from_utf8(body).ok().filter(|text| text.len() <= FORM_MAX)?;
    let uri: Uri = format!("/?{text}").parse().ok()?;
    Query::<T>::try_from_uri(&uri).ok().map(|form| form.0)
}

/// Writes one.
pub fn write(fields: &[(&str, &str)]) -> String {
    let pairs = fields.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// Escapes all but unreserved characters (RFC 3986 §2.3).
pub fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
