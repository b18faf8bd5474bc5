//! `/v1/restores`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use rowhouse_domain::id::{BackupId, RestoreId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::api::frame::{Opened, close, open, shown};
use super::super::backup::{self, no_such_backup, queries::BackupRow};
use super::super::copies;
use super::super::operations::Operation;
use super::begin::{Mode, begin};
use super::queries::{self, RestoreRow};
use super::{expire, login};
use crate::Shared;
use crate::api::idempotency::Idempotency;
use crate::api::{Answer, Body, Caller, List, Page, Parameters, TenantParameter, cursor, path_id};
use crate::tenancy::cells;

/// The routes of restores.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(create_restore, list_restores))
        .routes(routes!(get_restore, remove_restore))
        .routes(routes!(reveal_restore))
}

/// A restored copy beside a living tenant.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Restore {
    /// `restore_…`.
    pub id: String,
    /// Whose.
    pub tenant: String,
    /// What was restored.
    pub backup: String,
    /// The operation that made it.
    pub operation: String,
    /// `beside`.
    pub mode: String,
    /// `running`, `open`, `failed` or `expired`.
    pub state: String,
    /// How it is reached; while it is open.
    pub access: Option<RestoreAccess>,
    /// Of all tables.
    pub rows: Option<i64>,
    /// Version of each service's tables in the backup; they were migrated forward.
    #[schema(value_type = Object)]
    pub schema_versions: Value,
    /// RFC 3339.
    pub created_at: String,
    /// The principal that asked for it.
    pub created_by: String,
    /// When it goes; RFC 3339.
    pub expires_at: String,
}

/// How a restored copy is reached. Every service has the schema of its name there.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RestoreAccess {
    /// Directory of a socket, or a loopback address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The database.
    pub database: String,
    /// The login: it can read, and nothing else. `…/reveal` tells its password.
    pub login: String,
}

async fn view(transaction: &Transaction, row: RestoreRow) -> Result<Restore, Refusal> {
    let cell = cells::get(transaction, &row.cell).await?.filter(|_| row.state == "open");
    let access = cell.map(|cell| RestoreAccess {
        host: cell.host,
        port: cell.port,
        database: row.place.database.clone(),
        login: row.place.login.clone(),
    });
    Ok(Restore {
        id: row.id.to_string(),
        tenant: row.tenant.to_string(),
        backup: row.backup.to_string(),
        operation: rowhouse_domain::id::OperationId(row.operation).to_string(),
        mode: row.mode,
        state: row.state,
        access,
        rows: row.rows,
        schema_versions: row.services,
        created_at: row.created_at.to_string(),
        created_by: row.created_by,
        expires_at: row.expires_at.to_string(),
    })
}

#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRestoreBody {
    /// The backup; the newest that was taken by `at`, if not said.
    #[serde(default)]
    backup: Option<String>,
    /// RFC 3339; now, if not said.
    #[serde(default)]
    at: Option<String>,
    /// `beside`: a copy that can be read for seven days. The living data is never touched.
    #[serde(default = "beside")]
    mode: String,
}

fn beside() -> String {
    Mode::Beside.as_str().to_owned()
}

/// Restores a tenant's rows of some time beside the living ones. Follow the operation in `Location`; its result names the
/// copy.
#[utoipa::path(post, path = "/v1/restores", operation_id = "lifecycle.create_restore", tag = "lifecycle",
    params(TenantParameter), request_body = NewRestoreBody, responses((status = 202, body = Operation)))]
async fn create_restore(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(named): Parameters<TenantParameter>,
    idempotency: Idempotency,
    body: Body<NewRestoreBody>,
) -> Answer<Response> {
    let tenant = caller.one_tenant(named.tenant.as_deref())?;
    let permit = caller.permit("backup:restore", Some(tenant))?;
    if body.value.mode != beside() {
        let refusal = Refusal::new(&kind::INVALID, "There is no such mode.");
        return Err(refusal.field("/mode", "unknown", "beside").into());
    }
    let transaction = match open(&control, &permit, &idempotency, &body.bytes).await? {
        Opened::New(transaction) => transaction,
        Opened::Kept(kept) => return Ok(kept.into_response()),
    };
    copies::refuse_too_many(&control, &transaction, &caller, (tenant, copies::Kind::Restore)).await?;
    let backup = wanted(&transaction, tenant, &body.value).await?;
    let order = (&backup, Mode::Beside);
    let (id, change) = begin(&control, &transaction, &permit, order, caller.request_id).await?;
    let answer = shown(&transaction, id).await?;
    close(transaction, &idempotency, answer, change).await
}

async fn wanted(
    transaction: &Transaction,
    tenant: rowhouse_domain::id::TenantId,
    body: &NewRestoreBody,
) -> Result<BackupRow, Refusal> {
    let malformed = |pointer: &'static str, words: &'static str| {
        Refusal::new(&kind::INVALID, "The request is not well-formed.").field(pointer, "malformed", words)
    };
    match (&body.backup, &body.at) {
        (Some(_), Some(_)) => Err(malformed("/at", "name a backup or a time, not both")),
        (Some(id), None) => {
            let id: BackupId = path_id(id)?;
            let row = backup::queries::get(transaction, id).await?;
            row.filter(|row| row.tenant == tenant).ok_or_else(no_such_backup)
        }
        (None, at) => {
            let at = at.as_deref().map(str::parse::<Timestamp>).transpose();
            let at = at.map_err(|_| malformed("/at", "a time as in 2026-11-20T14:03:07Z"))?;
            let row = backup::queries::newest(transaction, tenant, at).await?;
            row.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "No backup was taken by then."))
        }
    }
}

/// Lists restored copies, newest first.
#[utoipa::path(get, path = "/v1/restores", operation_id = "lifecycle.list_restores", tag = "lifecycle",
    params(Page), responses((status = 200, body = List<Restore>)))]
async fn list_restores(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(page): Parameters<Page>,
) -> Answer<Json<List<Restore>>> {
    let tenant = caller.scope(page.tenant.as_deref())?;
    let permit = caller.permit("backup:read", tenant)?;
    let size = page.size()?;
    let query = format!("restores {tenant:?}");
    let before: Option<RestoreId> = cursor::after(&control, &query, page.cursor.as_deref())?;
    let transaction = control.store.read(&permit).await?;
    let mut rows = queries::list(&transaction, tenant, before.map(|id| id.0), size + 1).await?;
    let next_cursor = cursor::cut(&control, &query, &mut rows, size, |row| row.id.to_string());
    let mut items = Vec::new();
    for row in rows {
        items.push(view(&transaction, row).await?);
    }
    transaction.finish().await?;
    Ok(Json(List { items, next_cursor }))
}

/// One restored copy.
#[utoipa::path(get, path = "/v1/restores/{restore}", operation_id = "lifecycle.get_restore", tag = "lifecycle",
    params(("restore" = String, Path, description = "`restore_…`")), responses((status = 200, body = Restore)))]
async fn get_restore(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Json<Restore>> {
    let id: RestoreId = path_id(&id)?;
    let permit = caller.permit("backup:read", caller.home())?;
    let transaction = control.store.read(&permit).await?;
    let row = queries::get(&transaction, id).await?.ok_or_else(no_such_restore)?;
    let view = view(&transaction, row).await?;
    transaction.finish().await?;
    Ok(Json(view))
}

/// Removes a restored copy before its time.
#[utoipa::path(delete, path = "/v1/restores/{restore}", operation_id = "lifecycle.remove_restore", tag = "lifecycle",
    params(("restore" = String, Path, description = "`restore_…`")), responses((status = 204)))]
async fn remove_restore(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    let id: RestoreId = path_id(&id)?;
    let permit = caller.permit("backup:restore", caller.home())?;
    let row = open_row(&control, &permit, id).await?;
    expire::remove(&control, &permit, &row, Some(caller.request_id.to_string())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The password of a restored copy's login.
#[derive(Debug, Serialize, ToSchema)]
pub struct Revealed {
    /// The login.
    pub login: String,
    /// Its password; each telling leaves an event.
    pub password: String,
}

/// Tells the password of a restored copy's login.
#[utoipa::path(post, path = "/v1/restores/{restore}/reveal", operation_id = "lifecycle.reveal_restore", tag = "lifecycle",
    params(("restore" = String, Path, description = "`restore_…`")), responses((status = 200, body = Revealed)))]
async fn reveal_restore(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Json<Revealed>> {
    let id: RestoreId = path_id(&id)?;
    let permit = caller.permit("backup:restore", caller.home())?;
    let row = open_row(&control, &permit, id).await?;
    let password = login::reveal(&control, &row).await?;
    let transaction = control.store.write(&permit).await?;
    let change = Change::new(row.tenant, "lifecycle.restore_revealed", "read", transaction.principal())
        .on("restore", row.id)
        .request(caller.request_id);
    transaction.commit(change).await?;
    Ok(Json(Revealed { login: row.place.login, password }))
}

async fn open_row(
    control: &Shared,
    permit: &rowhouse_domain::access::Permit,
    id: RestoreId,
) -> Result<RestoreRow, Refusal> {
    let transaction = control.store.read(permit).await?;
    let row = queries::get(&transaction, id).await?.ok_or_else(no_such_restore)?;
    transaction.finish().await?;
    match row.state.as_str() {
        "open" => Ok(row),
        "expired" => Err(Refusal::new(&kind::LIFECYCLE_EXPIRED, "The restored copy is gone.")),
        other => Err(Refusal::new(&kind::WRONG_STATUS, format!("The restored copy is {other}."))),
    }
}

fn no_such_restore() -> Refusal {
    Refusal::new(&kind::NOT_FOUND, "There is no such restored copy.")
}
