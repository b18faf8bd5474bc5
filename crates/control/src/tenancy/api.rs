//! `/v1/tenants` (reading and editing) and `/v1/services/{service}/tables`.

use axum::Json;
use axum::extract::{DefaultBodyLimit, Extension, Path, State};
use axum::response::{IntoResponse, Response};
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{OPERATOR_TENANT, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_tenantdb::tables::{Migration, ServiceTables};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::edit::{TenantEdit, edit};
use super::queries::{self, Filter};
use super::residency::{self, ResidencyEffect};
use super::service_tables;
use super::view::{Context, Tenant, context, view};
use crate::api::{Answer, Body, BodyLimit, Caller, IfMatch, List, Page, Parameters, cursor, etag};
use crate::{Control, Shared, catalog};

/// Manifests and migrations in one body.
const TABLES_BODY_MAX: usize = 16 * 1024 * 1024;

/// The routes of this feature.
pub fn routes() -> OpenApiRouter<Shared> {
    let tables = OpenApiRouter::new()
        .routes(routes!(put_tables))
        .layer(Extension(BodyLimit(TABLES_BODY_MAX)))
        .layer(DefaultBodyLimit::disable());
    OpenApiRouter::new()
        .routes(routes!(list_tenants))
        .routes(routes!(get_tenant, update_tenant))
        .routes(routes!(get_context))
        .merge(super::configuration_api::routes())
        .merge(super::explain::routes())
        .merge(super::features_api::routes())
        .merge(super::hosts::routes())
        .merge(tables)
}

/// The tenant that a path names by id or code, with a permit for it. A tenant's principal finds its own only.
///
/// # Errors
/// 404 if there is none, or it is another's; 403 without the permission.
pub async fn named(
    control: &Control,
    caller: &Caller,
    permission: &str,
    name: &str,
) -> Result<(Permit, TenantId), Refusal> {
    let unknown = || Refusal::new(&kind::NOT_FOUND, "There is no such tenant.");
    let scope = if caller.is_operator() { None } else { Some(caller.tenant()) };
    let transaction = control.store.read(&Permit::for_system(scope, "the name of a tenant")).await?;
    let found = queries::find(&transaction, name).await?;
    transaction.finish().await?;
    let tenant = found.filter(|tenant| *tenant != OPERATOR_TENANT).ok_or_else(unknown)?;
    Ok((caller.permit(permission, Some(tenant))?, tenant))
}

#[derive(Debug, Default, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TenantFilter {
    /// One or more, with commas.
    status: Option<String>,
    /// One or more, with commas.
    tier: Option<String>,
    /// One or more, with commas.
    isolation: Option<String>,
    /// One or more, with commas.
    region: Option<String>,
    /// Within code or name.
    q: Option<String>,
    /// 1 to 200, default 50.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists tenants, oldest first. A tenant's principal sees its own.
#[utoipa::path(get, path = "/v1/tenants", operation_id = "tenancy.list_tenants", tag = "tenancy", params(TenantFilter),
    responses((status = 200, body = List<Tenant>)))]
async fn list_tenants(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(wanted): Parameters<TenantFilter>,
) -> Answer<Json<List<Tenant>>> {
    let scope = caller.scope(None)?;
    let permit = caller.permit("tenant:read", scope)?;
    let size = Page { tenant: None, limit: wanted.limit, cursor: None }.size()?;
    let any = |list: &Option<String>| list.as_ref().map(|list| list.split(',').map(str::to_owned).collect());
    let filter = Filter {
        status: any(&wanted.status),
        tier: any(&wanted.tier),
        isolation: any(&wanted.isolation),
        region: any(&wanted.region),
        text: wanted.q.clone(),
    };
    let query = format!("tenants {scope:?} {filter:?}");
    let after: Option<TenantId> = cursor::after(&control, &query, wanted.cursor.as_deref())?;
    let transaction = control.store.read(&permit).await?;
    let mut records = queries::list(&transaction, &filter, after.map(|id| id.0), size + 1).await?;
    let next_cursor =
        cursor::cut(&control, &query, &mut records, size, |record| record.tenant.id.to_string());
    let mut items = Vec::new();
    for record in records {
        items.push(view(&transaction, record, caller.is_operator()).await.map_err(Refusal::from)?);
    }
    transaction.finish().await?;
    Ok(Json(List { items, next_cursor }))
}

/// One tenant, by id or code.
#[utoipa::path(get, path = "/v1/tenants/{tenant}", operation_id = "tenancy.get_tenant", tag = "tenancy",
    params(("tenant" = String, Path, description = "Id or code")), responses((status = 200, body = Tenant)))]
async fn get_tenant(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
) -> Answer<Response> {
    let (permit, tenant) = named(&control, &caller, "tenant:read", &name).await?;
    let tenant = read(&control, &caller, &permit, tenant).await?;
    Ok((etag(tenant.version), Json(tenant)).into_response())
}

async fn read(
    control: &Control,
    caller: &Caller,
    permit: &Permit,
    tenant: TenantId,
) -> Result<Tenant, Refusal> {
    let transaction = control.store.read(permit).await?;
    let record = queries::get(&transaction, tenant).await?;
    let record = record.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such tenant."))?;
    let tenant = view(&transaction, record, caller.is_operator()).await?;
    transaction.finish().await?;
    Ok(tenant)
}

/// Whether it is only said what would happen.
#[derive(Debug, Default, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EditWhen {
    /// Says what another `residency` would come to, and changes nothing.
    #[serde(default)]
    dry_run: bool,
}

/// Edits a tenant; what is absent stays (RFC 7396). Narrowing its residency is refused while anything of it lies outside;
/// `dry_run` lists what does.
#[utoipa::path(patch, path = "/v1/tenants/{tenant}", operation_id = "tenancy.update_tenant", tag = "tenancy",
    params(("tenant" = String, Path, description = "Id or code"), EditWhen), request_body = TenantEdit,
    responses((status = 200, body = Tenant)))]
async fn update_tenant(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    Parameters(EditWhen { dry_run }): Parameters<EditWhen>,
    if_match: IfMatch,
    body: Body<TenantEdit>,
) -> Answer<Response> {
    let (permit, tenant) = named(&control, &caller, "tenant:update", &name).await?;
    if dry_run {
        return Ok(Json(residency_effect(&control, &permit, tenant, body.value).await?).into_response());
    }
    // Quotas and metadata are the operator's.
    if !caller.is_operator() && (body.value.quota_overrides.is_some() || body.value.metadata.is_some()) {
        let refusal = Refusal::new(&kind::ACCESS_DENIED, "Quotas and metadata are changed by the operator.");
        return Err(refusal.into());
    }
    edit(&control, &permit, tenant, (&if_match, body.value), caller.request_id).await?;
    let tenant = read(&control, &caller, &permit, tenant).await?;
    Ok((etag(tenant.version), Json(tenant)).into_response())
}

async fn residency_effect(
    control: &Control,
    permit: &Permit,
    tenant: TenantId,
    edit: TenantEdit,
) -> Result<ResidencyEffect, Refusal> {
    let only_residency = TenantEdit { residency: edit.residency.clone(), ..TenantEdit::default() } == edit;
    let Some(residency) = edit.residency.filter(|_| only_residency) else {
        let refusal = Refusal::new(&kind::INVALID, "Only a residency can be tried out.");
        return Err(refusal.field("/residency", "required", "alone"));
    };
    let transaction = control.store.read(permit).await?;
    let record = queries::get(&transaction, tenant).await?;
    let record = record.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such tenant."))?;
    let effect = residency::effect(control, &transaction, &record, &residency).await?;
    transaction.finish().await?;
    Ok(effect)
}

/// Everything that a service may need to know about a tenant at once.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/context", operation_id = "tenancy.get_context", tag = "tenancy",
    params(("tenant" = String, Path, description = "Id or code")), responses((status = 200, body = Context)))]
async fn get_context(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
) -> Answer<Json<Context>> {
    let (permit, id) = named(&control, &caller, "tenant:read", &name).await?;
    let tenant = read(&control, &caller, &permit, id).await?;
    let transaction = control.store.read(&permit).await?;
    let configuration = super::configuration::for_services(&transaction, id).await?;
    transaction.finish().await?;
    let directory = control.directory.current();
    let compiled = directory.tenants.get(&id);
    let compiled =
        compiled.ok_or_else(|| Refusal::new(&kind::TENANT_NOT_READY, "The tenant is not served yet."))?;
    Ok(Json(context((tenant, configuration), compiled, &directory, control.clock().now_us())))
}

#[derive(Debug, Default, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TablesWhen {
    /// `now` (the default) or `rollout`: recorded and tried out only; `POST /v1/fleet/migrations` brings them to the places.
    #[param(inline)]
    install: Option<TablesInstall>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum TablesInstall {
    Now,
    Rollout,
}

/// A service's tables.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TablesBody {
    /// The text of `rowhouse-tables.toml`.
    manifest: String,
    /// In any order.
    migrations: Vec<MigrationBody>,
}

#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MigrationBody {
    /// 1 and up.
    number: i32,
    /// What it does.
    name: String,
    /// Plain SQL with unqualified names.
    sql: String,
}

/// Where a service's tables are now.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct TablesAnswer {
    /// The service.
    service: String,
    /// Number of the last migration.
    version: i32,
    /// Schemas that are at it.
    installed: usize,
    /// Tenants whose place could not be brought to it.
    failed: Vec<TablesFailure>,
    /// What the migrations should be asked about.
    advice: Vec<TablesAdvice>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct TablesAdvice {
    /// Number of the migration.
    migration: i32,
    /// What about: `leakproof`, `index_lock`, `rewrite`, `schema`, `unread`.
    concern: &'static str,
    /// In words.
    detail: String,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct TablesFailure {
    /// The tenant.
    tenant: String,
    /// Why.
    problem: String,
}

/// Installs a service's tables wherever tenants lie. Asking again with the same tables changes nothing.
#[utoipa::path(put, path = "/v1/services/{service}/tables", operation_id = "tenancy.put_tables", tag = "tenancy",
    params(("service" = String, Path, description = "Name of the service"), TablesWhen), request_body = TablesBody,
    responses((status = 200, body = TablesAnswer)))]
async fn put_tables(
    State(control): State<Shared>,
    caller: Caller,
    Path(service): Path<String>,
    Parameters(when): Parameters<TablesWhen>,
    body: Body<TablesBody>,
) -> Answer<Json<TablesAnswer>> {
    let permit = caller.permit("tables:update", None)?;
    refuse_unknown_service(&control, &permit, &service).await?;
    let TablesBody { manifest, migrations } = body.value;
    let migration =
        |given: MigrationBody| Migration { number: given.number, name: given.name, sql: given.sql };
    let tables = ServiceTables::parse(&service, &manifest, migrations.into_iter().map(migration).collect())
        .map_err(|error| Refusal::new(&kind::TABLES_INVALID, format!("{error}.")))?;
    let advice = service_tables::concerns(&tables).into_iter();
    let advice = advice
        .map(|(migration, concern, detail)| TablesAdvice { migration, concern: concern.as_str(), detail })
        .collect();
    let request_id = caller.request_id.to_string();
    if when.install == Some(TablesInstall::Rollout) {
        service_tables::put_for_rollout(&control, &permit, &manifest, &tables, &request_id).await?;
        let version = tables.version();
        return Ok(Json(TablesAnswer { service, version, installed: 0, failed: Vec::new(), advice }));
    }
    let rolled = service_tables::put(&control, &permit, &manifest, &tables, &request_id).await?;
    let failure =
        |(tenant, problem): (TenantId, String)| TablesFailure { tenant: tenant.to_string(), problem };
    let failed = rolled.failed.into_iter().map(failure).collect();
    Ok(Json(TablesAnswer { service, version: rolled.version, installed: rolled.installed, failed, advice }))
}

async fn refuse_unknown_service(control: &Control, permit: &Permit, service: &str) -> Result<(), Refusal> {
    let transaction = control.store.read(permit).await?;
    let known = catalog::load(&transaction).await?.services.iter().any(|known| known.name == service);
    transaction.finish().await?;
    if known {
        Ok(())
    } else {
        Err(Refusal::new(&kind::NOT_FOUND, format!("There is no service `{service}`.")))
    }
}
