//! Pages for people: signing in, their account, links from mail. Plain HTML forms that need no scripts, but for keys; all decisions are the operations'
//! that the API uses too.
//!
//! A browser's session lives by a cookie that no script reads and no other site sends with a form. Each form carries a token that only
//! this browser's pages have; a GET changes nothing.

mod account;
mod acting;
mod agent;
mod device;
mod draft;
mod guard;
mod links;
mod organisation;
mod proof;
mod render;
mod sign_in;
mod sso;
mod sso_report;
mod told;

pub(super) use guard::{Browser, return_cookie};
pub(super) use render::{Page, set as cookies};

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Redirect};
use axum::routing::{get, post};

use crate::Shared;
use crate::api::own::OwnApi;
use crate::identity::application;

/// The pages' routes, which are not part of the API.
pub fn routes(own: OwnApi) -> Router<Shared> {
    Router::new()
        .route("/account/style.css", get(style))
        .route("/account/passkey.js", get(script))
        .route("/.well-known/passkey-endpoints", get(endpoints))
        .route("/oauth2/authorize", get(application::show).post(application::decide))
        .route("/.well-known/oauth-authorization-server", get(application::metadata))
        .route("/.well-known/openid-configuration", get(application::metadata))
        .route("/account/sign_in", get(sign_in::form).post(sign_in::send))
        .route("/account/sign_in/next", get(sign_in::next).post(sign_in::step))
        .route("/account/sso", get(sso::ask).post(sso::lead))
        .route("/account/sso/{id}", get(sso::begin).post(sso::go))
        .route("/account/sso/{id}/callback", get(sso::back))
        .route("/account", get(account::show).post(account::change))
        .route("/account/acting", post(acting::send))
        .route("/account/reset", get(links::reset_form).post(links::reset))
        .route("/account/device", get(device::show).post(device::send))
        .route("/account/email/{step}", get(links::email_form).post(links::email))
        .route("/account/unlock", get(links::unlock_form).post(links::unlock))
        .merge(organisation::routes(own))
        .route("/.well-known/change-password", get(|| async { Redirect::to("/account") }))
}

async fn script() -> impl IntoResponse {
    let kind = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, "public, max-age=300"),
    ];
    (kind, include_str!("passkey.js"))
}

/// Where password managers send people to add and to remove passkeys.
async fn endpoints(State(control): State<Shared>) -> impl IntoResponse {
    let page = format!("{}/account", control.settings.public_url.trim_end_matches('/'));
    axum::Json(serde_json::json!({ "enroll": page, "manage": page }))
}

async fn style() -> impl IntoResponse {
    let kind =
        [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "public, max-age=300")];
    (kind, include_str!("style.css"))
}
