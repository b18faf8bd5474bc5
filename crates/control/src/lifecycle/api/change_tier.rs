//! Changing a tenant's tier.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::frame::{Opened, close, open, operators, shown};
use crate::Shared;
use crate::api::idempotency::Idempotency;
use crate::api::{Answer, Body, Caller, Parameters};
use crate::lifecycle::change_tier::{self, ChangeTierBody, Preview};
use crate::lifecycle::operations::Operation;

/// Changing a tenant's tier.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(change_tier_of_tenant))
}

#[derive(Debug, Default, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DryRun {
    /// Only tells what would be done.
    #[serde(default)]
    dry_run: bool,
}

/// Changes a tenant's tier, now or later. With `dry_run` it only tells what it would do.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/change_tier", operation_id = "lifecycle.change_tier",
    tag = "lifecycle", params(("tenant" = String, Path, description = "Id or code"), DryRun),
    request_body = ChangeTierBody,
    responses((status = 202, body = Operation), (status = 200, body = Preview, description = "With `dry_run`")))]
async fn change_tier_of_tenant(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    Parameters(DryRun { dry_run }): Parameters<DryRun>,
    idempotency: Idempotency,
    body: Body<ChangeTierBody>,
) -> Answer<Response> {
    let (permit, tenant) = operators(&control, &caller, "tenant:change_tier", &name).await?;
    if dry_run {
        let transaction = control.store.write(&permit).await?;
        let wanted = change_tier::wanted(&control, &transaction, tenant, &body.value).await?;
        let preview = change_tier::preview(&control, &transaction, &wanted).await?;
        transaction.rollback().await?;
        return Ok(Json(preview).into_response());
    }
    let transaction = match open(&control, &permit, &idempotency, &body.bytes).await? {
        Opened::New(transaction) => transaction,
        Opened::Kept(kept) => return Ok(kept.into_response()),
    };
    let wanted = change_tier::wanted(&control, &transaction, tenant, &body.value).await?;
    let (operation, change) =
        change_tier::begin(&control, &transaction, &permit, &wanted, caller.request_id).await?;
    let answer = shown(&transaction, operation).await?;
    close(transaction, &idempotency, answer, change).await
}
