//! The log over HTTP: events, proofs, checkpoints, bundles.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use rowhouse_domain::access::Permit;
use rowhouse_domain::audit::bundle::Bundle;
use rowhouse_domain::id::{OPERATOR_TENANT, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::read::{self, LogState, Search};
use super::shown::EventBody;
use crate::Shared;
use crate::api::{Answer, Caller, List, Page, Parameters, cursor};

/// All paths of the feature.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list_events))
        .routes(routes!(read_event))
        .routes(routes!(read_proof))
        .routes(routes!(read_log))
        .routes(routes!(read_checkpoint))
        .routes(routes!(read_consistency))
        .routes(routes!(read_bundle))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Whose log; the operator's own if an operator does not say.
    tenant: Option<String>,
    /// Exact name, as in `keys.key_created`.
    event: Option<String>,
    /// One of the closed list of types.
    #[serde(rename = "type")]
    event_type: Option<String>,
    /// `success` or `failure`.
    result: Option<String>,
    /// Id of the actor.
    actor: Option<String>,
    /// `<kind>:<id>` of a target.
    resource: Option<String>,
    /// 1 to 200, default 50.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

fn log_of(caller: &Caller, named: Option<&str>) -> Result<TenantId, Refusal> {
    match named {
        Some("operator") if caller.is_operator() => Ok(OPERATOR_TENANT),
        named => Ok(caller.scope(named)?.unwrap_or(OPERATOR_TENANT)),
    }
}

fn permit(caller: &Caller, permission: &str, log: TenantId) -> Result<Permit, Refusal> {
    caller.permit(permission, Some(log))
}

/// Events of a log, oldest first. Reading them is an event too.
#[utoipa::path(get, path = "/v1/audit/events", operation_id = "audit.list_events", tag = "audit",
    params(Filter), responses((status = 200, body = List<EventBody>)))]
async fn list_events(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(filter): Parameters<Filter>,
) -> Answer<Json<List<EventBody>>> {
    let log = log_of(&caller, filter.tenant.as_deref())?;
    let permit = permit(&caller, "audit:read", log)?;
    let query = format!("audit events {log} {:?}", (&filter.event, &filter.event_type, &filter.result, &filter.actor, &filter.resource));
    let after = match &filter.cursor {
        Some(cursor) => cursor::open(&control, &query, cursor)?.parse().unwrap_or(i64::MAX),
        None => -1,
    };
    let limit = Page { limit: filter.limit, ..Page::default() }.size()?;
    let search = Search {
        after,
        event: filter.event,
        event_type: filter.event_type,
        result: filter.result,
        actor: filter.actor,
        resource: filter.resource,
        limit: limit + 1,
    };
    let tx = control.store.read(&permit).await?;
    let covered = read::log(&tx, log).await?.map_or(0, |state| state.covered);
    let mut found = read::search(&tx, log, &search).await?;
    tx.finish().await?;
    let more = found.len() as i64 > limit;
    found.truncate(limit as usize);
    let last = found.last().filter(|_| more).map(|event| event.index.to_string());
    let next_cursor = last.map(|last| cursor::seal(&control, &query, &last));
    let what = read::described(&search, found.len());
    read::note_reading(&control.store, &permit, log, "audit.events_read", what, caller.request_id.to_string())
        .await?;
    let items = found.iter().filter_map(|event| EventBody::of(event, covered)).collect();
    Ok(Json(List { items, next_cursor }))
}

fn no_such_event() -> Refusal {
    Refusal::new(&kind::NOT_FOUND, "There is no such event.")
}

/// One event.
#[utoipa::path(get, path = "/v1/audit/events/{id}", operation_id = "audit.read_event", tag = "audit",
    params(("id" = String, Path)), responses((status = 200, body = EventBody)))]
async fn read_event(State(control): State<Shared>, caller: Caller, Path(id): Path<String>) -> Answer<Json<EventBody>> {
    let (_, state, event) = find(&control, &caller, &id).await?;
    Ok(Json(EventBody::of(&event, state.covered).ok_or_else(no_such_event)?))
}

async fn find(
    control: &Shared,
    caller: &Caller,
    id: &str,
) -> Result<(TenantId, LogState, read::StoredEvent), Refusal> {
    let permit = caller.permit("audit:read", caller.scope(None)?)?;
    let tx = control.store.read(&permit).await?;
    let (log, event) = read::event(&tx, id).await?.ok_or_else(no_such_event)?;
    let state = read::log(&tx, log).await?.ok_or_else(no_such_event)?;
    tx.finish().await?;
    Ok((log, state, event))
}

/// A leaf, its inclusion proof, and the checkpoint it is proven under.
#[derive(Debug, Serialize, ToSchema)]
struct ProofBody {
    /// The verbatim leaf.
    leaf: String,
    /// Its place.
    index: u64,
    /// Size of the checkpoint.
    size: u64,
    /// Hashes in base64, nearest first (RFC 6962 §2.1.1).
    #[schema(value_type = Vec<String>)]
    inclusion: Vec<rowhouse_domain::audit::tree::Hash>,
    /// The signed note.
    checkpoint: String,
}

/// The proof of one event.
#[utoipa::path(get, path = "/v1/audit/events/{id}/proof", operation_id = "audit.read_proof", tag = "audit",
    params(("id" = String, Path)), responses((status = 200, body = ProofBody)))]
async fn read_proof(State(control): State<Shared>, caller: Caller, Path(id): Path<String>) -> Answer<Json<ProofBody>> {
    let (log, state, event) = find(&control, &caller, &id).await?;
    let tx = control.store.read(&permit(&caller, "audit:read", log)?).await?;
    let not_yet = || Refusal::new(&kind::NOT_FOUND, "No checkpoint covers this event yet.").retry_after(1);
    let checkpoint = read::checkpoint(&tx, log).await?.ok_or_else(not_yet)?;
    let inclusion = read::inclusion(&tx, log, event.index, state.covered).await?.ok_or_else(not_yet)?;
    tx.finish().await?;
    Ok(Json(ProofBody { leaf: event.leaf, index: event.index, size: state.covered, inclusion, checkpoint }))
}

/// How a log stands, and the keys it signs with.
#[derive(Debug, Serialize, ToSchema)]
struct LogBody {
    /// Its name.
    origin: String,
    /// Leaves.
    size: u64,
    /// Root over them, in base64.
    root: String,
    /// Verifier keys, as in `name+hash+key`.
    vkeys: Vec<String>,
    /// `live`.
    state: String,
    /// Leaves under the newest checkpoint.
    checkpoint_size: u64,
}

fn no_such_log() -> Refusal {
    Refusal::new(&kind::NOT_FOUND, "There is no such log, or nothing in it yet.")
}

async fn open(
    control: &Shared,
    caller: &Caller,
    name: &str,
    permission: &str,
) -> Result<(TenantId, LogState, Permit), Refusal> {
    let log = log_of(caller, Some(name))?;
    let permit = permit(caller, permission, log)?;
    let tx = control.store.read(&permit).await?;
    let state = read::log(&tx, log).await?.ok_or_else(no_such_log)?;
    tx.finish().await?;
    Ok((log, state, permit))
}

/// A log's size, root and keys.
#[utoipa::path(get, path = "/v1/audit/logs/{log}", operation_id = "audit.read_log", tag = "audit",
    params(("log" = String, Path)), responses((status = 200, body = LogBody)))]
async fn read_log(State(control): State<Shared>, caller: Caller, Path(name): Path<String>) -> Answer<Json<LogBody>> {
    let (log, state, _) = open(&control, &caller, &name, "audit:read").await?;
    Ok(Json(LogBody {
        vkeys: read::verifier_keys(&control, log, &state.origin),
        origin: state.origin,
        size: state.size,
        root: state.root.to_base64(),
        state: "live".to_owned(),
        checkpoint_size: state.covered,
    }))
}

/// The newest signed checkpoint.
#[utoipa::path(get, path = "/v1/audit/logs/{log}/checkpoint", operation_id = "audit.read_checkpoint", tag = "audit",
    params(("log" = String, Path)), responses((status = 200, body = String, content_type = "text/plain")))]
async fn read_checkpoint(State(control): State<Shared>, caller: Caller, Path(name): Path<String>) -> Answer<Response> {
    let (log, _, permit) = open(&control, &caller, &name, "audit:read").await?;
    let tx = control.store.read(&permit).await?;
    let note = read::checkpoint(&tx, log).await?.ok_or_else(no_such_log)?;
    tx.finish().await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], note).into_response())
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Range {
    /// The older size.
    from: u64,
    /// The newer size.
    to: u64,
}

/// Hashes that prove one size of a log to be the beginning of another.
#[derive(Debug, Serialize, ToSchema)]
struct ConsistencyBody {
    /// The older size.
    from: u64,
    /// The newer size.
    to: u64,
    /// Hashes in base64 (RFC 6962 §2.1.2).
    #[schema(value_type = Vec<String>)]
    proof: Vec<rowhouse_domain::audit::tree::Hash>,
}

/// The proof that nothing before a size has changed.
#[utoipa::path(get, path = "/v1/audit/logs/{log}/consistency", operation_id = "audit.read_consistency", tag = "audit",
    params(("log" = String, Path), Range), responses((status = 200, body = ConsistencyBody)))]
async fn read_consistency(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    Parameters(range): Parameters<Range>,
) -> Answer<Json<ConsistencyBody>> {
    let (log, state, permit) = open(&control, &caller, &name, "audit:read").await?;
    let bad = || {
        Refusal::new(&kind::INVALID, "The sizes are not of this log.").field(
            "/to",
            "out_of_bounds",
            format!("1 <= from <= to <= {}", state.size),
        )
    };
    if range.from == 0 || range.from > range.to || range.to > state.size {
        return Err(bad().into());
    }
    let tx = control.store.read(&permit).await?;
    let proof = read::consistency(&tx, log, range.from, range.to).await?.ok_or_else(bad)?;
    tx.finish().await?;
    Ok(Json(ConsistencyBody { from: range.from, to: range.to, proof }))
}

/// Everything of a log, to be verified on a machine that has never met this one.
#[utoipa::path(get, path = "/v1/audit/logs/{log}/bundle", operation_id = "audit.read_bundle", tag = "audit",
    params(("log" = String, Path)), responses((status = 200, body = Object)))]
async fn read_bundle(State(control): State<Shared>, caller: Caller, Path(name): Path<String>) -> Answer<Json<Bundle>> {
    let (log, state, permit) = open(&control, &caller, &name, "audit:export").await?;
    let tx = control.store.read(&permit).await?;
    let bundle = read::bundle(&tx, log, &state, control.clock().now_us()).await?;
    tx.finish().await?;
    let what = json!({"leaves": bundle.leaves.len()});
    read::note_reading(&control.store, &permit, log, "audit.events_exported", what, caller.request_id.to_string())
        .await?;
    Ok(Json(bundle))
}
