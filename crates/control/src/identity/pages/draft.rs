//! A form that waits for a proof. Somebody fills it in, sends it, and is asked once more who they are: what they typed is kept, and done once
//! they have shown it.
//!
//! It is kept in the very pages that ask, sealed, so that nothing of it is stored here and nothing stands in an address. It opens only for the
//! browser whose own page sent it, on the page it was sent to, for ten minutes, and once: the proof gives the session another secret, and
//! with it the form another token, under which it is sealed no more.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::guard::Browser;
use crate::Control;
use crate::tenancy::Seal;

const PURPOSE: &str = "identity/draft/v1";
/// As long as a proof may take.
const LIFE: SignedDuration = SignedDuration::from_mins(10);
/// Longest form that is kept, in bytes: sealed and written as text it fits into another form.
const MAX: usize = 8 * 1024;

/// Seals what was sent to `page`, whose form was looked at and is ours; empty for what is too long.
pub fn keep(control: &Control, browser: &Browser, page: &str, body: &[u8]) -> String {
    if body.len() > MAX {
        return String::new();
    }
    let until = (control.clock().now() + LIFE).as_second();
    let plain = [until.to_be_bytes().as_slice(), body].concat();
    let seal = Seal::new(&control.settings.sealing_key, PURPOSE);
    URL_SAFE_NO_PAD.encode(seal.seal(control.entropy(), &[page, browser.form()], &plain))
}

/// What was sent, if it still counts.
pub fn open(control: &Control, browser: &Browser, page: &str, text: &str) -> Option<Bytes> {
    let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
    let seal = Seal::new(&control.settings.sealing_key, PURPOSE);
    let plain = seal.open(&[page, browser.form()], &sealed).ok()?;
    let (until, body) = plain.split_first_chunk::<8>()?;
    let until = Timestamp::from_second(i64::from_be_bytes(*until)).ok()?;
    (control.clock().now() < until).then(|| Bytes::copy_from_slice(body))
}
