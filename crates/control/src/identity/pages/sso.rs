//! Single sign-on with a browser: where to go, going there, coming back.
//!
//! Going is a GET, so that a link or a tile at the provider leads in; it changes nothing but this browser's cookie. Whoever is signed in
//! already is asked first on a page that names provider and tenant, whose form only this site has: a link on any page makes nobody
//! somebody else, and connects nobody's account with a stranger's.

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use bytes::Bytes;
use jiff::SignedDuration;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{ConnectionId, RequestId};
use rowhouse_domain::refusal::{Refusal, kind};
use serde::Deserialize;
use serde_json::Value;

use super::guard::{self, Browser};
use super::render::{self, Page};
use super::sign_in::{answer, with_form};
use super::sso_report;
use crate::identity::application::place;
use crate::identity::session::SessionRow;
use crate::identity::sign_in::{Source, Told};
use crate::identity::sso::{self, Answered, Came, Outcome, Purpose};
use crate::identity::{form, queries as people};
use crate::{Control, Shared, tenancy};

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
    let row = sso::lead(control, source, (entered.identifier.as_str(), "")).await?;
    row.ok_or_else(|| {
        Refusal::new(&kind::NOT_FOUND, "No provider is connected for addresses of this domain.")
    })
}

#[derive(Debug, Default, Deserialize)]
pub struct Begin {
    #[serde(default)]
    test: String,
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
    sent_on(&control, &browser, begun(&control, &browser, &id, &asked).await)
}

/// Goes on, as the page says that asked.
pub async fn go(
    State(control): State<Shared>,
    browser: Browser,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    let said = form::read::<Said>(&body).unwrap_or_default();
    sent_on(&control, &browser, gone(&control, &browser, &id, &said).await)
}

fn sent_on(control: &Control, browser: &Browser, begun: Result<Begun, Refusal>) -> Response {
    match begun {
        Ok(Begun::Go(row, purpose)) => {
            let (cookie, place) = sso::started(control, &row, purpose);
            let mut response = Redirect::to(&place).into_response();
            // The pages that they come back to have forms.
            let cookies = browser.form_cookie().into_iter().chain([guard::sso_cookie(&cookie)]);
            render::set(&mut response, cookies.collect());
            response
        }
        Ok(Begun::Ask(page)) => with_form(*page, browser).send(control),
        Err(refusal) if refusal.code() == kind::SESSION_ENDED.code => {
            Redirect::to("/account/sign_in").into_response()
        }
        Err(refusal) => not_in(browser, &refusal).send(control),
    }
}

/// What somebody sees who does not get in by a provider, with the way back.
fn not_in(browser: &Browser, refusal: &Refusal) -> Page {
    let page = Page::new("sso_failed", "Single sign-on did not work", browser.form());
    page.with("is_provider", refusal.code() == kind::SSO_PROVIDER.code).refused(refusal)
}

/// What an administrator sees whose test did not get through.
fn failed_test(browser: &Browser) -> Page {
    Page::new("sso_tested", "The test of single sign-on did not get through", browser.form())
}

/// What going begins with.
enum Begun {
    Go(Box<sso::ConnectionRow>, Purpose),
    /// Somebody is signed in in this browser: they say first that they mean it.
    Ask(Box<Page>),
}

/// What the form of the page says.
#[derive(Debug, Default, Deserialize)]
struct Said {
    #[serde(default)]
    form: String,
    #[serde(default)]
    step: String,
}

fn no_way() -> Refusal {
    Refusal::new(&kind::NOT_FOUND, "There is no such way in.")
}

async fn way(control: &Control, id: &str) -> Result<sso::ConnectionRow, Refusal> {
    let id = id.parse::<ConnectionId>().map_err(|_| no_way())?;
    sso::find(control, id).await?.ok_or_else(no_way)
}

async fn begun(control: &Control, browser: &Browser, id: &str, asked: &Begin) -> Result<Begun, Refusal> {
    let row = way(control, id).await?;
    if !asked.test.is_empty() {
        let version = sso::admitted(control, &row, &asked.test).ok_or_else(no_way)?;
        return Ok(Begun::Go(Box::new(row), Purpose::Test { version }));
    }
    if !row.is_active {
        return Err(no_way());
    }
    match (browser.signed_in(control).await?, asked.link == "yes") {
        (None, false) => Ok(Begun::Go(Box::new(row), Purpose::SignIn)),
        (None, true) => Err(sign_in_first()),
        (Some(session), is_link) => {
            if is_link {
                may_connect(control, &row, &session)?;
            }
            Ok(Begun::Ask(Box::new(question(control, browser, &row, &session, is_link).await?)))
        }
    }
}

async fn gone(control: &Control, browser: &Browser, id: &str, said: &Said) -> Result<Begun, Refusal> {
    browser.check(&said.form)?;
    let row = way(control, id).await?;
    if !row.is_active {
        return Err(no_way());
    }
    let purpose = match said.step.as_str() {
        "sign_in" => Purpose::SignIn,
        "link" => {
            let session = browser.signed_in(control).await?.ok_or_else(sign_in_first)?;
            may_connect(control, &row, &session)?;
            Purpose::Link { user: session.user }
        }
        _ => return Err(Refusal::new(&kind::INVALID, "The form is not complete.")),
    };
    Ok(Begun::Go(Box::new(row), purpose))
}

/// Whoever connects is signed in to that tenant, and has shown a moment ago who they are by something of their own.
fn may_connect(control: &Control, row: &sso::ConnectionRow, session: &SessionRow) -> Result<(), Refusal> {
    if session.tenant != row.tenant {
        let words = "The provider is of another organisation than the one you are signed in to. Sign in there, and connect then.";
        return Err(Refusal::new(&kind::SSO_REFUSED, words));
    }
    match is_fresh(control, session, FRESH) {
        true => Ok(()),
        false => Err(stale()),
    }
}

async fn question(
    control: &Control,
    browser: &Browser,
    row: &sso::ConnectionRow,
    session: &SessionRow,
    is_link: bool,
) -> Result<Page, Refusal> {
    let transaction = control.store.read(&Permit::for_system(None, "who goes to which provider")).await?;
    let user = people::find_user(&transaction, session.user).await?;
    let mut names = Vec::new();
    for tenant in [row.tenant, session.tenant] {
        let record = tenancy::get(&transaction, tenant).await?;
        names.push(record.map(|record| record.tenant.company_name).unwrap_or_default());
    }
    transaction.finish().await?;
    let person = user.and_then(|user| user.email.or(Some(user.full_name))).unwrap_or_default();
    let origin = place(&row.discovery.authorization_endpoint);
    let (step, title) = match is_link {
        true => ("link", "Connect your account?"),
        false => ("sign_in", "Sign in as somebody else?"),
    };
    let page = Page::new("sso_ask", title, browser.form()).with("step", step).with("person", person);
    let page = page.with("tenant", names.remove(0)).with("present", names.remove(0));
    let page = page.with("provider", row.name.as_str()).with("place", row.start_path());
    Ok(page.with("origin", origin.as_str()).leads_to(&origin))
}

fn sign_in_first() -> Refusal {
    Refusal::new(&kind::SESSION_ENDED, "Sign in first.")
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
        Err(refusal) if sso::is_test(&control, browser.sso.as_deref()) => {
            failed_test(&browser).refused(&refusal).send(&control)
        }
        Err(refusal) => not_in(&browser, &refusal).send(&control),
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
        present: present.map(|session| (session.tenant, session.user)),
        source,
        request_id,
    };
    sso::answered(control, &came, answered).await
}

fn tested(control: &Control, browser: &Browser, result: &Value) -> Response {
    let ok = result["ok"] == true;
    let page = match ok {
        true => Page::new("sso_tested", "The test of single sign-on", browser.form())
            .good("It works. Nobody was signed in."),
        false => failed_test(browser).with("said", result["refused_because"].as_str().unwrap_or_default()),
    };
    let lines = sso_report::lines(result).into_iter().map(|(title, text)| vec![title.to_owned(), text]);
    let page = page.with("lines", lines.collect::<Vec<_>>()).with("warnings", sso_report::warnings(result));
    page.with("claims", sso_report::claims(result)).send(control)
}
