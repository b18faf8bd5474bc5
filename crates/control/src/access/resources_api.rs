//! `/v1/access/resources`: the things that services register, so that a grant on what holds them reaches them.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use rowhouse_domain::access::{Resource, ResourceName};
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Authority, resource_queries, thing};
use crate::Shared;
use crate::api::{Answer, Body, Caller, List, Page, Parameters, TenantParameter, cursor};

/// At most so many things at once.
const BATCH_MAX: usize = 1_000;

/// The routes of this part.
pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list_resources))
        .routes(routes!(get_resource, put_resource, delete_resource))
        .routes(routes!(put_resources))
}

/// One thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ThingBody {
    /// Its resource type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its id in the service's words, 1 to 256 bytes.
    pub id: String,
}

impl From<ThingBody> for ResourceName {
    fn from(body: ThingBody) -> Self {
        ResourceName { kind: body.kind, id: body.id }
    }
}

impl From<&ResourceName> for ThingBody {
    fn from(name: &ResourceName) -> Self {
        ThingBody { kind: name.kind.clone(), id: name.id.clone() }
    }
}

/// What a thing is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourceBody {
    /// What holds it; nothing if not said.
    parent: Option<ThingBody>,
    /// What its type declares for conditions, by name; at most 4 KiB of JSON.
    #[serde(default)]
    #[schema(value_type = Object)]
    attributes: Map<String, Value>,
}

/// A registered thing.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourceAnswer {
    /// Its resource type.
    #[serde(rename = "type")]
    kind: String,
    /// Its id.
    id: String,
    /// What holds it.
    #[serde(default)]
    parent: Option<ThingBody>,
    /// What its type declares for conditions.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    attributes: Map<String, Value>,
}

impl From<&Resource> for ResourceAnswer {
    fn from(resource: &Resource) -> Self {
        let ResourceName { kind, id } = resource.name.clone();
        let attributes = resource.attributes.clone();
        ResourceAnswer { kind, id, parent: resource.parent.as_ref().map(ThingBody::from), attributes }
    }
}

impl From<ResourceAnswer> for Resource {
    fn from(answer: ResourceAnswer) -> Self {
        let ResourceAnswer { kind, id, parent, attributes } = answer;
        Resource { name: ResourceName { kind, id }, parent: parent.map(ResourceName::from), attributes }
    }
}

/// Things to be registered together.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchBody {
    /// 1 to 1,000, in an order in which holders come first.
    items: Vec<ResourceAnswer>,
}

/// How many there were.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchAnswer {
    registered: usize,
}

/// `?tenant=&type=&limit=&cursor=`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ResourceParameters {
    /// Which tenant.
    tenant: Option<String>,
    /// Of which resource type.
    #[serde(rename = "type")]
    kind: String,
    /// 1 to 200, default 50.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Registered things of one type, by id.
#[utoipa::path(
    get, path = "/v1/access/resources", operation_id = "access.list_resources", tag = "access",
    params(ResourceParameters), responses((status = 200, body = List<ResourceAnswer>))
)]
async fn list_resources(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(asked): Parameters<ResourceParameters>,
) -> Answer<Json<List<ResourceAnswer>>> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("resource:read", Some(tenant))?;
    let page = Page { tenant: None, limit: asked.limit, cursor: asked.cursor };
    let size = page.size()?;
    let query = format!("resources {tenant} {}", asked.kind);
    let after: Option<String> = cursor::after(&control, &query, page.cursor.as_deref())?;
    let transaction = control.store.read(&permit).await?;
    let from = (tenant, asked.kind.as_str(), after.as_deref());
    let mut rows = resource_queries::list(&transaction, from, size + 1).await?;
    transaction.finish().await?;
    let next_cursor = cursor::cut(&control, &query, &mut rows, size, |row| row.name.id.clone());
    Ok(Json(List { items: rows.iter().map(ResourceAnswer::from).collect(), next_cursor }))
}

fn no_such_thing() -> Refusal {
    Refusal::new(&kind::NOT_FOUND, "No such thing is registered.")
}

/// One registered thing.
#[utoipa::path(
    get, path = "/v1/access/resources/{type}/{id}", operation_id = "access.get_resource", tag = "access",
    params(
        TenantParameter,
        ("type" = String, Path, description = "Its resource type"),
        ("id" = String, Path, description = "Its id"),
    ),
    responses((status = 200, body = ResourceAnswer))
)]
async fn get_resource(
    State(control): State<Shared>,
    caller: Caller,
    Path((kind, id)): Path<(String, String)>,
    Parameters(asked): Parameters<TenantParameter>,
) -> Answer<Json<ResourceAnswer>> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("resource:read", Some(tenant))?;
    let transaction = control.store.read(&permit).await?;
    let found = resource_queries::one(&transaction, tenant, &ResourceName { kind, id }).await?;
    transaction.finish().await?;
    Ok(Json(ResourceAnswer::from(&found.ok_or_else(no_such_thing)?)))
}

/// Registers a thing, or what holds it now.
#[utoipa::path(
    put, path = "/v1/access/resources/{type}/{id}", operation_id = "access.put_resource", tag = "access",
    params(
        TenantParameter,
        ("type" = String, Path, description = "Its resource type"),
        ("id" = String, Path, description = "Its id"),
    ),
    request_body = ResourceBody, responses((status = 200, body = ResourceAnswer))
)]
async fn put_resource(
    State(control): State<Shared>,
    caller: Caller,
    Path((kind, id)): Path<(String, String)>,
    Parameters(asked): Parameters<TenantParameter>,
    body: Body<ResourceBody>,
) -> Answer<Json<ResourceAnswer>> {
    let ResourceBody { parent, attributes } = body.value;
    let parent = parent.map(ResourceName::from);
    let things = [Resource { name: ResourceName { kind, id }, parent, attributes }];
    put(&control, &caller, asked, &things).await?;
    Ok(Json(ResourceAnswer::from(&things[0])))
}

async fn put(
    control: &Shared,
    caller: &Caller,
    asked: TenantParameter,
    things: &[Resource],
) -> Result<(), crate::api::ApiError> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("resource:update", Some(tenant))?;
    let transaction = control.store.write(&permit).await?;
    match thing::put_all(&transaction, tenant, things, &Authority::of(caller, tenant)).await? {
        Some(change) => transaction.commit(change.request(caller.request_id)).await.map(drop)?,
        None => transaction.rollback().await?,
    }
    Ok(())
}

/// Registers many things, all or none.
#[utoipa::path(
    post, path = "/v1/access/resources/batch", operation_id = "access.put_resources", tag = "access",
    params(TenantParameter), request_body = BatchBody, responses((status = 200, body = BatchAnswer))
)]
async fn put_resources(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(asked): Parameters<TenantParameter>,
    body: Body<BatchBody>,
) -> Answer<Json<BatchAnswer>> {
    let things: Vec<Resource> = body.value.items.into_iter().map(Resource::from).collect();
    if !(1..=BATCH_MAX).contains(&things.len()) {
        let refusal = Refusal::new(&kind::INVALID, "The batch is not well-formed.");
        return Err(refusal.field("/items", "out_of_bounds", "1 to 1,000").into());
    }
    put(&control, &caller, asked, &things).await?;
    Ok(Json(BatchAnswer { registered: things.len() }))
}

/// Forgets a thing. What it held is held by nothing then.
#[utoipa::path(
    delete, path = "/v1/access/resources/{type}/{id}", operation_id = "access.delete_resource", tag = "access",
    params(
        TenantParameter,
        ("type" = String, Path, description = "Its resource type"),
        ("id" = String, Path, description = "Its id"),
    ),
    responses((status = 204))
)]
async fn delete_resource(
    State(control): State<Shared>,
    caller: Caller,
    Path((kind, id)): Path<(String, String)>,
    Parameters(asked): Parameters<TenantParameter>,
) -> Answer<StatusCode> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("resource:delete", Some(tenant))?;
    let transaction = control.store.write(&permit).await?;
    let name = ResourceName { kind, id };
    let change = thing::remove(&transaction, tenant, &name, &Authority::of(&caller, tenant)).await?;
    transaction.commit(change.ok_or_else(no_such_thing)?.request(caller.request_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
