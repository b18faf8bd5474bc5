//! `POST /v1/tenants/{tenant}/move`.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::api::frame::{Opened, close, open, operators, shown};
use super::super::operations::Operation;
use super::{MoveBody, begin};
use crate::Shared;
use crate::api::idempotency::Idempotency;
use crate::api::{Answer, Body, Caller};

/// The routes of moves.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(move_tenant))
}

/// Moves a tenant to another level of isolation. Writers wait while its rows are copied. Follow the operation in
/// `Location`.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/move", operation_id = "lifecycle.move_tenant", tag = "lifecycle",
    params(("tenant" = String, Path, description = "Id or code")), request_body = MoveBody,
    responses((status = 202, body = Operation)))]
async fn move_tenant(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    idempotency: Idempotency,
    body: Body<MoveBody>,
) -> Answer<Response> {
    let (permit, tenant) = operators(&control, &caller, "tenant:move", &name).await?;
    let transaction = match open(&control, &permit, &idempotency, &body.bytes).await? {
        Opened::New(transaction) => transaction,
        Opened::Kept(kept) => return Ok(kept.into_response()),
    };
    let (id, change) = begin(&control, &transaction, &permit, tenant, body.value, caller.request_id).await?;
    let answer = shown(&transaction, id).await?;
    close(transaction, &idempotency, answer, change).await
}
