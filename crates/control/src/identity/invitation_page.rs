//! The page that an invitation's link leads to: a form without scripts. Opening it uses nothing up, so that programs which follow
//! links in mail do no harm; only sending the form does. It says at once if the link is of no use, and nothing else of it. The link
//! itself says who may: it needs no cookie. Who guesses at links is counted with who guesses at passwords, by address.

use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use rowhouse_domain::id::RequestId;
use rowhouse_domain::refusal::{Refusal, kind};
use serde::Deserialize;

use super::accept::{self, Acceptance, accept};
use super::form;
use super::pages::Page;
use super::sign_in::Source;
use crate::{Control, Shared};

/// The page's routes, which are not part of the API.
pub fn pages() -> Router<Shared> {
    Router::new().route("/account/invitation", get(show).post(send))
}

#[derive(Default, Deserialize)]
struct Link {
    #[serde(default)]
    token: String,
}

/// What the form holds. An empty field is none.
#[derive(Default, Deserialize)]
struct Sent {
    #[serde(default)]
    token: String,
    #[serde(default)]
    full_name: String,
    #[serde(default)]
    password: String,
}

async fn show(State(control): State<Shared>, source: Source, Query(link): Query<Link>) -> Response {
    match look(&control, &source, &link.token).await {
        Ok(()) => page("You are invited", &link.token, "").send(&control),
        Err(refusal) => over("This link is of no use", &refusal).send(&control),
    }
}

async fn look(control: &Control, source: &Source, token: &str) -> Result<(), Refusal> {
    admit(control, source)?;
    accept::look(control, token).await.inspect_err(|refusal| count(control, source, refusal))
}

fn admit(control: &Control, source: &Source) -> Result<(), Refusal> {
    control.sign_in_sources.admit(source, "an invitation", control.clock().now_us())
}

/// A link that there is not may be a guess.
fn count(control: &Control, source: &Source, refusal: &Refusal) {
    if refusal.code() == kind::LINK_USED.code {
        control.sign_in_sources.failed(source);
    }
}

/// What is said of a link that nobody joins by, and where that leads.
fn over(title: &str, refusal: &Refusal) -> Page {
    Page::new("invitation_over", title, "").refused(refusal)
}

fn page(title: &str, token: &str, full_name: &str) -> Page {
    Page::new("invitation", title, "").with("token", token).with("full_name", full_name)
}

async fn send(
    State(control): State<Shared>,
    Extension(request_id): Extension<RequestId>,
    source: Source,
    body: Bytes,
) -> Response {
    let Some(sent) = form::read::<Sent>(&body) else {
        let refusal = Refusal::new(&kind::INVALID, "The form could not be read.");
        return Page::new("done", "Something is wrong", "").refused(&refusal).send(&control);
    };
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let wish = Acceptance {
        token: sent.token.clone(),
        full_name: given(&sent.full_name),
        password: given(&sent.password),
    };
    if let Err(refusal) = admit(&control, &source) {
        return refused(&control, &refusal, &sent);
    }
    match accept(&control, wish, request_id).await {
        Ok(done) => {
            let page = Page::new("invited", "Welcome", "").with("code", form::escape(&done.tenant_code));
            page.good(&format!("You belong to {} now.", done.tenant_name)).send(&control)
        }
        Err(refusal) => {
            count(&control, &source, &refusal);
            refused(&control, &refusal, &sent)
        }
    }
}

fn refused(control: &Control, refusal: &Refusal, sent: &Sent) -> Response {
    // A link that is used up is of no use again; everything else can be corrected, or tried later.
    match refusal.status() {
        410 => over("Not yet", refusal).send(control),
        _ => page("Not yet", &sent.token, &sent.full_name).refused(refusal).send(control),
    }
}
