//! Pages for who administers an organisation: its people, its roles, what it asks at sign-in, its own provider.
//!
//! They ask the API as their person ([`OwnApi`]) and show what it answers; there is no right, rule or event here. What needs a fresh proof
//! asks for it before its form is shown, so that nothing that was typed is lost.

mod connections;
mod people;
mod roles;
mod sign_in_policy;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use jiff::SignedDuration;
use minijinja::Environment;
use minijinja::value::Value as Shown;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::RequestId;
use rowhouse_domain::refusal::{Refusal, kind};
use serde_json::{Value, json};

use super::account::{Awaited, step_up_page};
use super::guard::{self, Browser};
use super::render::{Page, set};
use crate::api::own::{Call, OwnApi};
use crate::identity::account::Whose;
use crate::identity::form;
use crate::identity::session::{self, SessionRow};
use crate::{Control, Shared};

const TEMPLATE: &str = include_str!("organisation.html");
/// A proof must be younger than this for what decides who signs in; a minute less than the API asks for, for the time it takes to type.
const FRESH: SignedDuration = SignedDuration::from_mins(9);
/// The pages by their names in addresses.
const PARTS: [(&str, &str); 4] =
    [("people", "People"), ("roles", "Roles"), ("sign_in", "Sign-in"), ("connections", "Single sign-on")];

pub fn routes(own: OwnApi) -> Router<Shared> {
    Router::new()
        .route("/account/organisation", get(|| async { Redirect::to("/account/organisation/people") }))
        .route("/account/organisation/{part}", get(show).post(send))
        .layer(Extension(own))
}

/// Who looks, and how the API is asked for them.
pub(super) struct Visit<'a> {
    api: &'a OwnApi,
    token: String,
    request_id: RequestId,
}

impl Visit<'_> {
    async fn call(&self, call: Call<'_>) -> Result<Value, Refusal> {
        self.api.call(&self.token, self.request_id, call).await
    }

    async fn get(&self, path: &str) -> Result<Value, Refusal> {
        self.call(Call::get(path)).await
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value, Refusal> {
        self.call(Call::post(path, body)).await
    }
}

/// What a form said, field by field in its order; a field may come more than once.
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    fn read(body: &Bytes) -> Self {
        Fields(form::read(body).unwrap_or_default())
    }

    /// A field without the blanks around it; empty if it is not there.
    fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value.trim())
    }

    /// All values of a field, but empty ones.
    fn all(&self, name: &str) -> Vec<&str> {
        let own = self.0.iter().filter(|(own, _)| own == name).map(|(_, value)| value.trim());
        own.filter(|value| !value.is_empty()).collect()
    }

    fn number(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or(0)
    }

    /// Part of a path; refused if it is more than an id or a name.
    fn id(&self, name: &str) -> Result<&str, Refusal> {
        let own = self.text(name);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        match !own.is_empty() && own.bytes().all(plain) {
            true => Ok(own),
            false => Err(Refusal::new(&kind::INVALID, "The form is not complete.")),
        }
    }
}

/// What a page says beside what it shows: good news, and what is kept for its next form.
#[derive(Default)]
pub(super) struct Said {
    good: &'static str,
    with: Value,
}

impl Said {
    fn good(good: &'static str) -> Self {
        Said { good, with: Value::Null }
    }
}

async fn show(
    State(control): State<Shared>,
    Extension(api): Extension<OwnApi>,
    Extension(request_id): Extension<RequestId>,
    browser: Browser,
    Path(part): Path<String>,
) -> Response {
    let looks = Looks { control: &control, api: &api, request_id, browser: &browser, part: &part };
    looks.answer(None).await
}

async fn send(
    State(control): State<Shared>,
    Extension(api): Extension<OwnApi>,
    Extension(request_id): Extension<RequestId>,
    browser: Browser,
    Path(part): Path<String>,
    body: Bytes,
) -> Response {
    let looks = Looks { control: &control, api: &api, request_id, browser: &browser, part: &part };
    looks.answer(Some(Fields::read(&body))).await
}

struct Looks<'a> {
    control: &'a Control,
    api: &'a OwnApi,
    request_id: RequestId,
    browser: &'a Browser,
    part: &'a str,
}

impl Looks<'_> {
    async fn answer(&self, sent: Option<Fields>) -> Response {
        let session = match self.browser.signed_in(self.control).await {
            Ok(Some(session)) => session,
            Ok(None) => return self.back_here(Redirect::to("/account/sign_in").into_response()),
            Err(refusal) => return self.refused(&refusal),
        };
        if !PARTS.iter().any(|(name, _)| *name == self.part) {
            return Redirect::to("/account/organisation/people").into_response();
        }
        // What decides who signs in is not even begun without a fresh proof.
        let needs_fresh = matches!(self.part, "sign_in" | "connections");
        if needs_fresh && self.control.clock().now().duration_since(session.auth_time) > FRESH {
            return self.step_up(&session).await;
        }
        match self.done(&session, sent).await {
            Err(refusal) if refusal.code() == kind::STEP_UP_REQUIRED.code => self.step_up(&session).await,
            Ok(response) => response,
            Err(refusal) => self.refused(&refusal),
        }
    }

    /// With the way back to this page once there is a session that may see it.
    fn back_here(&self, mut response: Response) -> Response {
        set(&mut response, vec![guard::return_cookie(&format!("/account/organisation/{}", self.part))]);
        response
    }

    async fn step_up(&self, session: &SessionRow) -> Response {
        let whose = Whose { user: session.user, session: session.id, request_id: self.request_id };
        self.back_here(step_up_page(self.control, self.browser, session, whose, Awaited::Nothing).await)
    }

    fn refused(&self, refusal: &Refusal) -> Response {
        Page::new("done", "Not now", self.browser.form()).refused(refusal).send(self.control)
    }

    async fn done(&self, session: &SessionRow, sent: Option<Fields>) -> Result<Response, Refusal> {
        let visit = Visit { api: self.api, token: self.token(session).await?, request_id: self.request_id };
        let did = match &sent {
            Some(fields) => match self.browser.check(fields.text("form")) {
                Ok(()) => self.did(&visit, fields).await,
                Err(refusal) => Err(refusal),
            },
            None => Ok(Said::default()),
        };
        if let Err(refusal) = &did
            && refusal.code() == kind::STEP_UP_REQUIRED.code
        {
            return Err(refusal.clone());
        }
        let (said, refusal) = match did {
            Ok(said) => (said, None),
            Err(refusal) => (Said::default(), Some(refusal)),
        };
        let mut view = self.view(&visit, &said.with).await?;
        view["part"] = json!(self.part);
        view["parts"] = json!(PARTS.map(|(name, title)| json!({ "name": name, "title": title })));
        view["form"] = json!(self.browser.form());
        let title = PARTS.iter().find(|(name, _)| *name == self.part).map_or("", |(_, title)| title);
        let page = Page::new("organisation", title, self.browser.form()).with("inner", rendered(&view));
        let page = self.browser.form_cookie().into_iter().fold(page, Page::cookie);
        let page = if said.good.is_empty() { page } else { page.good(said.good) };
        Ok(refusal.iter().fold(page, |page, refusal| page.refused(refusal)).send(self.control))
    }

    /// An access token of the browser's session, which never leaves this process.
    async fn token(&self, session: &SessionRow) -> Result<String, Refusal> {
        let permit = Permit::for_system(None, "a token for our own pages");
        let transaction = self.control.store.read(&permit).await?;
        let ring = session::ring(self.control, &transaction).await?;
        transaction.finish().await?;
        Ok(session::access_token(self.control, &ring, session).0)
    }

    async fn did(&self, visit: &Visit<'_>, fields: &Fields) -> Result<Said, Refusal> {
        match self.part {
            "people" => people::did(visit, fields).await,
            "roles" => roles::did(visit, fields).await,
            "sign_in" => sign_in_policy::did(visit, fields).await,
            _ => connections::did(visit, fields).await,
        }
    }

    async fn view(&self, visit: &Visit<'_>, with: &Value) -> Result<Value, Refusal> {
        match self.part {
            "people" => people::view(visit).await,
            "roles" => roles::view(visit).await,
            "sign_in" => sign_in_policy::view(visit, with).await,
            _ => connections::view(visit, with).await,
        }
    }
}

fn rendered(view: &Value) -> Shown {
    let html = Environment::new().render_named_str("organisation.html", TEMPLATE, shown(view));
    Shown::from_safe_string(html.expect("tests render each part"))
}

/// The template engine's own values, which take no others.
fn shown(value: &Value) -> Shown {
    match value {
        Value::Null => Shown::from(()),
        Value::Bool(own) => Shown::from(*own),
        Value::Number(own) => own.as_i64().map_or_else(|| Shown::from(own.as_f64()), Shown::from),
        Value::String(own) => Shown::from(own.as_str()),
        Value::Array(own) => own.iter().map(shown).collect(),
        Value::Object(own) => {
            Shown::from_pairs(own.iter().map(|(name, value)| (name.as_str(), shown(value))))
        }
    }
}

fn incomplete() -> Refusal {
    Refusal::new(&kind::INVALID, "The form is not complete.")
}

/// All pages of a list, at most 1,000 things.
async fn list(visit: &Visit<'_>, path: &str) -> Result<Vec<Value>, Refusal> {
    let mut all = Vec::new();
    let mut next = format!("{path}?limit=200");
    while all.len() < 1_000 {
        let mut page = visit.get(&next).await?;
        if let Value::Array(items) = page["items"].take() {
            all.extend(items);
        }
        match page["next_cursor"].as_str() {
            Some(cursor) => next = format!("{path}?limit=200&cursor={}", form::escape(cursor)),
            None => break,
        }
    }
    Ok(all)
}
