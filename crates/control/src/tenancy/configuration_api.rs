//! `/v1/configuration`: a tenant's items.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use rowhouse_domain::access::Permit;
use rowhouse_domain::refusal::Refusal;
use rowhouse_domain::tenancy::features::Audience;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::configuration::{self, Name, NewItem};
use super::configuration_queries::{Item, Stored};
use crate::Shared;
use crate::api::{Answer, Body, Caller, IfMatch, List, Parameters, TenantParameter, etag};

/// The routes of configuration.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list_configuration))
        .routes(routes!(get_configuration, put_configuration, delete_configuration))
        .routes(routes!(reveal_configuration))
}

/// A configuration item.
#[derive(Serialize, ToSchema)]
struct ConfigurationItem {
    /// As in `branding`.
    category: String,
    /// As in `accent`.
    key: String,
    /// `null` for a sealed item.
    #[schema(value_type = Object)]
    value: Option<Value>,
    /// Whether the value is sealed, and so not shown.
    sealed: bool,
    /// 8 hexadecimal digits, of a sealed value: equal values of a tenant have equal ones.
    fingerprint: Option<String>,
    /// For people.
    description: String,
    /// Whether the value lies sealed.
    is_sensitive: bool,
    /// `services`, `gateway`, `portal` or `none`.
    #[schema(value_type = String)]
    audience: Audience,
    /// The ETag.
    version: i64,
    /// RFC 3339.
    #[schema(value_type = String)]
    created_at: Timestamp,
    /// RFC 3339.
    #[schema(value_type = String)]
    updated_at: Timestamp,
    /// The principal.
    updated_by: String,
}

impl From<Item> for ConfigurationItem {
    fn from(item: Item) -> Self {
        let is_sensitive = item.is_sensitive();
        let (value, fingerprint) = match item.stored {
            Stored::Plain(value) => (Some(value), None),
            Stored::Sealed { fingerprint, .. } => (None, Some(fingerprint)),
        };
        let Item {
            category, key, description, audience, version, created_at, updated_at, updated_by, ..
        } = item;
        let sealed = is_sensitive;
        ConfigurationItem {
            category,
            key,
            value,
            sealed,
            fingerprint,
            description,
            is_sensitive,
            audience,
            version,
            created_at,
            updated_at,
            updated_by,
        }
    }
}

#[derive(Debug, Default, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ConfigurationFilter {
    /// Which tenant; an operator's principal needs it.
    tenant: Option<String>,
    /// One category.
    category: Option<String>,
}

/// All items of a tenant. The ETag changes whenever one of them does; with `If-None-Match` the answer is 304 until then.
#[utoipa::path(get, path = "/v1/configuration", operation_id = "tenancy.list_configuration", tag = "tenancy",
    params(ConfigurationFilter), responses((status = 200, body = List<ConfigurationItem>), (status = 304)))]
async fn list_configuration(
    State(control): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    Parameters(wanted): Parameters<ConfigurationFilter>,
) -> Answer<Response> {
    let tenant = caller.one_tenant(wanted.tenant.as_deref())?;
    let permit = caller.permit("configuration:read", Some(tenant))?;
    let items = configuration::list(&control, &permit, tenant, wanted.category.as_deref()).await?;
    let tag = format!("\"{}\"", configuration::tag(&items));
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let known =
        known.flat_map(|list| list.split(',')).any(|known| known.trim().trim_start_matches("W/") == tag);
    let tag = [(header::ETAG, HeaderValue::from_str(&tag).expect("hexadecimal digits in quotes"))];
    if known {
        return Ok((StatusCode::NOT_MODIFIED, tag).into_response());
    }
    Ok((tag, Json(List::whole(items.into_iter().map(ConfigurationItem::from).collect()))).into_response())
}

/// The item that a path names, with a permit for it.
fn named<'a>(
    caller: &Caller,
    permission: &str,
    which: &TenantParameter,
    (category, key): &'a (String, String),
) -> Result<(Permit, Name<'a>), Refusal> {
    let tenant = caller.one_tenant(which.tenant.as_deref())?;
    Ok((caller.permit(permission, Some(tenant))?, Name { tenant, category, key }))
}

fn shown(item: Item) -> Response {
    (etag(item.version), Json(ConfigurationItem::from(item))).into_response()
}

/// One item. A sealed value is `null`.
#[utoipa::path(get, path = "/v1/configuration/{category}/{key}", operation_id = "tenancy.get_configuration",
    tag = "tenancy", params(("category" = String, Path), ("key" = String, Path), TenantParameter),
    responses((status = 200, body = ConfigurationItem)))]
async fn get_configuration(
    State(control): State<Shared>,
    caller: Caller,
    Path(path): Path<(String, String)>,
    Parameters(which): Parameters<TenantParameter>,
) -> Answer<Response> {
    let (permit, name) = named(&caller, "configuration:read", &which, &path)?;
    Ok(shown(configuration::get(&control, &permit, name).await?))
}

/// Sets an item; what is absent stays as it is.
#[utoipa::path(put, path = "/v1/configuration/{category}/{key}", operation_id = "tenancy.put_configuration",
    tag = "tenancy", params(("category" = String, Path), ("key" = String, Path), TenantParameter),
    request_body = NewItem,
    responses((status = 200, body = ConfigurationItem), (status = 201, body = ConfigurationItem)))]
async fn put_configuration(
    State(control): State<Shared>,
    caller: Caller,
    Path(path): Path<(String, String)>,
    Parameters(which): Parameters<TenantParameter>,
    if_match: IfMatch,
    body: Body<NewItem>,
) -> Answer<Response> {
    let (permit, name) = named(&caller, "configuration:update", &which, &path)?;
    let new = (&if_match, body.value);
    let (item, created) = configuration::put(&control, &permit, name, new, caller.request_id).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, shown(item)).into_response())
}

/// Removes an item. One that is made again goes on counting versions.
#[utoipa::path(delete, path = "/v1/configuration/{category}/{key}", operation_id = "tenancy.delete_configuration",
    tag = "tenancy", params(("category" = String, Path), ("key" = String, Path), TenantParameter),
    responses((status = 204)))]
async fn delete_configuration(
    State(control): State<Shared>,
    caller: Caller,
    Path(path): Path<(String, String)>,
    Parameters(which): Parameters<TenantParameter>,
    if_match: IfMatch,
) -> Answer<StatusCode> {
    let (permit, name) = named(&caller, "configuration:update", &which, &path)?;
    configuration::delete(&control, &permit, name, &if_match, caller.request_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Opens a sealed item. Each call leaves an event.
#[utoipa::path(post, path = "/v1/configuration/{category}/{key}/reveal",
    operation_id = "tenancy.reveal_configuration", tag = "tenancy",
    params(("category" = String, Path), ("key" = String, Path), TenantParameter),
    responses((status = 200, body = ConfigurationItem)))]
async fn reveal_configuration(
    State(control): State<Shared>,
    caller: Caller,
    Path(path): Path<(String, String)>,
    Parameters(which): Parameters<TenantParameter>,
) -> Answer<Response> {
    let (permit, name) = named(&caller, "configuration:reveal", &which, &path)?;
    let (item, value) = configuration::reveal(&control, &permit, name, caller.request_id).await?;
    let opened = ConfigurationItem { value: Some(value), sealed: false, ..item.into() };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(opened)).into_response())
}
