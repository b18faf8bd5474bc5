//! Pages for who administers an organisation: its people, groups and roles, what it asks at sign-in, its domains, its own provider, its keys,
//! what waits for a second person, what is kept apart, and its log; and for everybody a role that they ask for, for a time.
//!
//! They ask the API as their person ([`OwnApi`]) and show what it answers; there is no right, rule or event here. Which pages are offered is
//! looked up beforehand; what is refused is refused by the API. What needs a fresh proof asks for it when its form is sent, and goes on with
//! what was typed.

mod approvals;
mod asking;
mod audit;
mod belonging;
mod connections;
mod constraints;
mod domains;
mod fields;
mod groups;
mod keys;
mod names;
mod people;
mod roles;
mod sign_in_policy;
mod template;
mod visit;
mod ways;

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use rowhouse_domain::access::{Permit, decide_of};
use rowhouse_domain::id::RequestId;
use rowhouse_domain::identity::token::Subject;
use rowhouse_domain::refusal::{Refusal, kind};
use serde_json::{Value, json};

use fields::Fields;
use visit::{Said, Visit};

use super::draft;
use super::guard::{self, Browser};
use super::proof::{self, Answered, Asks, Proof};
use super::render::{Page, set};
use super::told;
use crate::api::own::OwnApi;
use crate::identity::session::{self, SessionRow};
use crate::{Control, Shared};

/// A page: its name in addresses, its title, what is needed to see it and what to change something on it.
struct Part {
    name: &'static str,
    title: &'static str,
    sees: &'static str,
    changes: &'static str,
}

const fn part(name: &'static str, title: &'static str, sees: &'static str, changes: &'static str) -> Part {
    Part { name, title, sees, changes }
}

/// No permission: for whoever belongs to the organisation.
const EVERYBODY: &str = "";

/// The pages, in the order in which somebody new goes through them.
static PARTS: [Part; 11] = [
    part("people", "People", "user:read", "invitation:create"),
    part("roles", "Roles", "role:read", "role:create"),
    part("groups", "Groups", "group:read", "group:create"),
    part("sign_in", "Sign-in", "user:read", "tenant:update"),
    part("domains", "Domains", "host:read", "host:manage"),
    part("connections", "Single sign-on", "issuer:read", "issuer:manage"),
    part("keys", "Keys", "api_key:read", "api_key:create"),
    part("approvals", "Approvals", "grant:read", "grant:create"),
    part("constraints", "Separation", "constraint:read", "constraint:create"),
    part("audit", "Audit log", "audit:read", "audit:read"),
    part("ask", "Ask for a role", EVERYBODY, EVERYBODY),
];

pub fn routes(own: OwnApi) -> Router<Shared> {
    Router::new()
        .route("/account/organisation", get(lead))
        .route("/account/organisation/{part}", get(show).post(send))
        .layer(Extension(own))
}

/// Where somebody begins who may see any of it; nowhere who may see no more than everybody.
pub fn first(control: &Control, session: &SessionRow) -> Option<String> {
    let mut own = PARTS.iter().filter(|part| part.sees != EVERYBODY);
    let own = own.find(|part| may(control, session, part.sees))?;
    Some(format!("/account/organisation/{}", own.name))
}

async fn lead(State(control): State<Shared>, browser: Browser) -> Redirect {
    let session = browser.signed_in(&control).await.ok().flatten();
    let first = session.and_then(|session| first(&control, &session));
    Redirect::to(first.as_deref().unwrap_or("/account"))
}

/// Whether the person holds a permission on the whole tenant: for what is offered, not for what is done.
fn may(control: &Control, session: &SessionRow, permission: &str) -> bool {
    if permission == EVERYBODY {
        return true;
    }
    let directory = control.directory.current();
    let (Some(bit), Some(home)) =
        (directory.permissions.id(permission), directory.tenants.get(&session.tenant))
    else {
        return false;
    };
    let who = Subject::User(session.user).principal();
    let rights = home.access.rights_in(&who, Some(session.id));
    decide_of(rights, Some(session.tenant), who, bit, control.clock().now_us()).is_ok()
}

/// What an address asks for behind its `?`, each word once.
type About = BTreeMap<String, String>;

async fn show(
    State(control): State<Shared>,
    Extension(api): Extension<OwnApi>,
    Extension(request_id): Extension<RequestId>,
    browser: Browser,
    Path(part): Path<String>,
    Query(about): Query<About>,
) -> Response {
    let Some(looks) = Looks::at(&control, &api, request_id, (&part, &about), browser.client) else {
        return Redirect::to("/account/organisation").into_response();
    };
    looks.answer(&browser, None).await
}

async fn send(
    State(control): State<Shared>,
    Extension(api): Extension<OwnApi>,
    Extension(request_id): Extension<RequestId>,
    browser: Browser,
    Path(part): Path<String>,
    Query(about): Query<About>,
    body: Bytes,
) -> Response {
    let Some(looks) = Looks::at(&control, &api, request_id, (&part, &about), browser.client) else {
        return Redirect::to("/account/organisation").into_response();
    };
    looks.answer(&browser, Some(&body)).await
}

struct Looks<'a> {
    control: &'a Control,
    api: &'a OwnApi,
    request_id: RequestId,
    client: Option<IpAddr>,
    part: &'static Part,
    one: &'a str,
    about: &'a About,
    /// Its address.
    path: String,
}

impl<'a> Looks<'a> {
    fn at(
        control: &'a Control,
        api: &'a OwnApi,
        request_id: RequestId,
        (name, about): (&str, &'a About),
        client: Option<IpAddr>,
    ) -> Option<Self> {
        let part = PARTS.iter().find(|part| part.name == name)?;
        let one = about.get("one").map_or("", String::as_str);
        let one = if fields::is_id(one) { one } else { "" };
        let path = match one {
            "" => format!("/account/organisation/{name}"),
            one => format!("/account/organisation/{name}?one={one}"),
        };
        Some(Looks { control, api, request_id, client, part, one, about, path })
    }

    async fn answer(&self, browser: &Browser, body: Option<&Bytes>) -> Response {
        let session = match browser.signed_in(self.control).await {
            Ok(Some(session)) => session,
            Ok(None) => {
                let mut response = Redirect::to("/account/sign_in").into_response();
                set(&mut response, vec![guard::return_cookie(&self.path)]);
                return response;
            }
            Err(refusal) => return self.refused(browser, &refusal),
        };
        let Some(body) = body else { return self.page(browser, &session, Ok(Said::default())).await };
        let fields = Fields::read(body);
        if proof::is_answer(fields.text("step")) {
            return self.proven(browser, &session, &fields).await;
        }
        let did = match browser.check(fields.text("form")) {
            Ok(()) => self.did(&session, &fields).await,
            Err(refusal) => Err(refusal),
        };
        match did {
            Err(refusal) if refusal.code() == kind::STEP_UP_REQUIRED.code => {
                let draft = draft::keep(self.control, browser, &self.path, body);
                self.asks(browser, &session, draft).page().await
            }
            did => self.after(browser, &session, did).await,
        }
    }

    /// What a form leads to: the page anew, which tells what was done. What it shows once, and what it refuses, comes at once.
    async fn after(&self, browser: &Browser, session: &SessionRow, did: Result<Said, Refusal>) -> Response {
        match did {
            Ok(said) if said.with.is_null() => told::sent_to(self.control, browser, &self.path, said.good),
            did => self.page(browser, session, did).await,
        }
    }

    fn asks<'b>(&'b self, browser: &'b Browser, session: &'b SessionRow, draft: String) -> Asks<'b> {
        let (control, request_id) = (self.control, self.request_id);
        Asks { control, browser, session, request_id, page: &self.path, draft }
    }

    /// Takes a proof, and does what waited for it.
    async fn proven(&self, browser: &Browser, session: &SessionRow, fields: &Fields) -> Response {
        let answered = Answered {
            step: fields.text("step"),
            factor: fields.text("factor"),
            code: fields.text("code"),
            password: fields.as_typed("present"),
            credential: fields.text("credential"),
        };
        let asks = self.asks(browser, session, fields.text("draft").to_owned());
        let proven = match asks.answered(fields.text("form"), answered).await {
            Proof::Page(response) => return response,
            Proof::Done(proven) => proven,
        };
        let waiting = proven.waiting.as_ref().map(Fields::read);
        let did = match waiting.filter(|own| !proof::is_answer(own.text("step"))) {
            Some(own) => self.did(&proven.session, &own).await,
            None => Ok(Said::default()),
        };
        let mut response = self.after(&proven.browser, &proven.session, did).await;
        proven.set(&mut response);
        response
    }

    fn refused(&self, browser: &Browser, refusal: &Refusal) -> Response {
        Page::new("done", "Not now", browser.form()).refused(refusal).send(self.control)
    }

    async fn visit(&self, session: &SessionRow) -> Result<Visit<'_>, Refusal> {
        let token = self.token(session).await?;
        let (client, request_id, one) = (self.client, self.request_id, self.one);
        let me = session.user.to_string();
        Ok(Visit { api: self.api, token, client, request_id, one, asked: self.about, me })
    }

    /// An access token of the browser's session, which never leaves this process.
    async fn token(&self, session: &SessionRow) -> Result<String, Refusal> {
        let permit = Permit::for_system(None, "a token for our own pages");
        let transaction = self.control.store.read(&permit).await?;
        let ring = session::ring(self.control, &transaction).await?;
        transaction.finish().await?;
        Ok(session::access_token(self.control, &ring, session).0)
    }

    async fn did(&self, session: &SessionRow, fields: &Fields) -> Result<Said, Refusal> {
        let visit = self.visit(session).await?;
        match self.part.name {
            "people" => people::did(&visit, fields).await,
            "roles" => roles::did(&visit, fields).await,
            "groups" => groups::did(&visit, fields).await,
            "sign_in" => sign_in_policy::did(&visit, fields).await,
            "domains" => domains::did(&visit, fields).await,
            "keys" => keys::did(&visit, fields).await,
            "approvals" => approvals::did(&visit, fields).await,
            "constraints" => constraints::did(&visit, fields).await,
            "audit" => Err(incomplete()),
            "ask" => asking::did(&visit, fields).await,
            _ => connections::did(&visit, fields).await,
        }
    }

    async fn page(&self, browser: &Browser, session: &SessionRow, did: Result<Said, Refusal>) -> Response {
        let (said, refusal) = match did {
            Ok(said) => (said, None),
            Err(refusal) => (Said::default(), Some(refusal)),
        };
        let mut view = match self.view(session, &said.with).await {
            Ok(view) => view,
            // What somebody may not see is not shown for having been refused something there.
            Err(other) => return self.refused(browser, refusal.as_ref().unwrap_or(&other)),
        };
        let sees = |part: &&Part| may(self.control, session, part.sees);
        let parts = PARTS.iter().filter(sees).map(|part| json!({ "name": part.name, "title": part.title }));
        view["parts"] = parts.collect();
        view["part"] = json!(self.part.name);
        view["may"] = json!(may(self.control, session, self.part.changes));
        view["today"] = json!(self.control.clock().now().strftime("%Y-%m-%d").to_string());
        let inner = template::rendered(self.part.name, browser.form(), &view);
        let page = Page::new("organisation", self.part.title, browser.form()).with("inner", inner);
        let page = browser.form_cookie().into_iter().fold(page, Page::cookie);
        let page = told::on(page, self.control, browser);
        let page = if said.good.is_empty() { page } else { page.good(said.good) };
        refusal.iter().fold(page, |page, refusal| page.refused(refusal)).send(self.control)
    }

    async fn view(&self, session: &SessionRow, with: &Value) -> Result<Value, Refusal> {
        let visit = self.visit(session).await?;
        match self.part.name {
            "people" => people::view(&visit).await,
            "roles" => roles::view(&visit).await,
            "groups" => groups::view(&visit).await,
            "sign_in" => sign_in_policy::view(&visit, with).await,
            "domains" => domains::view(&visit).await,
            "keys" => keys::view(&visit, with).await,
            "approvals" => approvals::view(&visit).await,
            "constraints" => constraints::view(&visit).await,
            "audit" => audit::view(&visit).await,
            "ask" => asking::view(&visit).await,
            _ => connections::view(&visit, with).await,
        }
    }
}

fn incomplete() -> Refusal {
    Refusal::new(&kind::INVALID, "The form is not complete.")
}
