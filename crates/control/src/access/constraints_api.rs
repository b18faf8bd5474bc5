//! `/v1/constraints`: what nobody in a tenant may have together. The operator's people who name no tenant speak of what is kept
//! apart in all of them.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use rowhouse_domain::access::{Constraint, ConstraintKind};
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::constraint::{self, ConstraintRow};
use super::operator_constraint;
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
    /// `static`, which is so if not said: nobody has too many together. `dynamic`, for roles: nobody has too many *active* together in
    /// one session; service accounts, keys and everyone are held to it as to a static one.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    kind: ConstraintKind,
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
    /// `tenant`, or `operator` for what is kept apart in every tenant.
    owner: &'static str,
    /// Whose, if it is a tenant's own.
    tenant: Option<String>,
    /// `static` or `dynamic`.
    kind: &'static str,
    roles: Vec<String>,
    permissions: Vec<String>,
    at_most: u32,
    created_by: String,
    created_at: String,
}

impl From<ConstraintRow> for ConstraintAnswer {
    fn from(row: ConstraintRow) -> Self {
        let Constraint { name, kind, roles, permissions, at_most } = row.definition;
        ConstraintAnswer {
            name,
            owner: if row.tenant.is_some() { "tenant" } else { "operator" },
            tenant: row.tenant.map(|tenant| tenant.to_string()),
            kind: kind.as_str(),
            roles,
            permissions,
            at_most,
            created_by: row.created_by,
            created_at: row.created_at.to_string(),
        }
    }
}

/// What is kept apart in a tenant: its own constraints by name, then the operator's; all of it, for there are at most 100 of each.
/// The operator's alone if its people name no tenant.
#[utoipa::path(
    get, path = "/v1/constraints", operation_id = "access.list_constraints", tag = "access",
    params(TenantParameter), responses((status = 200, body = List<ConstraintAnswer>))
)]
async fn list_constraints(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(asked): Parameters<TenantParameter>,
) -> Answer<Json<List<ConstraintAnswer>>> {
    let scope = caller.scope(asked.tenant.as_deref())?;
    let permit = caller.permit("constraint:read", scope)?;
    let transaction = control.store.read(&permit).await?;
    let rows = match scope {
        Some(tenant) => constraint::load(&transaction, tenant).await?,
        None => operator_constraint::load(&transaction).await?,
    };
    transaction.finish().await?;
    Ok(Json(List { items: rows.into_iter().map(ConstraintAnswer::from).collect(), next_cursor: None }))
}

/// Keeps roles or permissions apart, in every tenant if the operator's people name none. Refused while somebody has too many of
/// them together, or will have.
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
    let scope = caller.scope(asked.tenant.as_deref())?;
    let permit = caller.permit("constraint:create", scope)?;
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, &body.bytes).await? {
        return Ok(kept);
    }
    let ConstraintBody { name, kind, roles, permissions, at_most } = body.value;
    let definition = Constraint { name, kind, roles, permissions, at_most };
    let (row, change) = match scope {
        Some(tenant) => constraint::create(&transaction, tenant, definition).await?,
        None => operator_constraint::declare(&transaction, definition).await?,
    };
    let place = format!("/v1/constraints/{}", row.definition.name);
    let answer = Kept::new(StatusCode::CREATED, &ConstraintAnswer::from(row)).location(place);
    idempotency.keep(&transaction, &answer).await?;
    transaction.commit(change.request(caller.request_id)).await?;
    Ok(answer)
}

/// Keeps them apart no longer. A tenant cannot say so of the operator's.
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
    let scope = caller.scope(asked.tenant.as_deref())?;
    let permit = caller.permit("constraint:delete", scope)?;
    let transaction = control.store.write(&permit).await?;
    let none = || Refusal::new(&kind::NOT_FOUND, "There is no constraint of this name.");
    let change = match scope {
        Some(tenant) => constraint::remove(&transaction, tenant, &name).await?,
        None => operator_constraint::withdraw(&transaction, &name).await?,
    };
    let change = change.ok_or_else(none)?;
    transaction.commit(change.request(caller.request_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
