//! Single sign-on with a browser: where to go, going there, coming back.
//!
//! Going is a GET, so that a link or a tile at the provider leads in; it changes nothing but this browser's cookie.

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use bytes::Bytes;
use jiff::SignedDuration;
use rowhouse_domain::id::{ConnectionId, RequestId};
use rowhouse_domain::refusal::{Refusal, kind};
use serde::Deserialize;
use serde_json::Value;

use super::guard::{self, Browser};
use super::render::{self, Page};
use super::sign_in::{answer, with_form};
use crate::identity::form;
use crate::identity::session::SessionRow;
use crate::identity::sign_in::{Source, Told};
use crate::identity::sso::{self, Answered, Came, Outcome, Purpose};
use crate::{Control, Shared};

/// How fresh a proof must be of who connects, in minutes.
const FRESH: SignedDuration = SignedDuration::from_mins(10);

/// Asks for an address, by whose domain it is known where to go.
pub async fn ask(State(control): State<Shared>, browser: Browser) -> Response {
    with_form(Page::new("sso", "Single sign-on", browser.form()), &browser).send(&control)
}

#[derive(Default, Deserialize)]
struct Entered {
    #[serde(default)]
    form: String,
    #[serde(default)]
    identifier: String,
}

/// Leads on. The same is said to everybody of a domain.
pub async fn lead(State(control): State<Shared>, browser: Browser, source: Source, body: Bytes) -> Response {
    let entered = form::read::<Entered>(&body).unwrap_or_default();
    let page =
        Page::new("sso", "Single sign-on", browser.form()).with("identifier", entered.identifier.as_str());
    match found(&control, &browser, &source, &entered).await {
        Ok(row) => {
            let page = Page::new("sso_go", "Single sign-on", browser.form());
            page.with("provider", row.name.as_str()).with("place", row.start_path()).send(&control)
        }
        Err(refusal) => page.refused(&refusal).send(&control),
    }
}

async fn found(
    control: &Control,
    browser: &Browser,
    source: &Source,
    entered: &Entered,
) -> Result<sso::ConnectionRow, Refusal> {
    browser.check(&entered.form)?;
    control.sign_in_sources.admit(source, "", control.clock().now_us())?;
    let row = sso::by_address(control, &entered.identifier).await?;
    row.ok_or_else(|| {
        Refusal::new(&kind::NOT_FOUND, "No provider is connected for addresses of this domain.")
    })
}

#[derive(Debug, Default, Deserialize)]
pub struct Begin {
    #[serde(default)]
    test: String,
    /// To be asked again by the provider.
    #[serde(default)]
    again: String,
    /// To connect who is signed in.
    #[serde(default)]
    link: String,
}

pub async fn begin(
    State(control): State<Shared>,
    browser: Browser,
    Path(id): Path<String>,
    Query(asked): Query<Begin>,
) -> Response {
    match begun(&control, &browser, &id, &asked).await {
        Ok((cookie, place)) => {
            let mut response = Redirect::to(&place).into_response();
            // The pages that they come back to have forms.
            let cookies = browser.form_cookie().into_iter().chain([guard::sso_cookie(&cookie)]);
            render::set(&mut response, cookies.collect());
            response
        }
        Err(refusal) if refusal.code() == kind::SESSION_ENDED.code => {
            Redirect::to("/account/sign_in").into_response()
        }
        Err(refusal) => Page::new("done", "Single sign-on", browser.form()).refused(&refusal).send(&control),
    }
}

async fn begun(
    control: &Control,
    browser: &Browser,
    id: &str,
    asked: &Begin,
) -> Result<(String, String), Refusal> {
    let none = || Refusal::new(&kind::NOT_FOUND, "There is no such way in.");
    let id = id.parse::<ConnectionId>().map_err(|_| none())?;
    let row = sso::find(control, id).await?.ok_or_else(none)?;
    let purpose = match (asked.test.as_str(), asked.link == "yes", asked.again == "yes") {
        ("", false, false) => Purpose::SignIn,
        ("", false, true) => Purpose::Again,
        ("", true, _) => {
            let ended = || Refusal::new(&kind::SESSION_ENDED, "Sign in first.");
            let session = browser.signed_in(control).await?.ok_or_else(ended)?;
            match is_fresh(control, &session, FRESH) {
                true => Purpose::Link { user: session.user },
                false => return Err(stale()),
            }
        }
        (ticket, ..) => Purpose::Test { version: sso::admitted(control, &row, ticket).ok_or_else(none)? },
    };
    match row.is_active || matches!(purpose, Purpose::Test { .. }) {
        true => Ok(sso::started(control, &row, purpose)),
        false => Err(none()),
    }
}

pub async fn back(
    State(control): State<Shared>,
    Extension(request_id): Extension<RequestId>,
    browser: Browser,
    source: Source,
    Path(id): Path<String>,
    Query(answered): Query<Answered>,
) -> Response {
    let told = Told { flow: "", source: &source, by_cookie: true, trust_device: false, request_id };
    let mut response = match came(&control, &browser, &source, request_id, (&id, &answered)).await {
        Ok(Outcome::SignIn(text, progress)) => {
            let told = Told { flow: &text, ..told };
            answer(&control, &browser, &told, progress).await
        }
        Ok(Outcome::Linked) => Redirect::to("/account").into_response(),
        Ok(Outcome::Tested(result)) => tested(&control, &browser, &result),
        Err(refusal) => Page::new("done", "Single sign-on", browser.form()).refused(&refusal).send(&control),
    };
    render::set(&mut response, vec![guard::no_sso()]);
    response
}

/// Whoever connects has shown who they are by something of their own, a moment ago.
fn is_fresh(control: &Control, session: &SessionRow, within: SignedDuration) -> bool {
    session.evidence.has_own() && control.clock().now().duration_since(session.auth_time) <= within
}

fn stale() -> Refusal {
    Refusal::new(
        &kind::STEP_UP_REQUIRED,
        "Connecting needs a proof of the last ten minutes: sign out, sign in as you did before, and connect then.",
    )
}

async fn came(
    control: &Control,
    browser: &Browser,
    source: &Source,
    request_id: RequestId,
    (id, answered): (&str, &Answered),
) -> Result<Outcome, Refusal> {
    let none = |_| Refusal::new(&kind::NOT_FOUND, "There is no such way in.");
    let connection = id.parse::<ConnectionId>().map_err(none)?;
    let present = browser.signed_in(control).await?;
    // As fresh as it was when they went, and as long as that may take.
    let present = present.filter(|session| is_fresh(control, session, FRESH + FRESH));
    let came = Came {
        connection,
        attempt: browser.sso.as_deref(),
        present: present.map(|session| session.user),
        source,
        request_id,
    };
    sso::answered(control, &came, answered).await
}

fn tested(control: &Control, browser: &Browser, result: &Value) -> Response {
    let ok = result["ok"] == true;
    let text = serde_json::to_string_pretty(result).unwrap_or_default();
    let page = Page::new("sso_tested", "The test of single sign-on", browser.form()).with("result", text);
    match ok {
        true => page.good("It works. Nobody was signed in.").send(control),
        false => page.with("said", result["refused_because"].as_str().unwrap_or_default()).send(control),
    }
}
