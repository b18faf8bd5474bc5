//! `/v1/constraints`: what nobody in a tenant may have together.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use rowhouse_domain::access::Constraint;
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::constraint::{self, ConstraintRow};
use crate::Shared;
use crate::api::idempotency::{Idempotency, Kept};
use crate::api::{Answer, Body, Caller, List, Parameters, TenantParameter};

/// The routes of this part.
pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list_constraints, create_constraint))
        .routes(routes!(delete_constraint))
}

/// Roles or permissions to be kept apart.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConstraintBody {
    /// `[a-z][a-z0-9_-]{0,62}`, once in the tenant.
    name: String,
    /// 2 to 32 roles, each with those that inherit it; or none.
    #[serde(default)]
    roles: Vec<String>,
    /// 2 to 32 permissions `type:action`; or none.
    #[serde(default)]
    permissions: Vec<String>,
    /// At most so many of them for one principal at any one instant: 1 or more, and fewer than all.
    at_most: u32,
}

/// Roles or permissions that are kept apart.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConstraintAnswer {
    name: String,
    tenant: String,
    roles: Vec<String>,
    permissions: Vec<String>,
    at_most: u32,
    created_by: String,
    created_at: String,
}

impl From<ConstraintRow> for ConstraintAnswer {
    fn from(row: ConstraintRow) -> Self {
        let Constraint { name, roles, permissions, at_most } = row.definition;
        ConstraintAnswer {
            name,
            tenant: row.tenant.to_string(),
            roles,
            permissions,
            at_most,
            created_by: row.created_by,
            created_at: row.created_at.to_string(),
        }
    }
}

/// What is kept apart, by name; all of it, for there are at most 100 in a tenant.
#[utoipa::path(
    get, path = "/v1/constraints", operation_id = "access.list_constraints", tag = "access",
    params(TenantParameter), responses((status = 200, body = List<ConstraintAnswer>))
)]
async fn list_constraints(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(asked): Parameters<TenantParameter>,
) -> Answer<Json<List<ConstraintAnswer>>> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("constraint:read", Some(tenant))?;
    let transaction = control.store.read(&permit).await?;
    let rows = constraint::load(&transaction, Some(tenant)).await?;
    transaction.finish().await?;
    Ok(Json(List { items: rows.into_iter().map(ConstraintAnswer::from).collect(), next_cursor: None }))
}

/// Keeps roles or permissions apart. Refused while somebody has too many of them together, or will have.
#[utoipa::path(
    post, path = "/v1/constraints", operation_id = "access.create_constraint", tag = "access",
    params(TenantParameter), request_body = ConstraintBody, responses((status = 201, body = ConstraintAnswer))
)]
async fn create_constraint(
    State(control): State<Shared>,
    caller: Caller,
    idempotency: Idempotency,
    Parameters(asked): Parameters<TenantParameter>,
    body: Body<ConstraintBody>,
) -> Answer<Kept> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("constraint:create", Some(tenant))?;
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, &body.bytes).await? {
        return Ok(kept);
    }
    let ConstraintBody { name, roles, permissions, at_most } = body.value;
    let definition = Constraint { name, roles, permissions, at_most };
    let (row, change) = constraint::create(&transaction, tenant, definition).await?;
    let place = format!("/v1/constraints/{}", row.definition.name);
    let answer = Kept::new(StatusCode::CREATED, &ConstraintAnswer::from(row)).location(place);
    idempotency.keep(&transaction, &answer).await?;
    transaction.commit(change.request(caller.request_id)).await?;
    Ok(answer)
}

/// Keeps them apart no longer.
#[utoipa::path(
    delete, path = "/v1/constraints/{name}", operation_id = "access.delete_constraint", tag = "access",
    params(TenantParameter, ("name" = String, Path, description = "Its name")), responses((status = 204))
)]
async fn delete_constraint(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    Parameters(asked): Parameters<TenantParameter>,
) -> Answer<StatusCode> {
    let tenant = caller.one_tenant(asked.tenant.as_deref())?;
    let permit = caller.permit("constraint:delete", Some(tenant))?;
    let transaction = control.store.write(&permit).await?;
    let none = || Refusal::new(&kind::NOT_FOUND, "The tenant has no constraint of this name.");
    let change = constraint::remove(&transaction, tenant, &name).await?.ok_or_else(none)?;
    transaction.commit(change.request(caller.request_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
