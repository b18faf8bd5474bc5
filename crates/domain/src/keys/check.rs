//! The check of a presented key, the same in both planes. No database, no network.

use std::sync::Arc;

use super::{KeyText, Peppers};
use crate::directory::{Directory, Key};
use crate::refusal::{Refusal, kind};

/// The key that `text` claims to be, **not yet verified**: for the tenant signal and limits only.
/// `None` for a text without grammar or checksum, and for an unknown public id.
pub fn look_up<'d>(directory: &'d Directory, text: &str) -> Option<&'d Arc<Key>> {
    directory.keys.get(&KeyText::parse(text).ok()?.public_id)
}

/// Verifies `text` in the order grammar, look-up, digest, standing. `malformed`, `not_found` and
/// `wrong_secret` look alike from outside; the private detail tells them apart.
pub fn check<'d>(
    directory: &'d Directory,
    peppers: &Peppers,
    text: &str,
    now_us: i64,
) -> Result<&'d Arc<Key>, Refusal> {
    let invalid = |why| Refusal::new(&kind::KEY_INVALID, "The API key is not valid.").private(why);
    let parsed = KeyText::parse(text).map_err(|_| invalid("malformed"))?;
    let Some(key) = directory.keys.get(&parsed.public_id) else {
        peppers.waste(text);
        return Err(invalid("not_found"));
    };
    if !peppers.matches(text, key.pepper, &key.digest) {
        return Err(invalid("wrong_secret"));
    }
    match key.standing.refuses(now_us) {
        Some(kind) => Err(Refusal::new(kind, format!("{}.", kind.title))),
        None => Ok(key),
    }
}
