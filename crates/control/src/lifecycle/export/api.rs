//! `POST /v1/tenants/{tenant}/export` and `/v1/exports`.

use axum::Json;
use axum::body::Body as Bytes;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::ExportId;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::Change;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::api::frame::{Opened, close, open, shown};
use super::super::backup::Folder;
use super::super::copies;
use super::super::operations::Operation;
use super::super::sealed::{Chunk, Reader, SealedError};
use super::begin::begin;
use super::queries::{self, Entry, ExportRow};
use super::tar;
use super::write::{KEY_LABEL, names_of};
use crate::Shared;
use crate::api::idempotency::Idempotency;
use crate::api::{Answer, Body, Caller, List, Page, Parameters, cursor, path_id};
use crate::tenancy::{TenantKeyError, named, residency, tenant_key};

/// The routes of exports.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(export_tenant))
        .routes(routes!(list_exports))
        .routes(routes!(get_export))
        .routes(routes!(download_export))
}

/// Everything of a tenant, for it to take along.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Export {
    /// `export_…`.
    pub id: String,
    /// Whose.
    pub tenant: String,
    /// `running`, `ok`, `failed` or `expired`.
    pub state: String,
    /// What is in it.
    pub files: Vec<Entry>,
    /// Where it is fetched, while it can be.
    pub download: Option<String>,
    /// RFC 3339.
    pub created_at: String,
    /// The principal that asked for it.
    pub created_by: String,
    /// Until when it can be fetched; RFC 3339.
    pub expires_at: String,
}

impl Export {
    fn of(row: ExportRow) -> Self {
        Export {
            id: row.id.to_string(),
            tenant: row.tenant.to_string(),
            download: (row.state == "ok").then(|| format!("/v1/exports/{}/download", row.id)),
            state: row.state,
            files: row.contents.unwrap_or_default(),
            created_at: row.created_at.to_string(),
            created_by: row.created_by,
            expires_at: row.expires_at.to_string(),
        }
    }
}

#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ExportBody {
    /// `jsonl`: a tar of JSON lines, the tables' shape, and a manifest.
    #[serde(default = "jsonl")]
    format: String,
}

fn jsonl() -> String {
    "jsonl".to_owned()
}

/// Exports everything of a tenant. Follow the operation in `Location`; its result says where it is fetched.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/export", operation_id = "lifecycle.export_tenant", tag = "lifecycle",
    params(("tenant" = String, Path, description = "Id or code")), request_body = ExportBody,
    responses((status = 202, body = Operation)))]
async fn export_tenant(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    idempotency: Idempotency,
    body: Body<ExportBody>,
) -> Answer<Response> {
    let (permit, tenant) = named(&control, &caller, "tenant:export", &name).await?;
    if body.value.format != jsonl() {
        let refusal = Refusal::new(&kind::INVALID, "There is no such format.");
        return Err(refusal.field("/format", "unknown", "jsonl").into());
    }
    let transaction = match open(&control, &permit, &idempotency, &body.bytes).await? {
        Opened::New(transaction) => transaction,
        Opened::Kept(kept) => return Ok(kept.into_response()),
    };
    copies::refuse_too_many(&control, &transaction, &caller, (tenant, copies::Kind::Export)).await?;
    let (id, change) = begin(&control, &transaction, &permit, tenant, caller.request_id).await?;
    let answer = shown(&transaction, id).await?;
    close(transaction, &idempotency, answer, change).await
}

/// Lists exports, newest first.
#[utoipa::path(get, path = "/v1/exports", operation_id = "lifecycle.list_exports", tag = "lifecycle",
    params(Page), responses((status = 200, body = List<Export>)))]
async fn list_exports(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(page): Parameters<Page>,
) -> Answer<Json<List<Export>>> {
    let tenant = caller.scope(page.tenant.as_deref())?;
    let permit = caller.permit("tenant:export", tenant)?;
    let size = page.size()?;
    let query = format!("exports {tenant:?}");
    let before: Option<ExportId> = cursor::after(&control, &query, page.cursor.as_deref())?;
    let transaction = control.store.read(&permit).await?;
    let mut rows = queries::list(&transaction, tenant, before.map(|id| id.0), size + 1).await?;
    transaction.finish().await?;
    let next_cursor = cursor::cut(&control, &query, &mut rows, size, |row| row.id.to_string());
    Ok(Json(List { items: rows.into_iter().map(Export::of).collect(), next_cursor }))
}

/// One export.
#[utoipa::path(get, path = "/v1/exports/{export}", operation_id = "lifecycle.get_export", tag = "lifecycle",
    params(("export" = String, Path, description = "`export_…`")), responses((status = 200, body = Export)))]
async fn get_export(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Json<Export>> {
    let id: ExportId = path_id(&id)?;
    let permit = caller.permit("tenant:export", caller.home())?;
    let transaction = control.store.read(&permit).await?;
    let row = queries::get(&transaction, id).await?.ok_or_else(no_such_export)?;
    transaction.finish().await?;
    Ok(Json(Export::of(row)))
}

/// Fetches an export as a tar.
#[utoipa::path(get, path = "/v1/exports/{export}/download", operation_id = "lifecycle.download_export",
    tag = "lifecycle", params(("export" = String, Path, description = "`export_…`")),
    responses((status = 200, content_type = "application/x-tar", body = Vec<u8>)))]
async fn download_export(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Response> {
    let id: ExportId = path_id(&id)?;
    let permit = caller.permit("tenant:export", caller.home())?;
    let transaction = control.store.read(&permit).await?;
    let row = queries::get(&transaction, id).await?.ok_or_else(no_such_export)?;
    transaction.finish().await?;
    let reader = opened(&control, &row).await?;
    fetched(&control, &permit, &row, &caller).await?;
    let name = format!("attachment; filename=\"{}.tar\"", row.id);
    let headers = [(CONTENT_TYPE, "application/x-tar".to_owned()), (CONTENT_DISPOSITION, name)];
    let at_s = row.created_at.as_second();
    let archive =
        Archive { reader, entries: row.contents.unwrap_or_default(), at_s, next: 0, left: 0, held: None };
    let body = stream::unfold(Some(archive), |archive| async {
        let mut archive = archive?;
        match archive.piece().await {
            Ok(Some(bytes)) => Some((Ok(bytes), Some(archive))),
            Ok(None) => None,
            // The connection is cut: whoever fetches sees that it is not whole.
            Err(error) => {
                tracing::error!(%error, "an export could not be read to its end");
                Some((Err(error), None))
            }
        }
    });
    Ok((headers, Bytes::from_stream(body)).into_response())
}

async fn opened(control: &Shared, row: &ExportRow) -> Result<Reader, Refusal> {
    let gone = || Refusal::new(&kind::LIFECYCLE_EXPIRED, "The export is gone.");
    match row.state.as_str() {
        "ok" if row.expires_at > control.clock().now() => {}
        "ok" | "expired" => return Err(gone()),
        other => return Err(Refusal::new(&kind::BACKUP_UNFINISHED, format!("The export is {other}."))),
    }
    let file = row.file.as_deref().ok_or_else(gone)?;
    let permit = Permit::for_system(Some(row.tenant), "an export");
    let transaction = control.store.read(&permit).await?;
    let resident = residency::resident(control, &transaction, row.tenant, &row.region).await?;
    transaction.finish().await?;
    let unusable =
        |words: String| Refusal::new(&kind::SEALED_UNAVAILABLE, "It cannot be opened.").private(words);
    let key = tenant_key(control, row.tenant).await.map_err(|error| match error {
        TenantKeyError::Destroyed => Refusal::new(&kind::SHREDDED, "The tenant's key was destroyed."),
        other => unusable(other.to_string()),
    })?;
    let path = Folder::of(&control.settings.backups, &resident).file(file);
    let names = names_of(row.tenant, row.id);
    let reader = Reader::open(&path, &key.derive(KEY_LABEL), names).await;
    reader.map_err(|error| match error {
        SealedError::Missing => gone(),
        other => unusable(other.to_string()),
    })
}

/// Taking data away is on record before the first byte goes.
async fn fetched(control: &Shared, permit: &Permit, row: &ExportRow, caller: &Caller) -> Result<(), Refusal> {
    let transaction = control.store.write(permit).await?;
    let change = Change::new(row.tenant, "lifecycle.export_fetched", "export", transaction.principal())
        .on("export", row.id)
        .request(caller.request_id);
    Ok(transaction.commit(change).await?)
}

/// A tar that is put together while it is fetched; it holds one chunk at a time.
struct Archive {
    reader: Reader,
    entries: Vec<Entry>,
    at_s: i64,
    /// The file whose header comes next.
    next: usize,
    /// What is still to come of the file before.
    left: u64,
    held: Option<Chunk>,
}

impl Archive {
    async fn piece(&mut self) -> Result<Option<Vec<u8>>, SealedError> {
        if self.left > 0 {
            let chunk = match self.held.take() {
                Some(chunk) => chunk,
                None => self.reader.next().await?.ok_or(SealedError::Trailing)?,
            };
            let entry = &self.entries[self.next - 1];
            let mut bytes = chunk.bytes;
            if chunk.section != entry.name || bytes.len() as u64 > self.left {
                return Err(SealedError::Other);
            }
            self.left -= bytes.len() as u64;
            if self.left == 0 {
                bytes.resize(bytes.len() + tar::padding(entry.bytes), 0);
            }
            return Ok(Some(bytes));
        }
        match self.entries.get(self.next) {
            Some(entry) => {
                self.next += 1;
                self.left = entry.bytes;
                Ok(Some(tar::header(&entry.name, entry.bytes, self.at_s).to_vec()))
            }
            None if self.next == self.entries.len() => {
                self.next += 1;
                Ok(Some(tar::END.to_vec()))
            }
            None => Ok(None),
        }
    }
}

fn no_such_export() -> Refusal {
    Refusal::new(&kind::NOT_FOUND, "There is no such export.")
}
