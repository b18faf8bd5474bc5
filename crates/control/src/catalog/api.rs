//! `/v1/catalog/…`: plan, apply and export; and lists of definitions, one for each kind.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use rowhouse_domain::refusal::{Refusal, kind as refusal_kind};
use rowhouse_domain::tenancy::features::Flag;
use rowhouse_domain::{access::ResourceType, limits::LimitDefinition, tenancy::Tier};
use rowhouse_domain::{access::RoleDefinition, routes::RouteDefinition, routes::ServiceDefinition};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::folder::Places;
use super::meters_and_plans::{Meter, Plan as BillingPlan};
use super::plan::Plan;
use super::queries::{self, Row};
use super::{Applied, CatalogFile, Definitions, Kind, apply, load, plan};
use crate::api::idempotency::{Idempotency, Kept};
use crate::api::{Answer, Body, Caller, List, Parameters};
use crate::{Shared, access};

/// The routes of this feature.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(make_plan))
        .routes(routes!(apply_plan))
        .routes(routes!(export))
        .routes(routes!(list_services))
        .routes(routes!(get_service))
        .routes(routes!(list_routes))
        .routes(routes!(get_route))
        .routes(routes!(list_resource_types))
        .routes(routes!(get_resource_type))
        .routes(routes!(list_roles))
        .routes(routes!(get_role))
        .routes(routes!(list_flags))
        .routes(routes!(get_flag))
        .routes(routes!(list_tiers))
        .routes(routes!(get_tier))
        .routes(routes!(list_limits))
        .routes(routes!(get_limit))
        .routes(routes!(list_meters))
        .routes(routes!(get_meter))
        .routes(routes!(list_plans))
        .routes(routes!(get_plan))
}

/// A whole catalogue.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CatalogBody {
    /// Who owns what it declares: `[a-z][a-z0-9._-]{0,62}`.
    pub name: String,
    /// What runs behind the gateway.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    services: Vec<ServiceDefinition>,
    /// What maps requests to services.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    routes: Vec<RouteDefinition>,
    /// What permissions are about.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    resource_types: Vec<ResourceType>,
    /// Sets of permissions.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    roles: Vec<RoleDefinition>,
    /// Features that can be on or off, or have a value, for each tenant.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    flags: Vec<Flag>,
    /// Bundles of quotas, features and isolation.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    tiers: Vec<Tier>,
    /// Rate limits.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    limits: Vec<LimitDefinition>,
    /// What usage is counted as.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    meters: Vec<Meter>,
    /// Sets of prices.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    plans: Vec<BillingPlan>,
}

impl From<CatalogBody> for CatalogFile {
    fn from(body: CatalogBody) -> Self {
        let CatalogBody {
            name,
            services,
            routes,
            resource_types,
            roles,
            flags,
            tiers,
            limits,
            meters,
            plans,
        } = body;
        let definitions =
            Definitions { services, routes, resource_types, roles, flags, tiers, limits, meters, plans };
        CatalogFile { name, definitions, places: Places::default() }
    }
}

impl From<CatalogFile> for CatalogBody {
    fn from(catalog: CatalogFile) -> Self {
        let Definitions { services, routes, resource_types, roles, flags, tiers, limits, meters, plans } =
            catalog.definitions;
        let name = catalog.name;
        CatalogBody { name, services, routes, resource_types, roles, flags, tiers, limits, meters, plans }
    }
}

/// A plan that was seen, and the catalogue it was made for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyBody {
    /// The plan's digest.
    plan: String,
    /// The same catalogue again.
    catalog: CatalogBody,
    /// Whether orphans are deleted.
    #[serde(default)]
    prune: bool,
}

/// A stored definition: its own fields, and these.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stored {
    /// The fields of its kind.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    definition: Value,
    /// Raised with each change; the ETag.
    version: i64,
    /// The catalogue that declared it last.
    catalog: Option<String>,
    /// When it was last changed.
    updated_at: String,
}

impl From<Row> for Stored {
    fn from(row: Row) -> Self {
        Stored {
            definition: row.definition,
            version: row.version,
            catalog: row.owner,
            updated_at: row.updated_at.to_string(),
        }
    }
}

/// No parameters.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct NoParameters {}

/// Compares a catalogue with what is stored; nothing is changed.
#[utoipa::path(
    post, path = "/v1/catalog/plan", operation_id = "catalog.make_plan", tag = "catalog",
    request_body = CatalogBody, responses((status = 200, body = Plan))
)]
async fn make_plan(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(NoParameters {}): Parameters<NoParameters>,
    body: Body<CatalogBody>,
) -> Answer<Json<Plan>> {
    let permit = caller.permit("catalog:read", None)?;
    let catalog = named(body.value)?;
    let transaction = control.store.read(&permit).await?;
    let answer = plan(&transaction, &catalog).await?;
    transaction.finish().await?;
    Ok(Json(answer))
}

/// Applies a catalogue whose plan was seen, all or nothing.
#[utoipa::path(
    post, path = "/v1/catalog/apply", operation_id = "catalog.apply_plan", tag = "catalog",
    request_body = ApplyBody, responses((status = 200, body = Applied))
)]
async fn apply_plan(
    State(control): State<Shared>,
    caller: Caller,
    idempotency: Idempotency,
    Parameters(NoParameters {}): Parameters<NoParameters>,
    body: Body<ApplyBody>,
) -> Answer<Kept> {
    let permit = caller.permit("catalog:update", None)?;
    let ApplyBody { plan, catalog, prune } = body.value;
    let catalog = named(catalog)?;
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, &body.bytes).await? {
        return Ok(kept);
    }
    let (applied, changes) = apply(&transaction, &catalog, Some(&plan), prune, permit.principal()).await?;
    let answer = Kept::new(StatusCode::OK, &applied);
    idempotency.keep(&transaction, &answer).await?;
    let changes = changes.into_iter().map(|change| change.request(caller.request_id)).collect();
    transaction.commit_all(changes).await?;
    Ok(answer)
}

fn named(body: CatalogBody) -> Result<CatalogFile, Refusal> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    let first = body.name.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    if first && body.name.len() <= 63 && body.name.bytes().all(plain) {
        return Ok(body.into());
    }
    Err(Refusal::new(&refusal_kind::INVALID, "The catalogue's name is malformed.").field(
        "/name",
        "malformed",
        "[a-z][a-z0-9._-]{0,62}",
    ))
}

/// Everything as it is stored, as one catalogue. Applying it changes nothing.
#[utoipa::path(
    get, path = "/v1/catalog/export", operation_id = "catalog.export", tag = "catalog",
    responses((status = 200, body = CatalogBody))
)]
async fn export(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(NoParameters {}): Parameters<NoParameters>,
) -> Answer<Json<CatalogBody>> {
    let permit = caller.permit("catalog:read", None)?;
    let transaction = control.store.read(&permit).await?;
    let definitions = load(&transaction).await.map_err(Refusal::from)?;
    transaction.finish().await?;
    let name = "export".to_owned();
    Ok(Json(CatalogFile { name, definitions, places: Places::default() }.into()))
}

/// Who may read a kind of definitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readers {
    /// Only the operator's own principals: these say where things run.
    Operator,
    /// Tenants' principals too.
    Everybody,
}

fn readers(kind: Kind) -> Readers {
    match kind {
        Kind::Service | Kind::Route => Readers::Operator,
        _ => Readers::Everybody,
    }
}

async fn rows(control: &Shared, caller: &Caller, kind: Kind, name: Option<&str>) -> Answer<Vec<Row>> {
    // Permissions on resource types and roles are one, `role:read`; those on flags and their values too.
    let word = match kind {
        Kind::ResourceType => Kind::Role.word(),
        Kind::Flag => "feature",
        _ => kind.word(),
    };
    let scope = if readers(kind) == Readers::Operator { None } else { caller.scope(None)? };
    let permit = caller.permit(&format!("{word}:read"), scope)?;
    let transaction = control.store.read(&permit).await?;
    let mut rows = queries::list(&transaction, kind, name).await?;
    if let (Kind::Role, Some(tenant)) = (kind, scope) {
        let own = access::load_roles(&transaction, Some(tenant)).await?;
        let asked = |row: &access::RoleRow| name.is_none_or(|name| name == row.definition.name);
        rows.extend(own.into_iter().filter(asked).map(own_role));
    }
    transaction.finish().await?;
    Ok(rows)
}

/// A tenant's own role stands beside those of the catalogue, and in no catalogue.
fn own_role(row: access::RoleRow) -> Row {
    Row {
        kind: Kind::Role,
        name: row.definition.name.clone(),
        definition: serde_json::to_value(row.definition).expect("definitions are JSON"),
        version: row.version,
        owner: None,
        updated_at: row.updated_at,
    }
}

async fn list(control: &Shared, caller: &Caller, kind: Kind) -> Answer<Json<List<Stored>>> {
    let rows = rows(control, caller, kind, None).await?;
    Ok(Json(List::whole(rows.into_iter().map(Stored::from).collect())))
}

async fn one(control: &Shared, caller: &Caller, kind: Kind, name: &str) -> Answer<Response> {
    let row = rows(control, caller, kind, Some(name)).await?.pop();
    let missing = || Refusal::new(&refusal_kind::NOT_FOUND, format!("There is no {kind} with this name."));
    let row = row.ok_or_else(missing)?;
    let tag = format!("\"{}\"", row.version);
    Ok(([(header::ETAG, tag)], Json(Stored::from(row))).into_response())
}

/// A list and a look-up for one kind.
macro_rules! reads {
    ($kind:ident: $list:ident $list_id:literal at $list_path:literal, $get:ident $get_id:literal at $get_path:literal, $tag:literal) => {
        #[doc = concat!("All definitions of this kind, by name: `", $list_path, "`.")]
        #[utoipa::path(
                                            get, path = $list_path, operation_id = $list_id, tag = $tag,
                                            responses((status = 200, body = List<Stored>))
                                        )]
        async fn $list(
            State(control): State<Shared>,
            caller: Caller,
            Parameters(NoParameters {}): Parameters<NoParameters>,
        ) -> Answer<Json<List<Stored>>> {
            list(&control, &caller, Kind::$kind).await
        }

        #[doc = concat!("One definition, with its version as ETag: `", $get_path, "`.")]
        #[utoipa::path(
                                            get, path = $get_path, operation_id = $get_id, tag = $tag,
                                            params(("name" = String, Path, description = "Its name")),
                                            responses((status = 200, body = Stored))
                                        )]
        async fn $get(
            State(control): State<Shared>,
            caller: Caller,
            Path(name): Path<String>,
            Parameters(NoParameters {}): Parameters<NoParameters>,
        ) -> Answer<Response> {
            one(&control, &caller, Kind::$kind, &name).await
        }
    };
}

reads!(Service: list_services "routes.list_services" at "/v1/services", get_service "routes.get_service" at "/v1/services/{name}", "routes");
reads!(Route: list_routes "routes.list_routes" at "/v1/routes", get_route "routes.get_route" at "/v1/routes/{name}", "routes");
reads!(ResourceType: list_resource_types "access.list_resource_types" at "/v1/access/resource_types", get_resource_type "access.get_resource_type" at "/v1/access/resource_types/{name}", "access");
reads!(Role: list_roles "access.list_roles" at "/v1/roles", get_role "access.get_role" at "/v1/roles/{name}", "access");
reads!(Tier: list_tiers "tenancy.list_tiers" at "/v1/tiers", get_tier "tenancy.get_tier" at "/v1/tiers/{name}", "tenancy");
reads!(Flag: list_flags "tenancy.list_flags" at "/v1/flags", get_flag "tenancy.get_flag" at "/v1/flags/{name}", "tenancy");
reads!(Limit: list_limits "limits.list_limits" at "/v1/limits", get_limit "limits.get_limit" at "/v1/limits/{name}", "limits");
reads!(Meter: list_meters "metering.list_meters" at "/v1/meters", get_meter "metering.get_meter" at "/v1/meters/{name}", "metering");
reads!(Plan: list_plans "billing.list_plans" at "/v1/plans", get_plan "billing.get_plan" at "/v1/plans/{name}", "billing");
