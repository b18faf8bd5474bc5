//! The page for a code that a program shows: what asks, where it runs, and whether it may.

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use bytes::Bytes;
use jiff::SignedDuration;
use rowhouse_domain::id::RequestId;
use rowhouse_domain::refusal::Refusal;
use serde::Deserialize;

use super::agent;
use super::guard::{self, Browser};
use super::proof::Asks;
use super::render::{Page, set};
use super::sign_in::with_form;
use crate::identity::session::SessionRow;
use crate::identity::{device, form};
use crate::{Control, Shared};

/// How fresh a proof must be of who lets a program in.
const FRESH: SignedDuration = SignedDuration::from_mins(10);

#[derive(Default, Deserialize)]
struct Sent {
    #[serde(default)]
    form: String,
    #[serde(default)]
    step: String,
    #[serde(default)]
    user_code: String,
}

/// Letters, digits and a dash, in capitals: what a code is made of, and nothing else.
fn plain(typed: &str) -> String {
    let fits = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
    typed.chars().filter(fits).take(20).collect::<String>().to_ascii_uppercase()
}

/// The form. The code is typed: one in the address, which somebody else may have sent, is nothing.
pub async fn show(
    State(control): State<Shared>,
    Extension(request_id): Extension<RequestId>,
    browser: Browser,
) -> Response {
    let session = match browser.signed_in(&control).await {
        Ok(Some(session)) => session,
        Ok(None) => return back_here(Redirect::to("/account/sign_in").into_response()),
        Err(refusal) => return entry(&browser, "").refused(&refusal).send(&control),
    };
    match is_fresh(&control, &session) {
        true => with_form(entry(&browser, ""), &browser).send(&control),
        false => stepped_up(&control, &browser, &session, request_id).await,
    }
}

fn is_fresh(control: &Control, session: &SessionRow) -> bool {
    control.clock().now().duration_since(session.auth_time) <= FRESH
}

fn entry(browser: &Browser, code: &str) -> Page {
    Page::new("device", "Sign a program in", browser.form()).with("code", code)
}

fn back_here(mut response: Response) -> Response {
    set(&mut response, vec![guard::return_cookie("/account/device")]);
    response
}

async fn stepped_up(
    control: &Control,
    browser: &Browser,
    session: &SessionRow,
    request_id: RequestId,
) -> Response {
    let asks = Asks { control, browser, session, request_id, page: "/account", draft: String::new() };
    back_here(asks.page().await)
}

pub async fn send(
    State(control): State<Shared>,
    Extension(request_id): Extension<RequestId>,
    browser: Browser,
    body: Bytes,
) -> Response {
    let sent = form::read::<Sent>(&body).unwrap_or_default();
    let code = plain(&sent.user_code);
    let session = match browser.signed_in(&control).await {
        Ok(Some(session)) => session,
        Ok(None) => return back_here(Redirect::to("/account/sign_in").into_response()),
        Err(refusal) => return entry(&browser, &code).refused(&refusal).send(&control),
    };
    if !is_fresh(&control, &session) {
        return stepped_up(&control, &browser, &session, request_id).await;
    }
    match done(&control, &browser, &session, (&sent, &code), request_id).await {
        Ok(page) => page.send(&control),
        Err(refusal) => entry(&browser, &code).refused(&refusal).send(&control),
    }
}

async fn done(
    control: &Control,
    browser: &Browser,
    session: &SessionRow,
    (sent, code): (&Sent, &str),
    request_id: RequestId,
) -> Result<Page, Refusal> {
    browser.check(&sent.form)?;
    let yes = match sent.step.as_str() {
        "yes" => true,
        "no" => false,
        _ => {
            let seen = device::look(control, session, code).await?;
            let page = Page::new("device_asks", "May it sign in as you?", browser.form())
                .with("code", code)
                .with("program", seen.name)
                .with("ip", seen.ip)
                .with("agent", agent::name(&seen.agent))
                .with("is_whole", seen.permissions.is_none())
                .with("permissions", seen.permissions.unwrap_or_default())
                .with("since", seen.created_at.strftime("%H:%M UTC").to_string());
            return Ok(page);
        }
    };
    device::decide(control, session, (code, yes), request_id).await?;
    let said = match yes {
        true => "The program is signed in. You can close this page, and end it on your account's page.",
        false => "The program was told no.",
    };
    Ok(Page::new("done", "Done", browser.form()).good(said).cookie(guard::no_return()))
}
