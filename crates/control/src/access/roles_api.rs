//! Changes of a tenant's own roles. They are listed and read with those of the catalogue, at `/v1/roles`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use rowhouse_domain::access::RoleDefinition;
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::role_queries::RoleRow;
use super::roles::{put_role, remove_role};
use super::{Authority, load_roles};
use crate::Shared;
use crate::api::idempotency::{Idempotency, Kept};
use crate::api::{Answer, Body, Caller, Parameters, TenantParameter};

/// The routes of this part.
pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(create_role)).routes(routes!(update_role, delete_role))
}

/// A role to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleBody {
    /// `[a-z][a-z0-9_-]{0,62}`, not that of a role of the catalogue.
    name: String,
    /// Shown to people; at most 500 characters.
    #[serde(default)]
    title: String,
    /// Permissions `type:action`, or `type:*` for all that may be composed of a type, now and later; at most 512.
    #[serde(default)]
    permissions: Vec<String>,
    /// Roles of the catalogue or of the tenant; at most 16.
    #[serde(default)]
    inherits: Vec<String>,
    /// Roles that who has it must have besides, for as long and on as much; at most 8.
    #[serde(default)]
    requires: Vec<String>,
    /// At most so many may have it at any one instant, with those who have it through groups and roles that inherit it; 1 to
    /// 1,000,000, or no bound.
    #[serde(default)]
    max_members: Option<u32>,
}

/// What is to change about a role; what is not said stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleChange {
    /// Shown to people.
    title: Option<String>,
    /// Permissions, in place of those that it had.
    permissions: Option<Vec<String>>,
    /// Roles, in place of those that it had.
    inherits: Option<Vec<String>>,
    /// Roles that it requires, in place of those that it did.
    requires: Option<Vec<String>>,
    /// At most so many may have it; 0 takes the bound away.
    max_members: Option<u32>,
}

/// A tenant's own role.
#[derive(Debug, Serialize, ToSchema)]
pub struct RoleAnswer {
    name: String,
    tenant: String,
    title: String,
    permissions: Vec<String>,
    inherits: Vec<String>,
    requires: Vec<String>,
    max_members: Option<u32>,
    version: i64,
    updated_at: String,
}

impl From<RoleRow> for RoleAnswer {
    fn from(row: RoleRow) -> Self {
        RoleAnswer {
            name: row.definition.name,
            tenant: row.tenant.to_string(),
            title: row.definition.title,
            permissions: row.definition.permissions,
            inherits: row.definition.inherits,
            requires: row.definition.requires,
            max_members: row.definition.max_members,
            version: row.version,
            updated_at: row.updated_at.to_string(),
        }
    }
}

/// Makes a role of the tenant's own.
#[utoipa::path(
    post, path = "/v1/roles", operation_id = "access.create_role", tag = "access",
    params(TenantParameter), request_body = RoleBody, responses((status = 201, body = RoleAnswer))
)]
async fn create_role(
    State(control): State<Shared>,
    caller: Caller,
    idempotency: Idempotency,
    Parameters(asked): Parameters<TenantParameter>,
    body: Body<RoleBody>,
) -> Answer<Kept> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("role:create", Some(tenant))?;
    let RoleBody { name, title, permissions, inherits, requires, max_members } = body.value;
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, &body.bytes).await? {
        return Ok(kept);
    }
    if load_roles(&transaction, Some(tenant)).await?.iter().any(|row| row.definition.name == name) {
        return Err(Refusal::new(&kind::ROLE_NAME_TAKEN, "There is a role of this name.").into());
    }
    let role = RoleDefinition { name, title, permissions, inherits, requires, max_members };
    let (row, change) = put_role(&transaction, tenant, role, &Authority::of(&caller, tenant)).await?;
    let place = format!("/v1/roles/{}", row.definition.name);
    let answer = Kept::new(StatusCode::CREATED, &RoleAnswer::from(row)).location(place);
    idempotency.keep(&transaction, &answer).await?;
    transaction.commit(change.request(caller.request_id)).await?;
    Ok(answer)
}

fn no_such_role() -> Refusal {
    Refusal::new(&kind::NOT_FOUND, "The tenant has no own role of this name.")
}

/// Changes a role of the tenant's own; everybody who has it has it so at once.
#[utoipa::path(
    patch, path = "/v1/roles/{name}", operation_id = "access.update_role", tag = "access",
    params(TenantParameter, ("name" = String, Path, description = "Its name")), request_body = RoleChange,
    responses((status = 200, body = RoleAnswer))
)]
async fn update_role(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    Parameters(asked): Parameters<TenantParameter>,
    body: Body<RoleChange>,
) -> Answer<Json<RoleAnswer>> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("role:update", Some(tenant))?;
    let transaction = control.store.write(&permit).await?;
    let rows = load_roles(&transaction, Some(tenant)).await?;
    let row = rows.into_iter().find(|row| row.definition.name == name).ok_or_else(no_such_role)?;
    let RoleChange { title, permissions, inherits, requires, max_members } = body.value;
    let role = RoleDefinition {
        name,
        title: title.unwrap_or(row.definition.title),
        permissions: permissions.unwrap_or(row.definition.permissions),
        inherits: inherits.unwrap_or(row.definition.inherits),
        requires: requires.unwrap_or(row.definition.requires),
        max_members: max_members.or(row.definition.max_members).filter(|most| *most != 0),
    };
    let (row, change) = put_role(&transaction, tenant, role, &Authority::of(&caller, tenant)).await?;
    transaction.commit(change.request(caller.request_id)).await?;
    Ok(Json(row.into()))
}

/// Removes a role of the tenant's own that nobody has.
#[utoipa::path(
    delete, path = "/v1/roles/{name}", operation_id = "access.delete_role", tag = "access",
    params(TenantParameter, ("name" = String, Path, description = "Its name")), responses((status = 204))
)]
async fn delete_role(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    Parameters(asked): Parameters<TenantParameter>,
) -> Answer<StatusCode> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("role:delete", Some(tenant))?;
    let transaction = control.store.write(&permit).await?;
    let change = remove_role(&transaction, tenant, &name).await?.ok_or_else(no_such_role)?;
    transaction.commit(change.request(caller.request_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
