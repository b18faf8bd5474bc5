//! Pages behind links in mail. Opening one looks at nothing and uses nothing up; sending its form does.

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use bytes::Bytes;
use rowhouse_domain::id::RequestId;
use rowhouse_domain::refusal::Refusal;
use serde::Deserialize;

use super::guard::Browser;
use super::render::Page;
use crate::identity::sign_in::{Source, forgotten, set_by_link, unlock as open_lock};
use crate::identity::{email as address, form};
use crate::{Control, Shared};

#[derive(Default, Deserialize)]
pub struct Link {
    #[serde(default)]
    token: String,
}

#[derive(Default, Deserialize)]
struct Sent {
    #[serde(default)]
    form: String,
    #[serde(default)]
    token: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: String,
}

fn page(view: &'static str, title: &str, browser: &Browser, token: &str) -> Page {
    let page = Page::new(view, title, browser.form()).with("token", token);
    browser.form_cookie().into_iter().fold(page, Page::cookie)
}

pub async fn reset_form(
    State(control): State<Shared>,
    browser: Browser,
    Query(link): Query<Link>,
) -> Response {
    page("reset", "A new password", &browser, &link.token).send(&control)
}

pub async fn reset(
    State(control): State<Shared>,
    Extension(request_id): Extension<RequestId>,
    browser: Browser,
    source: Source,
    body: Bytes,
) -> Response {
    let sent = form::read::<Sent>(&body).unwrap_or_default();
    match reset_or_ask(&control, &browser, &source, &sent, request_id).await {
        Ok(said) => page("done", "A new password", &browser, "").good(said).send(&control),
        Err(refusal) => {
            let token = if refusal.status() == 410 { "" } else { &sent.token };
            page("reset", "Not yet", &browser, token).refused(&refusal).send(&control)
        }
    }
}

async fn reset_or_ask(
    control: &Control,
    browser: &Browser,
    source: &Source,
    sent: &Sent,
    request_id: RequestId,
) -> Result<&'static str, Refusal> {
    browser.check(&sent.form)?;
    if sent.token.is_empty() {
        forgotten(control, &sent.email, source).await?;
        return Ok("If somebody here has this address, a link is on its way to it.");
    }
    set_by_link(control, &sent.token, &sent.password, request_id).await?;
    Ok("The password is set. Sign in with it.")
}

/// What the two links about an address say.
fn email_words(step: &str) -> (&'static str, &'static str) {
    match step {
        "keep" => (
            "Keep the address as it was",
            "Your address is as it was, and all sessions have ended. Sign in, and set a new password.",
        ),
        _ => ("Confirm your new address", "This is your address now. Use it to sign in."),
    }
}

pub async fn email_form(
    State(control): State<Shared>,
    browser: Browser,
    Path(step): Path<String>,
    Query(link): Query<Link>,
) -> Response {
    page("email", email_words(&step).0, &browser, &link.token).send(&control)
}

pub async fn email(
    State(control): State<Shared>,
    Extension(request_id): Extension<RequestId>,
    browser: Browser,
    Path(step): Path<String>,
    body: Bytes,
) -> Response {
    let sent = form::read::<Sent>(&body).unwrap_or_default();
    let done = match (browser.check(&sent.form), step.as_str()) {
        (Err(refusal), _) => Err(refusal),
        (Ok(()), "keep") => address::keep(&control, &sent.token, request_id).await,
        (Ok(()), _) => address::confirm(&control, &sent.token, request_id).await,
    };
    let (title, said) = email_words(&step);
    match done {
        Ok(()) => page("done", title, &browser, "").good(said).send(&control),
        Err(refusal) => page("done", "Not yet", &browser, "").refused(&refusal).send(&control),
    }
}

pub async fn unlock_form(
    State(control): State<Shared>,
    browser: Browser,
    Query(link): Query<Link>,
) -> Response {
    page("unlock", "Unlock", &browser, &link.token).send(&control)
}

pub async fn unlock(
    State(control): State<Shared>,
    Extension(request_id): Extension<RequestId>,
    browser: Browser,
    body: Bytes,
) -> Response {
    let sent = form::read::<Sent>(&body).unwrap_or_default();
    let done = match browser.check(&sent.form) {
        Ok(()) => open_lock(&control, &sent.token, request_id).await,
        Err(refusal) => Err(refusal),
    };
    match done {
        Ok(()) => {
            page("done", "Unlocked", &browser, "").good("Your password is looked at again.").send(&control)
        }
        Err(refusal) => page("done", "Not yet", &browser, "").refused(&refusal).send(&control),
    }
}
