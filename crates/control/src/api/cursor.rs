//! Cursors: the last key of a page, sealed with caller, path and filter; worthless to anyone else.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use rowhouse_domain::refusal::{Refusal, kind};
use sha2::Sha256;

use crate::Control;

/// A cursor lives this long.
const LIFETIME_S: i64 = 24 * 3600;
const MAC_LENGTH: usize = 16;

/// Seals `last`, the last key of a page, for `query`: everything that must be the same on the next call
/// (tenant scope, path, filter, sort).
pub fn seal(control: &Control, query: &str, last: &str) -> String {
    let expires = control.clock().now_s() + LIFETIME_S;
    let mut bytes = expires.to_be_bytes().to_vec();
    bytes.extend_from_slice(last.as_bytes());
    let mac = mac(control, query, &bytes);
    bytes.extend_from_slice(&mac);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The last key that a cursor for the same `query` holds.
pub fn open(control: &Control, query: &str, cursor: &str) -> Result<String, Refusal> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| invalid())?;
    let split = bytes.len().checked_sub(MAC_LENGTH).filter(|&at| at >= 8).ok_or_else(invalid)?;
    let (sealed, given) = bytes.split_at(split);
    if mac(control, query, sealed) != *given {
        return Err(invalid());
    }
    let expires = i64::from_be_bytes(sealed[..8].try_into().expect("eight bytes"));
    if control.clock().now_s() >= expires {
        return Err(invalid());
    }
    String::from_utf8(sealed[8..].to_vec()).map_err(|_| invalid())
}

/// The id that a list for `query` goes on after, if there is a cursor.
pub fn after<T: FromStr>(control: &Control, query: &str, cursor: Option<&str>) -> Result<Option<T>, Refusal> {
    let last = cursor.map(|cursor| open(control, query, cursor)).transpose()?;
    last.map(|id| id.parse().map_err(|_| invalid())).transpose()
}

/// Makes a page of `rows`, of which one more than `size` was asked for: cuts that one off, and answers the cursor to
/// go on with if it was there. `key` is what the list is ordered by.
pub fn cut<T>(
    control: &Control,
    query: &str,
    rows: &mut Vec<T>,
    size: i64,
    key: impl Fn(&T) -> String,
) -> Option<String> {
    let size = usize::try_from(size).expect("pages are small");
    let more = rows.len() > size;
    rows.truncate(size);
    rows.last().filter(|_| more).map(|last| seal(control, query, &key(last)))
}

fn invalid() -> Refusal {
    Refusal::new(&kind::CURSOR_INVALID, "The cursor is not of this query.")
}

fn mac(control: &Control, query: &str, sealed: &[u8]) -> [u8; MAC_LENGTH] {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(&control.settings.cursor_key).expect("HMAC takes keys of any length");
    mac.update(&(query.len() as u64).to_be_bytes());
    mac.update(query.as_bytes());
    mac.update(sealed);
    mac.finalize().into_bytes()[..MAC_LENGTH].try_into().expect("a digest of 32 bytes")
}
