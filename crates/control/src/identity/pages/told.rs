//! What a form did, told on the page that the browser is sent to next (303, RFC 9110 §15.4.4): loading that page again, or going back to it,
//! sends nothing a second time.
//!
//! The sentence travels in a cookie, sealed: it is one of ours, it opens only in the browser whose form it answers, for a minute, and
//! the page that shows it takes it away. What is shown once only (a key, recovery codes) never travels so.

use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};

use super::guard::{self, Browser};
use super::render::{self, Page};
use crate::Control;
use crate::tenancy::Seal;

const PURPOSE: &str = "identity/told/v1";
/// Time for a browser to follow.
const LIFE: SignedDuration = SignedDuration::from_mins(1);

/// Sends the browser to a page of ours, which says `good`; nothing if that is empty.
pub fn sent_to(control: &Control, browser: &Browser, place: &str, good: &str) -> Response {
    let mut response = Redirect::to(place).into_response();
    if !good.is_empty() {
        let until = (control.clock().now() + LIFE).as_second();
        let plain = [until.to_be_bytes().as_slice(), good.as_bytes()].concat();
        let seal = Seal::new(&control.settings.sealing_key, PURPOSE);
        let sealed = seal.seal(control.entropy(), &[browser.form()], &plain);
        render::set(&mut response, vec![guard::told_cookie(&URL_SAFE_NO_PAD.encode(sealed))]);
    }
    response
}

/// The page with what is to be told on it, which is told once.
pub fn on(page: Page, control: &Control, browser: &Browser) -> Page {
    if browser.told.is_none() {
        return page;
    }
    let page = page.cookie(guard::no_told());
    match opened(control, browser) {
        Some(good) => page.good(&good),
        None => page,
    }
}

fn opened(control: &Control, browser: &Browser) -> Option<String> {
    let sealed = URL_SAFE_NO_PAD.decode(browser.told.as_deref()?).ok()?;
    let seal = Seal::new(&control.settings.sealing_key, PURPOSE);
    let plain = seal.open(&[browser.form()], &sealed).ok()?;
    let (until, good) = plain.split_first_chunk::<8>()?;
    let until = Timestamp::from_second(i64::from_be_bytes(*until)).ok()?;
    (control.clock().now() < until).then(|| String::from_utf8_lossy(good).into_owned())
}
