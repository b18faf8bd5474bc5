//! OpenID AuthZEN Authorization API 1.0: a service asks whether a subject may do an action on a resource, and gets the
//! gateway's decision.
//!
//! Unlike the rest of the API, unknown fields are ignored, refusals are plain text with the code in `Rowhouse-Code`, and any
//! `X-Request-ID` is echoed, as the standard has it. A denial is an answer (200), not a refusal.

mod evaluate;
mod names;
mod question;
mod search;
mod wire;
mod work;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rowhouse_domain::refusal::Refusal;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Shared;
use crate::api::EchoedRequestId;

/// The routes of this part.
pub(super) fn routes() -> OpenApiRouter<Shared> {
    let asked = OpenApiRouter::new()
        .routes(routes!(evaluate::evaluation))
        .routes(routes!(evaluate::evaluations))
        .routes(routes!(search::search_subject))
        .routes(routes!(search::search_resource))
        .routes(routes!(search::search_action))
        .route_layer(axum::middleware::from_fn(in_plain_text));
    OpenApiRouter::new().routes(routes!(discovery)).routes(routes!(discovery_of_tenant)).merge(asked)
}

/// Where the endpoints are (AuthZEN 1.0 §9).
#[utoipa::path(
    get, path = "/.well-known/authzen-configuration", operation_id = "access.authzen_configuration",
    tag = "access", responses((status = 200, body = Object))
)]
async fn discovery(State(control): State<Shared>) -> Json<Value> {
    Json(document(&control.settings.public_url))
}

/// The same for the identifier of one tenant, `…/t/{code}`. Its endpoints decide for whichever tenant the credential is of.
#[utoipa::path(
    get, path = "/.well-known/authzen-configuration/t/{code}", operation_id = "access.authzen_tenant_configuration",
    tag = "access", params(("code" = String, Path, description = "The tenant's code")),
    responses((status = 200, body = Object))
)]
async fn discovery_of_tenant(State(control): State<Shared>, Path(code): Path<String>) -> Json<Value> {
    let mut document = document(&control.settings.public_url);
    // The same whether or not there is such a tenant: nobody learns who is a customer.
    document["policy_decision_point"] = format!("{}/t/{code}", control.settings.public_url).into();
    Json(document)
}

fn document(base: &str) -> Value {
    json!({
        "policy_decision_point": base,
        "access_evaluation_endpoint": format!("{base}/access/v1/evaluation"),
        "access_evaluations_endpoint": format!("{base}/access/v1/evaluations"),
        "search_subject_endpoint": format!("{base}/access/v1/search/subject"),
        "search_resource_endpoint": format!("{base}/access/v1/search/resource"),
        "search_action_endpoint": format!("{base}/access/v1/search/action"),
    })
}

const CODE: HeaderName = HeaderName::from_static("rowhouse-code");

/// Refusals as text, and the caller's own request id.
async fn in_plain_text(request: Request, next: Next) -> Response {
    let given = request.headers().get("x-request-id").cloned();
    let mut response = next.run(request).await;
    // What is ours is logged and told as everywhere.
    let ours = response.extensions().get::<Refusal>().is_some_and(|refusal| refusal.status() >= 500);
    if !ours && let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        response = text(&refusal);
    }
    if let Some(given) = given {
        response.extensions_mut().insert(EchoedRequestId(given));
    }
    response
}

fn text(refusal: &Refusal) -> Response {
    // What is wrong with a body is one status here.
    let status = match refusal.status() {
        413 | 415 | 422 => 400,
        status => status,
    };
    let status = StatusCode::from_u16(status).expect("the catalogue has real statuses");
    let mut response = (status, refusal.detail().to_owned()).into_response();
    let headers = response.headers_mut();
    headers.insert(CODE, HeaderValue::from_static(refusal.code()));
    if let Some(challenge) = refusal.challenge() {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    if let Some(seconds) = refusal.retry_after_s() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
