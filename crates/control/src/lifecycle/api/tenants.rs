//! `POST /v1/tenants`, suspending and resuming, and `/v1/operations`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{OperationId, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Transaction};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::operations::{self, Decision, Operation, OperationState, no_such_operation};
use super::provision::{NewTenantBody, begin};
use super::queries::{self, Filter};
use super::suspension::{self, Suspend};
use crate::api::idempotency::{Idempotency, Kept};
use crate::api::{Answer, Body, Caller, List, Page, Parameters, cursor, path_id};
use crate::tenancy::{self, Tenant, named};
use crate::{Control, Shared};

/// The routes of this feature.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(create_tenant))
        .routes(routes!(suspend_tenant))
        .routes(routes!(resume_tenant))
        .routes(routes!(list_operations))
        .routes(routes!(get_operation))
        .routes(routes!(resume_operation))
        .routes(routes!(skip_operation))
        .routes(routes!(abandon_operation))
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
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, &body.bytes).await? {
        return Ok(kept.into_response());
    }
    let (id, _, change) = begin(&control, &transaction, &permit, body.value, caller.request_id).await?;
    let operation = shown(&transaction, id, true).await?;
    let answer = Kept::new(StatusCode::ACCEPTED, &operation).location(format!("/v1/operations/{id}"));
    idempotency.keep(&transaction, &answer).await?;
    transaction.commit(change).await?;
    Ok(answer.into_response())
}

/// Suspends a tenant: requests are refused, or only reading is served.
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
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, &body.bytes).await? {
        return Ok(kept.into_response());
    }
    let change = suspension::suspend(&transaction, &permit, tenant, body.value, caller.request_id).await?;
    changed(&control, transaction, (&idempotency, tenant), change).await
}

#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ResumeBody {
    /// 1 to 500 characters.
    reason: String,
}

/// Lets a suspended tenant go on.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/resume", operation_id = "lifecycle.resume_tenant",
    tag = "lifecycle", params(("tenant" = String, Path, description = "Id or code")), request_body = ResumeBody,
    responses((status = 200, body = Tenant)))]
async fn resume_tenant(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    idempotency: Idempotency,
    body: Body<ResumeBody>,
) -> Answer<Response> {
    let (permit, tenant) = operators(&control, &caller, "tenant:resume", &name).await?;
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, &body.bytes).await? {
        return Ok(kept.into_response());
    }
    let reason = &body.value.reason;
    let change = suspension::resume(&transaction, &permit, tenant, reason, caller.request_id).await?;
    changed(&control, transaction, (&idempotency, tenant), change).await
}

/// Nobody suspends or resumes his own tenant.
async fn operators(
    control: &Control,
    caller: &Caller,
    permission: &str,
    name: &str,
) -> Result<(Permit, TenantId), Refusal> {
    let (permit, tenant) = named(control, caller, permission, name).await?;
    match caller.is_operator() {
        true => Ok((permit, tenant)),
        false => Err(Refusal::new(&kind::ACCESS_DENIED, "Only the operator suspends and resumes tenants.")),
    }
}

async fn changed(
    control: &Control,
    transaction: Transaction,
    (idempotency, tenant): (&Idempotency, TenantId),
    change: Change,
) -> Answer<Response> {
    let record = tenancy::get(&transaction, tenant).await?.ok_or_else(no_such_operation)?;
    let view = tenancy::view(&transaction, record, true).await.map_err(Refusal::from)?;
    let answer = Kept::new(StatusCode::OK, &view);
    idempotency.keep(&transaction, &answer).await?;
    transaction.commit(change).await?;
    suspension::bring_rights(control, tenant).await;
    Ok(answer.into_response())
}

#[derive(Debug, Default, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct OperationFilter {
    /// Which tenant's.
    tenant: Option<String>,
    /// `running`, `done`, `failed`, `stuck`, `undone`; one or more, with commas.
    state: Option<String>,
    /// As in `provision`; one or more, with commas.
    kind: Option<String>,
    /// 1 to 200, default 50.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists operations, newest first.
#[utoipa::path(get, path = "/v1/operations", operation_id = "lifecycle.list_operations", tag = "lifecycle",
    params(OperationFilter), responses((status = 200, body = List<Operation>)))]
async fn list_operations(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(wanted): Parameters<OperationFilter>,
) -> Answer<Json<List<Operation>>> {
    let tenant = caller.scope(wanted.tenant.as_deref())?;
    let permit = caller.permit("operation:read", tenant)?;
    let size = Page { tenant: None, limit: wanted.limit, cursor: None }.size()?;
    let kinds = wanted.kind.as_ref().map(|kinds| kinds.split(',').map(str::to_owned).collect());
    let filter = Filter { tenant, states: states(wanted.state.as_deref())?, kinds };
    let query = format!("operations {filter:?}");
    let before: Option<OperationId> = cursor::after(&control, &query, wanted.cursor.as_deref())?;
    let transaction = control.store.read(&permit).await?;
    let mut sagas = queries::list(&transaction, &filter, before.map(|id| id.0), size + 1).await?;
    let next_cursor = cursor::cut(&control, &query, &mut sagas, size, |saga| saga.id.to_string());
    let items = operations::views(&transaction, sagas, caller.is_operator()).await?;
    transaction.finish().await?;
    Ok(Json(List { items, next_cursor }))
}

fn states(wanted: Option<&str>) -> Result<Option<Vec<String>>, Refusal> {
    let Some(words) = wanted else { return Ok(None) };
    let mut all = Vec::new();
    for word in words.split(',') {
        let stored = OperationState::stored(word).ok_or_else(|| {
            let refusal = Refusal::new(&kind::INVALID, format!("`{word}` is no state."));
            refusal.field("/state", "unknown", "running, done, failed, stuck or undone")
        })?;
        all.extend(stored.iter().map(|word| (*word).to_owned()));
    }
    Ok(Some(all))
}

/// One operation.
#[utoipa::path(get, path = "/v1/operations/{operation}", operation_id = "lifecycle.get_operation",
    tag = "lifecycle", params(("operation" = String, Path, description = "`operation_…`")),
    responses((status = 200, body = Operation)))]
async fn get_operation(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Json<Operation>> {
    let id: OperationId = path_id(&id)?;
    let scope = caller.scope(None)?;
    let permit = caller.permit("operation:read", scope)?;
    let transaction = control.store.read(&permit).await?;
    let operation = shown(&transaction, id, caller.is_operator()).await?;
    transaction.finish().await?;
    Ok(Json(operation))
}

async fn shown(transaction: &Transaction, id: OperationId, with_details: bool) -> Result<Operation, Refusal> {
    let saga = queries::get(transaction, id).await?.ok_or_else(no_such_operation)?;
    Ok(operations::views(transaction, vec![saga], with_details).await?.remove(0))
}

/// What a person decides about an operation that is stuck.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DecisionBody {
    /// The step that is stuck; refused if it is another one by now.
    #[serde(default)]
    step: Option<String>,
    /// 1 to 500 characters; for `skip`: what was done by hand.
    reason: String,
}

/// Tries the failed undo of a stuck operation again.
#[utoipa::path(post, path = "/v1/operations/{operation}/resume", operation_id = "lifecycle.resume_operation",
    tag = "lifecycle", params(("operation" = String, Path, description = "`operation_…`")),
    request_body = DecisionBody, responses((status = 200, body = Operation)))]
async fn resume_operation(
    state: State<Shared>,
    caller: Caller,
    path: Path<String>,
    idempotency: Idempotency,
    body: Body<DecisionBody>,
) -> Answer<Response> {
    decide(state, caller, path, (idempotency, body), Decision::Resume).await
}

/// Takes the failed undo of a stuck operation as done by hand.
#[utoipa::path(post, path = "/v1/operations/{operation}/skip", operation_id = "lifecycle.skip_operation",
    tag = "lifecycle", params(("operation" = String, Path, description = "`operation_…`")),
    request_body = DecisionBody, responses((status = 200, body = Operation)))]
async fn skip_operation(
    state: State<Shared>,
    caller: Caller,
    path: Path<String>,
    idempotency: Idempotency,
    body: Body<DecisionBody>,
) -> Answer<Response> {
    decide(state, caller, path, (idempotency, body), Decision::Skip).await
}

/// Gives a stuck operation up; the inventory keeps what is left.
#[utoipa::path(post, path = "/v1/operations/{operation}/abandon", operation_id = "lifecycle.abandon_operation",
    tag = "lifecycle", params(("operation" = String, Path, description = "`operation_…`")),
    request_body = DecisionBody, responses((status = 200, body = Operation)))]
async fn abandon_operation(
    state: State<Shared>,
    caller: Caller,
    path: Path<String>,
    idempotency: Idempotency,
    body: Body<DecisionBody>,
) -> Answer<Response> {
    decide(state, caller, path, (idempotency, body), Decision::Abandon).await
}

async fn decide(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    (idempotency, body): (Idempotency, Body<DecisionBody>),
    decision: Decision,
) -> Answer<Response> {
    let id: OperationId = path_id(&id)?;
    let permit = caller.permit("operation:resume", None)?;
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, &body.bytes).await? {
        return Ok(kept.into_response());
    }
    let DecisionBody { step, reason } = &body.value;
    let order = (decision, step.as_deref(), reason.as_str());
    let (operation, change) = operations::decide(&transaction, &permit, id, order, caller.request_id).await?;
    let answer = Kept::new(StatusCode::OK, &operation);
    idempotency.keep(&transaction, &answer).await?;
    transaction.commit(change).await?;
    Ok(answer.into_response())
}
