//! Logs over HTTP: how they stand, checkpoints, consistency, bundles.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use rowhouse_domain::access::Permit;
use rowhouse_domain::audit::bundle::Bundle;
use rowhouse_domain::audit::tree::Hash;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::Transaction;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::{log_of, plain};
use super::read::{self, LogState};
use super::{export, told};
use crate::api::{Answer, Caller, List, Page, Parameters, cursor};
use crate::{Control, Shared};

/// Paths about logs.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list_logs))
        .routes(routes!(read_log))
        .routes(routes!(read_checkpoint))
        .routes(routes!(read_consistency))
        .routes(routes!(read_bundle))
}

/// How a log stands, and the keys it signs with.
#[derive(Debug, Serialize, ToSchema)]
struct LogBody {
    /// Whose.
    #[schema(value_type = String)]
    tenant: TenantId,
    /// Its name.
    origin: String,
    /// Leaves.
    size: u64,
    /// Root over them, in base64.
    root: String,
    /// Verifier keys, as in `name+hash+key`.
    vkeys: Vec<String>,
    /// `live`; `closed`: its tenant has left, and it takes nothing more; or `recovering`: it contradicts what was signed of it, and
    /// nothing is added or signed.
    state: &'static str,
    /// Leaves under the newest checkpoint.
    checkpoint_size: u64,
}

impl LogBody {
    fn of(control: &Control, state: LogState) -> Self {
        let recovering = control.audit.standing().is_recovering(state.log);
        let signer = control.audit.signer(state.log, &state.origin);
        LogBody {
            tenant: state.log,
            vkeys: signer.iter().map(|signer| signer.verifier().to_string()).collect(),
            origin: state.origin,
            size: state.size,
            root: state.root.to_base64(),
            state: match state.closed_at {
                _ if recovering => "recovering",
                Some(_) => "closed",
                None => "live",
            },
            checkpoint_size: state.covered,
        }
    }
}

/// The logs the caller may read.
#[utoipa::path(get, path = "/v1/audit/logs", operation_id = "audit.list_logs", tag = "audit",
    params(Page), responses((status = 200, body = List<LogBody>)))]
async fn list_logs(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(page): Parameters<Page>,
) -> Answer<Json<List<LogBody>>> {
    let tenant = caller.scope(page.tenant.as_deref())?;
    let permit = caller.permit("audit:read", tenant)?;
    let query = format!("audit logs {tenant:?}");
    let limit = page.size()?;
    let after = page.cursor.as_deref().map(|cursor| cursor::open(&control, &query, cursor)).transpose()?;
    let after = after.and_then(|after| after.parse().ok()).unwrap_or(TenantId::from_u128(0));
    let tx = control.store.read(&permit).await?;
    let mut found = read::logs(&tx, tenant, after, limit + 1).await?;
    tx.finish().await?;
    let more = found.len() as i64 > limit;
    found.truncate(limit as usize);
    let next_cursor =
        found.last().filter(|_| more).map(|last| cursor::seal(&control, &query, &last.log.to_string()));
    let items = found.into_iter().map(|state| LogBody::of(&control, state)).collect();
    Ok(Json(List { items, next_cursor }))
}

fn empty_log() -> Refusal {
    Refusal::new(&kind::NOT_FOUND, "There is no such log, or nothing in it yet.")
}

/// The log that is named, in a transaction whose reads are all of one moment.
async fn open(
    control: &Control,
    caller: &Caller,
    name: &str,
    permission: &str,
) -> Result<(LogState, Transaction, Permit), Refusal> {
    let log = log_of(control, caller, Some(name)).await?;
    let permit = caller.permit(permission, Some(log))?;
    let tx = control.store.read(&permit).await?;
    read::one_moment(&tx).await?;
    match read::log(&tx, log).await? {
        Some(state) => Ok((state, tx, permit)),
        None => {
            tx.finish().await?;
            Err(empty_log())
        }
    }
}

/// A log's size, root and keys.
#[utoipa::path(get, path = "/v1/audit/logs/{log}", operation_id = "audit.read_log", tag = "audit",
    params(("log" = String, Path)), responses((status = 200, body = LogBody)))]
async fn read_log(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
) -> Answer<Json<LogBody>> {
    let (state, tx, _) = open(&control, &caller, &name, "audit:read").await?;
    tx.finish().await?;
    Ok(Json(LogBody::of(&control, state)))
}

/// The newest signed checkpoint.
#[utoipa::path(get, path = "/v1/audit/logs/{log}/checkpoint", operation_id = "audit.read_checkpoint", tag = "audit",
    params(("log" = String, Path)), responses((status = 200, body = String, content_type = "text/plain")))]
async fn read_checkpoint(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
) -> Answer<Response> {
    let (state, tx, _) = open(&control, &caller, &name, "audit:read").await?;
    let note = read::checkpoint(&tx, state.log).await?;
    tx.finish().await?;
    Ok(plain(note.ok_or_else(empty_log)?))
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
    proof: Vec<Hash>,
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
    let (state, tx, _) = open(&control, &caller, &name, "audit:read").await?;
    let Range { from, to } = range;
    let proof = if to <= state.size { read::consistency(&tx, state.log, from, to).await? } else { None };
    tx.finish().await?;
    let bounds = format!("1 <= from <= to <= {}", state.size);
    let bad = Refusal::new(&kind::INVALID, "The sizes are not of this log.");
    Ok(Json(ConsistencyBody { from, to, proof: proof.ok_or(bad.field("/to", "out_of_bounds", bounds))? }))
}

/// Everything of a log, to be verified on a machine that has never met this one.
#[utoipa::path(get, path = "/v1/audit/logs/{log}/bundle", operation_id = "audit.read_bundle", tag = "audit",
    params(("log" = String, Path)), responses((status = 200, body = Object)))]
async fn read_bundle(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
) -> Answer<Json<Bundle>> {
    let (state, tx, permit) = open(&control, &caller, &name, "audit:export").await?;
    let bundle = export::bundle(&tx, &state, control.clock().now_us()).await?;
    tx.finish().await?;
    let what = json!({"leaves": bundle.leaves.len(), "root": state.root.to_base64()});
    told::reading(&control, &caller, &permit, state.log, "audit.events_exported", what).await?;
    Ok(Json(bundle))
}
