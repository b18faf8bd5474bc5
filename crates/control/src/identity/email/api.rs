//! Changing one's address over HTTP.

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use rowhouse_domain::id::RequestId;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Shared;
use crate::api::{Answer, Body, Caller};
use crate::identity::account::whose;

pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(ask)).routes(routes!(confirm)).routes(routes!(keep))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AskBody {
    /// The new address.
    email: String,
}

/// Asks for another address. It is the person's once the link that goes there is used; the present one is told, and can take it back for
/// seven days. The answer does not tell whether somebody has it.
#[utoipa::path(post, path = "/v1/me/email", operation_id = "identity.change_my_email", tag = "identity",
    request_body = AskBody, responses((status = 202)))]
async fn ask(State(control): State<Shared>, caller: Caller, body: Body<AskBody>) -> Answer<StatusCode> {
    let person = caller.person()?;
    super::ask(&control, whose(&caller, &person), &body.value.email).await?;
    Ok(StatusCode::ACCEPTED)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LinkBody {
    /// As it stands in the link.
    token: String,
}

/// Proves a new address by its link. Sessions end, but the one that asked.
#[utoipa::path(post, path = "/v1/sign_in/email/confirm", operation_id = "identity.confirm_email", tag = "identity",
    request_body = LinkBody, responses((status = 204)))]
async fn confirm(
    State(control): State<Shared>,
    Extension(request_id): Extension<RequestId>,
    body: Body<LinkBody>,
) -> Answer<StatusCode> {
    super::confirm(&control, &body.value.token, request_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a change of one's address back by the link that the old one got. All sessions end.
#[utoipa::path(post, path = "/v1/sign_in/email/keep", operation_id = "identity.keep_email", tag = "identity",
    request_body = LinkBody, responses((status = 204)))]
async fn keep(
    State(control): State<Shared>,
    Extension(request_id): Extension<RequestId>,
    body: Body<LinkBody>,
) -> Answer<StatusCode> {
    super::keep(&control, &body.value.token, request_id).await?;
    Ok(StatusCode::NO_CONTENT)
}
