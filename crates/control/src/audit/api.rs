//! Events over HTTP: search, one event, its proof.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{OPERATOR_TENANT, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::StoreError;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::read::{self, LogState, StoredEvent};
use super::search::Filter;
use super::shown::EventBody;
use super::told;
use crate::api::{Answer, Caller, List, Parameters};
use crate::{Control, Shared};

/// Paths about events.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list_events)).routes(routes!(read_event)).routes(routes!(read_proof))
}

/// The log that is meant: a tenant's id or code, or `operator`. A tenant's principal has its own.
pub async fn log_of(control: &Control, caller: &Caller, named: Option<&str>) -> Result<TenantId, Refusal> {
    match (caller.is_operator(), named) {
        (true, None | Some("operator")) => Ok(OPERATOR_TENANT),
        // A tenant that is gone from the directory still has its log.
        (true, Some(name)) => {
            let found = caller.scope(Some(name));
            found
                .or_else(|refusal| name.parse().map(Some).map_err(|_| refusal))
                .map(|log| log.unwrap_or(OPERATOR_TENANT))
        }
        (false, named) => match caller.scope(named) {
            Ok(own) => Ok(own.unwrap_or(caller.tenant())),
            Err(_) => Err(told::no_such_log(control, caller, named.unwrap_or_default()).await?),
        },
    }
}

/// Events of a log in its order. Reading them is an event too.
#[utoipa::path(get, path = "/v1/audit/events", operation_id = "audit.list_events", tag = "audit",
    params(Filter), responses((status = 200, body = List<EventBody>)))]
async fn list_events(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(filter): Parameters<Filter>,
) -> Answer<Json<List<EventBody>>> {
    let log = log_of(&control, &caller, filter.tenant.as_deref()).await?;
    let permit = caller.permit("audit:read", Some(log))?;
    let mut search = filter.search(&control, log)?;
    let tx = control.store.read(&permit).await?;
    read::one_moment(&tx).await?;
    let state = read::log(&tx, log).await?;
    let size = state.as_ref().map_or(0, |state| state.size);
    search.before = search.before.min(i64::try_from(size).unwrap_or(i64::MAX));
    let mut found = read::search(&tx, log, &search).await?;
    tx.finish().await?;
    let more = found.len() as i64 == search.limit;
    found.truncate(search.limit as usize - 1);
    let next_cursor = found.last().filter(|_| more).map(|last| filter.next(&control, log, &search, last));
    let what = read::described(&search, &found);
    told::reading(&control, &caller, &permit, log, "audit.events_read", what).await?;
    let items =
        state.iter().flat_map(|state| found.iter().map(|event| EventBody::of(event, state))).collect();
    Ok(Json(List { items, next_cursor }))
}

/// One event.
#[utoipa::path(get, path = "/v1/audit/events/{id}", operation_id = "audit.read_event", tag = "audit",
    params(("id" = String, Path)), responses((status = 200, body = EventBody)))]
async fn read_event(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Json<EventBody>> {
    let (permit, state, event) = find(&control, &caller, &id).await?;
    let what = json!({"id": event.id, "found": 1, "sha256": read::digest(std::slice::from_ref(&event))});
    told::reading(&control, &caller, &permit, state.log, "audit.events_read", what).await?;
    Ok(Json(EventBody::of(&event, &state)))
}

/// The event, its log, and a permit for that log.
async fn find(
    control: &Control,
    caller: &Caller,
    id: &str,
) -> Result<(Permit, LogState, StoredEvent), Refusal> {
    let wide = caller.permit("audit:read", caller.scope(None)?)?;
    let tx = control.store.read(&wide).await?;
    let found = read::event(&tx, id).await?;
    let Some((log, event)) = found else {
        tx.finish().await?;
        return Err(told::no_such_event(control, caller, id).await?);
    };
    let state = read::log(&tx, log).await?.ok_or(StoreError::Stored { what: "the log of an audit event" })?;
    tx.finish().await?;
    Ok((caller.permit("audit:read", Some(log))?, state, event))
}

/// A leaf and the proof that it is in its log.
#[derive(Debug, Serialize, ToSchema)]
struct ProofBody {
    /// The verbatim leaf.
    leaf: String,
    /// `c2sp.org/tlog-proof@v1`: index, hashes, and the signed checkpoint they lead to.
    proof: String,
    /// The leaf's place in the log.
    index: u64,
    /// Size of the checkpoint.
    size: u64,
}

/// The proof of one event under the newest checkpoint; as `text/plain` the proof alone.
#[utoipa::path(get, path = "/v1/audit/events/{id}/proof", operation_id = "audit.read_proof", tag = "audit",
    params(("id" = String, Path)), responses((status = 200, body = ProofBody)))]
async fn read_proof(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer<Response> {
    let (permit, state, event) = find(&control, &caller, &id).await?;
    let tx = control.store.read(&permit).await?;
    read::one_moment(&tx).await?;
    let not_yet = || Refusal::new(&kind::NOT_FOUND, "No checkpoint covers this event yet.").retry_after(1);
    let (proof, size) = read::proof(&tx, state.log, event.index).await?.ok_or_else(not_yet)?;
    tx.finish().await?;
    let what = json!({"id": event.id, "proof_size": size});
    told::reading(&control, &caller, &permit, state.log, "audit.events_read", what).await?;
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.starts_with("text/plain")) {
        return Ok(plain(proof.text()));
    }
    Ok(Json(ProofBody { leaf: event.leaf, proof: proof.text(), index: event.index, size }).into_response())
}

/// A text as it is.
pub fn plain(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}
