//! `/v1/operations`: following long changes, and what a person decides about them.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use rowhouse_domain::id::OperationId;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::Topic;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::frame::{Opened, close, open};
use crate::Shared;
use crate::api::idempotency::{Idempotency, Kept};
use crate::api::{Answer, Body, Caller, List, Page, Parameters, cursor, path_id, preferred_wait};
use crate::lifecycle::decisions::{self, Decision};
use crate::lifecycle::explain::{self, Explanation};
use crate::lifecycle::operations::{self, Operation, OperationState};
use crate::lifecycle::queries::{self, Filter};

/// Longest wait for an operation's end that `Prefer: wait` can ask for: shorter than what a server that stops waits for open requests.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_secs(1);

/// Operations and decisions about them.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list_operations))
        .routes(routes!(get_operation))
        .routes(routes!(explain_operation))
        .routes(routes!(resume_operation))
        .routes(routes!(skip_operation))
        .routes(routes!(abandon_operation))
        .routes(routes!(cancel_operation))
}

#[derive(Debug, Default, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct OperationFilter {
    /// Which tenant's.
    tenant: Option<String>,
    /// `scheduled`, `running`, `done`, `failed`, `stuck`, `undone`; one or more, with commas.
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
            refusal.field("/state", "unknown", "scheduled, running, done, failed, stuck or undone")
        })?;
        all.extend(stored.iter().map(|word| (*word).to_owned()));
    }
    Ok(Some(all))
}

/// One operation; with `Prefer: wait=5`, once it is over or waits for a person, if that is not too long.
#[utoipa::path(get, path = "/v1/operations/{operation}", operation_id = "lifecycle.get_operation",
    tag = "lifecycle", params(("operation" = String, Path, description = "`operation_…`")),
    responses((status = 200, body = Operation)))]
async fn get_operation(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer<Json<Operation>> {
    let id: OperationId = path_id(&id)?;
    let scope = caller.scope(None)?;
    let permit = caller.permit("operation:read", scope)?;
    let until = Instant::now() + preferred_wait(&headers, WAIT_MAX).unwrap_or_default();
    let mut ended = control.store.touched(Topic::Operations);
    loop {
        let transaction = control.store.read(&permit).await?;
        let operation = match Instant::now() < until {
            true => operations::view_unless_running(&transaction, id, caller.is_operator()).await?,
            false => Some(operations::view_of(&transaction, id, caller.is_operator()).await?),
        };
        transaction.finish().await?;
        if let Some(operation) = operation {
            return Ok(Json(operation));
        }
        // Another process may have ended it, which rings no bell here.
        let _ = timeout_at(until.min(Instant::now() + LOOK), ended.changed()).await;
    }
}

/// Why an operation stands where it stands, and what may be done about it. For the operator.
#[utoipa::path(get, path = "/v1/operations/{operation}/explain", operation_id = "lifecycle.explain_operation",
    tag = "lifecycle", params(("operation" = String, Path, description = "`operation_…`")),
    responses((status = 200, body = Explanation)))]
async fn explain_operation(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Json<Explanation>> {
    let id: OperationId = path_id(&id)?;
    let permit = caller.permit("operation:read", None)?;
    let transaction = control.store.read(&permit).await?;
    let explanation = explain::explain(&transaction, id).await?;
    transaction.finish().await?;
    Ok(Json(explanation))
}

/// What a person decides about an operation.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DecisionBody {
    /// The step that is stuck; refused if it is another one by now. Not for `cancel`.
    #[serde(default)]
    step: Option<String>,
    /// 1 to 500 characters; for `skip`: what was done by hand.
    reason: String,
}

/// Everything that a decision comes with.
type Asked = (State<Shared>, Caller, Path<String>, Idempotency, Body<DecisionBody>);

/// Tries what failed in a stuck operation again.
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
    decide((state, caller, path, idempotency, body), Decision::Resume).await
}

/// Takes the step that a stuck operation stands at as done by hand.
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
    decide((state, caller, path, idempotency, body), Decision::Skip).await
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
    decide((state, caller, path, idempotency, body), Decision::Abandon).await
}

/// Takes a scheduled operation back; a running one turns back before its next step, while that is possible.
#[utoipa::path(post, path = "/v1/operations/{operation}/cancel", operation_id = "lifecycle.cancel_operation",
    tag = "lifecycle", params(("operation" = String, Path, description = "`operation_…`")),
    request_body = DecisionBody, responses((status = 200, body = Operation)))]
async fn cancel_operation(
    state: State<Shared>,
    caller: Caller,
    path: Path<String>,
    idempotency: Idempotency,
    body: Body<DecisionBody>,
) -> Answer<Response> {
    decide((state, caller, path, idempotency, body), Decision::Cancel).await
}

async fn decide(asked: Asked, decision: Decision) -> Answer<Response> {
    let (State(control), caller, Path(id), idempotency, body) = asked;
    let id: OperationId = path_id(&id)?;
    let permit = caller.permit("operation:resume", None)?;
    let transaction = match open(&control, &permit, &idempotency, &body.bytes).await? {
        Opened::New(transaction) => transaction,
        Opened::Kept(kept) => return Ok(kept.into_response()),
    };
    let DecisionBody { step, reason } = &body.value;
    let order = (decision, step.as_deref(), reason.as_str());
    let (operation, change) = decisions::decide(&transaction, &permit, id, order, caller.request_id).await?;
    close(transaction, &idempotency, Kept::new(StatusCode::OK, &operation), change).await
}
