//! `/v1/backups`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rowhouse_domain::id::BackupId;
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::api::frame::{Opened, close, open, shown};
use super::super::copies;
use super::super::operations::Operation;
use super::begin::begin;
use super::queries::{self, BackupRow};
use crate::Shared;
use crate::api::idempotency::{Idempotency, Kept};
use crate::api::{Answer, Body, Caller, List, Page, Parameters, TenantParameter, cursor, path_id};

/// The routes of backups.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(create_backup, list_backups))
        .routes(routes!(get_backup))
        .routes(routes!(verify_backup))
}

/// A backup.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Backup {
    /// `backup_…`.
    pub id: String,
    /// Whose.
    pub tenant: String,
    /// `snapshot`: the tenant's rows at one instant.
    pub kind: String,
    /// `request` or `schedule`.
    pub cause: String,
    /// In words.
    pub note: String,
    /// `running`, `ok`, `failed`, `expired` or `shredded` (its key was destroyed).
    pub state: String,
    /// Where it lies.
    pub region: String,
    /// Where the tenant lay; for the operator only.
    pub cell: Option<String>,
    /// The instant whose rows it holds; RFC 3339.
    pub taken_at: Option<String>,
    /// The first instant that it restores.
    pub restorable_from: Option<String>,
    /// The last one.
    pub restorable_to: Option<String>,
    /// Of the file.
    pub bytes: Option<i64>,
    /// Of all tables.
    pub rows: Option<i64>,
    /// Version of each service's tables.
    #[schema(value_type = Object)]
    pub schema_versions: Value,
    /// Hexadecimal.
    pub manifest_sha256: Option<String>,
    /// Why it failed; for the operator only.
    pub problem: Option<String>,
    /// RFC 3339.
    pub created_at: String,
    /// The principal that asked for it.
    pub created_by: String,
    /// When its file goes; RFC 3339.
    pub expires_at: String,
    /// When it was last restored to scratch and found whole; RFC 3339.
    pub last_verified_at: Option<String>,
    /// What was found then.
    #[schema(value_type = Option<Object>)]
    pub verified: Option<Value>,
}

impl Backup {
    fn of(row: BackupRow, for_operator: bool) -> Self {
        let text = |at: Option<jiff::Timestamp>| at.map(|at| at.to_string());
        let restorable = row.taken_at.filter(|_| row.state == "ok");
        Backup {
            id: row.id.to_string(),
            tenant: row.tenant.to_string(),
            kind: row.kind,
            cause: row.cause,
            note: row.note,
            state: row.state,
            region: row.region,
            cell: row.cell.filter(|_| for_operator),
            taken_at: text(row.taken_at),
            restorable_from: text(restorable),
            restorable_to: text(restorable),
            bytes: row.bytes,
            rows: row.rows,
            schema_versions: row.services,
            manifest_sha256: row.manifest_sha256,
            problem: row.problem.filter(|_| for_operator),
            created_at: row.created_at.to_string(),
            created_by: row.created_by,
            expires_at: row.expires_at.to_string(),
            last_verified_at: text(row.last_verified_at),
            verified: row.verified,
        }
    }
}

#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewBackupBody {
    /// `snapshot`.
    #[serde(default = "snapshot")]
    kind: String,
    /// At most 500 characters.
    #[serde(default)]
    note: String,
}

fn snapshot() -> String {
    "snapshot".to_owned()
}

/// Takes a backup of a tenant: all of its rows at one instant, sealed with its key. It is `running` until its file is whole.
#[utoipa::path(post, path = "/v1/backups", operation_id = "lifecycle.create_backup", tag = "lifecycle",
    params(TenantParameter), request_body = NewBackupBody, responses((status = 202, body = Backup)))]
async fn create_backup(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(named): Parameters<TenantParameter>,
    idempotency: Idempotency,
    body: Body<NewBackupBody>,
) -> Answer<Response> {
    let tenant = caller.one_tenant(named.tenant.as_deref())?;
    let permit = caller.permit("backup:create", Some(tenant))?;
    if body.value.kind != snapshot() {
        let refusal = Refusal::new(&kind::INVALID, "There is no such kind of backup.");
        return Err(refusal.field("/kind", "unknown", "snapshot").into());
    }
    let transaction = match open(&control, &permit, &idempotency, &body.bytes).await? {
        Opened::New(transaction) => transaction,
        Opened::Kept(kept) => return Ok(kept.into_response()),
    };
    copies::refuse_too_many(&control, &transaction, &caller, (tenant, copies::Kind::Backup)).await?;
    let wanted = (tenant, body.value.note.as_str());
    let (id, change) = begin(&control, &transaction, &permit, wanted, caller.request_id).await?;
    let row = queries::get(&transaction, id).await?.ok_or_else(no_such_backup)?;
    let answer = Kept::new(StatusCode::ACCEPTED, &Backup::of(row, caller.is_operator()));
    close(transaction, &idempotency, answer.location(format!("/v1/backups/{id}")), change).await
}

/// Lists backups, newest first.
#[utoipa::path(get, path = "/v1/backups", operation_id = "lifecycle.list_backups", tag = "lifecycle",
    params(Page), responses((status = 200, body = List<Backup>)))]
async fn list_backups(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(page): Parameters<Page>,
) -> Answer<Json<List<Backup>>> {
    let tenant = caller.scope(page.tenant.as_deref())?;
    let permit = caller.permit("backup:read", tenant)?;
    let size = page.size()?;
    let query = format!("backups {tenant:?}");
    let before: Option<BackupId> = cursor::after(&control, &query, page.cursor.as_deref())?;
    let transaction = control.store.read(&permit).await?;
    let mut rows = queries::list(&transaction, tenant, before.map(|id| id.0), size + 1).await?;
    transaction.finish().await?;
    let next_cursor = cursor::cut(&control, &query, &mut rows, size, |row| row.id.to_string());
    let items = rows.into_iter().map(|row| Backup::of(row, caller.is_operator())).collect();
    Ok(Json(List { items, next_cursor }))
}

/// One backup.
#[utoipa::path(get, path = "/v1/backups/{backup}", operation_id = "lifecycle.get_backup", tag = "lifecycle",
    params(("backup" = String, Path, description = "`backup_…`")), responses((status = 200, body = Backup)))]
async fn get_backup(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Json<Backup>> {
    let id: BackupId = path_id(&id)?;
    let permit = caller.permit("backup:read", caller.home())?;
    let transaction = control.store.read(&permit).await?;
    let row = queries::get(&transaction, id).await?.ok_or_else(no_such_backup)?;
    transaction.finish().await?;
    Ok(Json(Backup::of(row, caller.is_operator())))
}

/// Restores a backup to scratch, counts and sums it up, and records what was found. Follow the operation in `Location`.
#[utoipa::path(post, path = "/v1/backups/{backup}/verify", operation_id = "lifecycle.verify_backup", tag = "lifecycle",
    params(("backup" = String, Path, description = "`backup_…`")), responses((status = 202, body = Operation)))]
async fn verify_backup(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    idempotency: Idempotency,
) -> Answer<Response> {
    let id: BackupId = path_id(&id)?;
    let permit = caller.permit("backup:restore", caller.home())?;
    let transaction = match open(&control, &permit, &idempotency, b"").await? {
        Opened::New(transaction) => transaction,
        Opened::Kept(kept) => return Ok(kept.into_response()),
    };
    let row = queries::get(&transaction, id).await?.ok_or_else(no_such_backup)?;
    let wanted = super::super::restore::Mode::Verify;
    let (operation, change) =
        super::super::restore::begin(&control, &transaction, &permit, (&row, wanted), caller.request_id)
            .await?;
    let answer = shown(&transaction, operation).await?;
    close(transaction, &idempotency, answer, change).await
}

/// Also what another tenant's is.
pub fn no_such_backup() -> Refusal {
    Refusal::new(&kind::NOT_FOUND, "There is no such backup.")
}
