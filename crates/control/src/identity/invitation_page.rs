//! The page that an invitation's link leads to: a form without scripts. Opening it looks at nothing and uses nothing up, so
//! that programs which follow links in mail do no harm; only sending the form does. The link itself says who may: it needs no cookie.

use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use rowhouse_domain::id::RequestId;
use rowhouse_domain::refusal::{Refusal, kind};
use serde::Deserialize;

use super::accept::{Acceptance, accept};
use super::form;
use super::pages::Page;
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

async fn show(State(control): State<Shared>, Query(link): Query<Link>) -> Response {
    page("You are invited", &link.token, "").send(&control)
}

fn page(title: &str, token: &str, full_name: &str) -> Page {
    Page::new("invitation", title, "").with("token", token).with("full_name", full_name)
}

async fn send(
    State(control): State<Shared>,
    Extension(request_id): Extension<RequestId>,
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
    match accept(&control, wish, request_id).await {
        Ok(done) => {
            let page = Page::new("invited", "Welcome", "").with("code", form::escape(&done.tenant_code));
            page.good(&format!("You belong to {} now.", done.tenant_name)).send(&control)
        }
        Err(refusal) => refused(&control, &refusal, &sent),
    }
}

fn refused(control: &Control, refusal: &Refusal, sent: &Sent) -> Response {
    // A link that is used up is of no use again; everything else can be corrected, or tried later.
    let page = match refusal.status() {
        410 => Page::new("done", "Not yet", ""),
        _ => page("Not yet", &sent.token, &sent.full_name),
    };
    page.refused(refusal).send(control)
}
