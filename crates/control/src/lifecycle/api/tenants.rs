//! `POST /v1/tenants`, suspending and resuming.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::Refusal;
use rowhouse_store::{Change, Transaction};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::frame::{Opened, close, close_begun, open, operators, shown};
use crate::api::idempotency::{Idempotency, Kept};
use crate::api::{Answer, Body, Caller};
use crate::lifecycle::operations::{Operation, no_such_operation};
use crate::lifecycle::provision::{NewTenantBody, begin};
use crate::lifecycle::suspension::{self, Resumption, Suspend};
use crate::tenancy::{self, Tenant};
use crate::{Control, Shared};

/// Making, suspending and resuming tenants.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(create_tenant))
        .routes(routes!(suspend_tenant))
        .routes(routes!(resume_tenant))
}

/// Begins to provision a tenant. Follow the operation in `Location`.
#[utoipa::path(post, path = "/v1/tenants", operation_id = "lifecycle.create_tenant", tag = "lifecycle",
    request_body = NewTenantBody, responses((status = 202, body = Operation)))]
async fn create_tenant(
    State(control): State<Shared>,
    caller: Caller,
    idempotency: Idempotency,
    body: Body<NewTenantBody>,
) -> Answer<Response> {
    let permit = caller.permit("tenant:create", None)?;
    let transaction = match open(&control, &permit, &idempotency, &body.bytes).await? {
        Opened::New(transaction) => transaction,
        Opened::Kept(kept) => return Ok(kept.into_response()),
    };
    let (id, _, change) = begin(&control, &transaction, &permit, body.value, caller.request_id).await?;
    let answer = shown(&transaction, id).await?;
    close_begun(transaction, &idempotency, answer, change).await
}

/// Suspends a tenant: requests are refused, or only reading is served. Asking again with the other mode changes it.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/suspend", operation_id = "lifecycle.suspend_tenant",
    tag = "lifecycle", params(("tenant" = String, Path, description = "Id or code")), request_body = Suspend,
    responses((status = 200, body = Tenant)))]
async fn suspend_tenant(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    idempotency: Idempotency,
    body: Body<Suspend>,
) -> Answer<Response> {
    let (permit, tenant) = operators(&control, &caller, "tenant:suspend", &name).await?;
    let transaction = match open(&control, &permit, &idempotency, &body.bytes).await? {
        Opened::New(transaction) => transaction,
        Opened::Kept(kept) => return Ok(kept.into_response()),
    };
    let change =
        suspension::suspend(&control, &transaction, &permit, tenant, body.value, caller.request_id).await?;
    changed(&control, transaction, (&idempotency, tenant), StatusCode::OK, change).await
}

#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ResumeBody {
    /// 1 to 500 characters.
    reason: String,
}

/// Lets a suspended tenant go on. After a suspension for `security` two principals must ask within 72 h: the first is
/// answered 202.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/resume", operation_id = "lifecycle.resume_tenant",
    tag = "lifecycle", params(("tenant" = String, Path, description = "Id or code")), request_body = ResumeBody,
    responses((status = 200, body = Tenant), (status = 202, body = Tenant, description = "A second person must ask, too")))]
async fn resume_tenant(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    idempotency: Idempotency,
    body: Body<ResumeBody>,
) -> Answer<Response> {
    let (permit, tenant) = operators(&control, &caller, "tenant:resume", &name).await?;
    let transaction = match open(&control, &permit, &idempotency, &body.bytes).await? {
        Opened::New(transaction) => transaction,
        Opened::Kept(kept) => return Ok(kept.into_response()),
    };
    let reason = &body.value.reason;
    let resumption =
        suspension::resume(&control, &transaction, &permit, tenant, reason, caller.request_id).await?;
    let (status, change) = match resumption {
        Resumption::Done(change) => (StatusCode::OK, change),
        Resumption::Asked(change) => (StatusCode::ACCEPTED, change),
    };
    changed(&control, transaction, (&idempotency, tenant), status, change).await
}

async fn changed(
    control: &Control,
    transaction: Transaction,
    (idempotency, tenant): (&Idempotency, TenantId),
    status: StatusCode,
    change: Change,
) -> Answer<Response> {
    let record = tenancy::get(&transaction, tenant).await?.ok_or_else(no_such_operation)?;
    let view = tenancy::view(&transaction, record, true).await.map_err(Refusal::from)?;
    let answer = close(transaction, idempotency, Kept::new(status, &view), change).await?;
    suspension::bring_rights(control, tenant).await;
    Ok(answer)
}
