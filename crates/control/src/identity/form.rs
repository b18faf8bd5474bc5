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
