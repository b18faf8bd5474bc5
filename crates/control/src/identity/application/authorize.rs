//! `/oauth2/authorize`: a person sees who asks, and says yes or no. Whatever is wrong with the application or its address is told on our
//! page; only what is right is ever sent back to it.

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use bytes::Bytes;
use jiff::SignedDuration;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{ApplicationId, OPERATOR_TENANT, RequestId};
use rowhouse_domain::identity::token::Subject;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::Change;
use serde::Deserialize;
use serde_json::json;

use super::exchange::CODE;
use super::queries::{self, ApplicationRow, CodeRow};
use super::redirect;
use crate::identity::pages::{Browser, Page, cookies, return_cookie};
use crate::identity::session::SessionRow;
use crate::identity::{form, token};
use crate::{Control, Shared, tenancy};

const CODE_LIFE: SignedDuration = SignedDuration::from_secs(60);
const STATE_MAX: usize = 1_024;
/// Scopes that say what is told of the person.
const TOLD: [&str; 3] = ["openid", "profile", "email"];

/// What is asked; on the way back from our page, with the answer.
#[derive(Debug, Default, Deserialize)]
struct Asked {
    #[serde(default)]
    response_type: String,
    #[serde(default)]
    client_id: String,
    #[serde(default)]
    redirect_uri: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    code_challenge: String,
    #[serde(default)]
    code_challenge_method: String,
    #[serde(default)]
    nonce: String,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    form: String,
    #[serde(default)]
    decision: String,
}

pub async fn show(State(control): State<Shared>, browser: Browser, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    match shown(&control, &browser, &query).await {
        Ok(response) => response,
        Err(refusal) => Page::new("done", "Not possible", browser.form()).refused(&refusal).send(&control),
    }
}

async fn shown(control: &Control, browser: &Browser, query: &str) -> Result<Response, Refusal> {
    let asked = form::read::<Asked>(&Bytes::from(query.to_owned())).ok_or_else(malformed)?;
    let application = application_of(control, &asked).await?;
    if let Some(error) = fault_of(&asked) {
        return Ok(back(control, &asked, &[("error", error)]));
    }
    let Some(session) = browser.signed_in(control).await? else {
        let mut response = Redirect::to("/account/sign_in").into_response();
        cookies(&mut response, vec![return_cookie(&format!("/oauth2/authorize?{query}"))]);
        return Ok(response);
    };
    may_use(&application, &session)?;
    let scope = given(&application, &asked.scope);
    let transaction = control.store.read(&Permit::for_system(None, "who asks for a person")).await?;
    let tenant = tenancy::get(&transaction, session.tenant).await?;
    transaction.finish().await?;
    let page = Page::new("authorize", "May it sign in as you?", browser.form())
        .with("application", application.name)
        .with("tenant", tenant.map(|record| record.tenant.company_name).unwrap_or_default())
        .with("place", redirect::place(&asked.redirect_uri))
        .with("client_id", asked.client_id.as_str())
        .with("redirect_uri", asked.redirect_uri.as_str())
        .with("state", asked.state.as_str())
        .with("code_challenge", asked.code_challenge.as_str())
        .with("nonce", asked.nonce.as_str())
        .with("permissions", permissions_of(&scope))
        .with("tells", told_of(&scope))
        .with("scope", scope);
    let page = match browser.form_cookie() {
        Some(cookie) => page.cookie(cookie),
        None => page,
    };
    Ok(page.leads_to(&redirect::place(&asked.redirect_uri)).send(control))
}

pub async fn decide(
    State(control): State<Shared>,
    Extension(request_id): Extension<RequestId>,
    browser: Browser,
    body: Bytes,
) -> Response {
    match decided(&control, &browser, &body, request_id).await {
        Ok(response) => response,
        Err(refusal) => Page::new("done", "Not possible", browser.form()).refused(&refusal).send(&control),
    }
}

async fn decided(
    control: &Control,
    browser: &Browser,
    body: &Bytes,
    request_id: RequestId,
) -> Result<Response, Refusal> {
    let mut asked = form::read::<Asked>(body).ok_or_else(malformed)?;
    browser.check(&asked.form)?;
    asked.response_type = "code".to_owned();
    asked.code_challenge_method = "S256".to_owned();
    let application = application_of(control, &asked).await?;
    if let Some(error) = fault_of(&asked) {
        return Ok(back(control, &asked, &[("error", error)]));
    }
    let ended = || Refusal::new(&kind::SESSION_ENDED, "The session has ended.");
    let session = browser.signed_in(control).await?.ok_or_else(ended)?;
    may_use(&application, &session)?;
    if asked.decision != "yes" {
        return Ok(back(control, &asked, &[("error", "access_denied")]));
    }
    let (text, digest) = token::make(control, CODE);
    let code = CodeRow {
        application: application.id,
        tenant: session.tenant,
        user: session.user,
        session: session.id,
        evidence: session.evidence,
        redirect_uri: asked.redirect_uri.clone(),
        challenge: asked.code_challenge.clone(),
        nonce: asked.nonce.clone(),
        scope: given(&application, &asked.scope),
        expires_at: control.clock().now() + CODE_LIFE,
        used_for: None,
    };
    let transaction = control.store.write(&Permit::for_system(None, "a code for an application")).await?;
    queries::put_code(&transaction, &digest, &code).await?;
    let by = Subject::User(code.user).principal();
    let change = Change::new(code.tenant, "identity.application_allowed", "create", by).on("user", code.user);
    transaction
        .commit(
            change
                .on("application", code.application)
                .details(json!({ "scope": code.scope }))
                .request(request_id),
        )
        .await?;
    Ok(back(control, &asked, &[("code", &text)]))
}

/// The application that asks, if the address is one of its own, letter by letter.
async fn application_of(control: &Control, asked: &Asked) -> Result<ApplicationRow, Refusal> {
    let unknown = || Refusal::new(&kind::INVALID, "No application is registered with this id and address.");
    let id = asked.client_id.parse::<ApplicationId>().map_err(|_| unknown())?;
    let transaction = control.store.read(&Permit::for_system(None, "an application that asks")).await?;
    let found = queries::one(&transaction, id).await?;
    transaction.finish().await?;
    found.filter(|own| own.redirect_uris.contains(&asked.redirect_uri)).ok_or_else(unknown)
}

/// What is told to the application (RFC 6749 §4.1.2.1).
fn fault_of(asked: &Asked) -> Option<&'static str> {
    let challenge = &asked.code_challenge;
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_challenge = challenge.len() == 43 && challenge.bytes().all(letter);
    match (asked.response_type.as_str(), asked.code_challenge_method.as_str()) {
        ("code", "S256")
            if is_challenge && asked.state.len() <= STATE_MAX && asked.nonce.len() <= STATE_MAX =>
        {
            None
        }
        ("code", _) => Some("invalid_request"),
        _ => Some("unsupported_response_type"),
    }
}

/// What an application gets of what it asks for: what it is told of the person, and the permissions that it was registered with.
fn given(application: &ApplicationRow, scope: &str) -> String {
    let mut given: Vec<&str> = Vec::new();
    for own in scope.split(' ') {
        let is_known = TOLD.contains(&own) || application.permissions.iter().any(|declared| declared == own);
        if is_known && !given.contains(&own) {
            given.push(own);
        }
    }
    given.join(" ")
}

fn permissions_of(scope: &str) -> Vec<String> {
    scope.split(' ').filter(|own| !own.is_empty() && !TOLD.contains(own)).map(str::to_owned).collect()
}

/// In words, for the person.
fn told_of(scope: &str) -> Vec<&'static str> {
    let words = [("profile", "your name"), ("email", "your e-mail address")];
    words.iter().filter(|(own, _)| scope.split(' ').any(|one| one == *own)).map(|(_, words)| *words).collect()
}

/// An application of a tenant is for its people; one of the operator is for all.
fn may_use(application: &ApplicationRow, session: &SessionRow) -> Result<(), Refusal> {
    match application.tenant == session.tenant || application.tenant == OPERATOR_TENANT {
        true => Ok(()),
        false => Err(Refusal::new(
            &kind::ENTRY_REFUSED,
            "The application is of another organisation. Sign in there.",
        )),
    }
}

/// Back to the application, with our name in the answer (RFC 9207).
fn back(control: &Control, asked: &Asked, with: &[(&str, &str)]) -> Response {
    let mut all = with.to_vec();
    if !asked.state.is_empty() && asked.state.len() <= STATE_MAX {
        all.push(("state", &asked.state));
    }
    all.push(("iss", &control.settings.public_url));
    let mut response = Redirect::to(&redirect::with(&asked.redirect_uri, &all)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

fn malformed() -> Refusal {
    Refusal::new(&kind::INVALID, "The request is not well-formed.")
}
