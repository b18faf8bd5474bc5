//! Holds over HTTP, for the operator.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{HoldId, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Held, HoldRow, NewHold, no_such_hold, queries};
use crate::api::idempotency::{Idempotency, Kept};
use crate::api::{Answer, Body, Caller, List, Page, Parameters, cursor, path_id};
use crate::{Control, Shared, tenancy};

/// Paths about holds.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list_holds, place_hold))
        .routes(routes!(read_hold))
        .routes(routes!(review_hold))
        .routes(routes!(release_hold))
}

/// A legal hold.
#[derive(Debug, Serialize, ToSchema)]
pub struct Hold {
    /// `hold_…`.
    id: String,
    /// Whose data it keeps.
    tenant: String,
    /// Of that, one thing; `null`: all.
    resource: Option<Held>,
    /// The case.
    case_id: String,
    /// The law or order that demands it.
    basis: String,
    /// Who answers for it.
    owner: String,
    /// `in_force` or `released`.
    state: &'static str,
    /// When it must be looked at again; RFC 3339.
    review_at: String,
    /// Whether that day has passed. It holds on all the same.
    review_overdue: bool,
    /// The principal that placed it.
    placed_by: String,
    /// RFC 3339.
    placed_at: String,
    /// The principal that released it.
    released_by: Option<String>,
    /// RFC 3339.
    released_at: Option<String>,
    /// Why.
    release_reason: Option<String>,
}

impl Hold {
    fn of(row: HoldRow, now: Timestamp) -> Hold {
        Hold {
            id: row.id.to_string(),
            tenant: row.tenant.to_string(),
            state: if row.released_at.is_some() { "released" } else { "in_force" },
            review_overdue: row.released_at.is_none() && row.review_at <= now,
            review_at: row.review_at.to_string(),
            resource: row.resource,
            case_id: row.case_id,
            basis: row.basis,
            owner: row.owner,
            placed_by: row.placed_by,
            placed_at: row.placed_at.to_string(),
            released_by: row.released_by,
            released_at: row.released_at.map(|at| at.to_string()),
            release_reason: row.release_reason,
        }
    }
}

/// A tenant's principal finds nothing here, whatever it may do in its own tenant.
fn operators(caller: &Caller, permission: &str, tenant: Option<TenantId>) -> Result<Permit, Refusal> {
    match caller.is_operator() {
        true => caller.permit(permission, tenant),
        false => Err(Refusal::new(&kind::ACCESS_DENIED, "Legal holds are the operator's.")),
    }
}

/// The tenant of this name, also one that is gone.
async fn tenant_of(
    control: &Control,
    caller: &Caller,
    permission: &str,
    name: &str,
) -> Result<(Permit, TenantId), Refusal> {
    operators(caller, permission, None)?;
    tenancy::named(control, caller, permission, name).await
}

#[derive(Debug, Default, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct HoldFilter {
    /// Id or code of a tenant.
    tenant: Option<String>,
    /// `in_force` or `released`.
    state: Option<String>,
    /// Most items, 1 to 200.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Legal holds, newest first.
#[utoipa::path(get, path = "/v1/audit/holds", operation_id = "audit.list_holds", tag = "audit",
    params(HoldFilter), responses((status = 200, body = List<Hold>)))]
async fn list_holds(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(filter): Parameters<HoldFilter>,
) -> Answer<Json<List<Hold>>> {
    let (permit, tenant) = match &filter.tenant {
        Some(name) => {
            let (permit, tenant) = tenant_of(&control, &caller, "audit:read", name).await?;
            (permit, Some(tenant))
        }
        None => (operators(&caller, "audit:read", None)?, None),
    };
    let is_released = match filter.state.as_deref() {
        None => None,
        Some("in_force") => Some(false),
        Some("released") => Some(true),
        Some(_) => {
            let refusal = Refusal::new(&kind::INVALID, "There is no such state.");
            return Err(refusal.field("/state", "unknown", "in_force or released").into());
        }
    };
    let page = Page { tenant: None, limit: filter.limit, cursor: filter.cursor };
    let size = page.size()?;
    let query = format!("holds {tenant:?} {is_released:?}");
    let before: Option<HoldId> = cursor::after(&control, &query, page.cursor.as_deref())?;
    let transaction = control.store.read(&permit).await?;
    let mut rows =
        queries::list(&transaction, (tenant, is_released), before.map(|id| id.0), size + 1).await?;
    transaction.finish().await?;
    let next_cursor = cursor::cut(&control, &query, &mut rows, size, |row| row.id.to_string());
    let now = control.clock().now();
    Ok(Json(List { items: rows.into_iter().map(|row| Hold::of(row, now)).collect(), next_cursor }))
}

/// One legal hold.
#[utoipa::path(get, path = "/v1/audit/holds/{hold}", operation_id = "audit.read_hold", tag = "audit",
    params(("hold" = String, Path, description = "`hold_…`")), responses((status = 200, body = Hold)))]
async fn read_hold(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Json<Hold>> {
    let permit = operators(&caller, "audit:read", None)?;
    let id: HoldId = path_id(&id)?;
    let transaction = control.store.read(&permit).await?;
    let row = queries::get(&transaction, id).await?.ok_or_else(no_such_hold)?;
    transaction.finish().await?;
    Ok(Json(Hold::of(row, control.clock().now())))
}

/// Places a legal hold on a tenant, or on one backup or export of it: neither is erased or expires until it is released.
#[utoipa::path(post, path = "/v1/audit/holds", operation_id = "audit.place_hold", tag = "audit",
    request_body = NewHold, responses((status = 201, body = Hold)))]
async fn place_hold(
    State(control): State<Shared>,
    caller: Caller,
    idempotency: Idempotency,
    body: Body<NewHold>,
) -> Answer<Response> {
    let (permit, tenant) = tenant_of(&control, &caller, "audit:hold", &body.value.tenant).await?;
    let transaction = control.store.write(&permit).await?;
    if let Some(kept) = idempotency.begin(&transaction, &body.bytes).await? {
        return Ok(kept.into_response());
    }
    let wanted = (tenant, body.value);
    let (row, change) = super::place(&control, &transaction, &permit, wanted, caller.request_id).await?;
    let location = format!("/v1/audit/holds/{}", row.id);
    let answer = Kept::new(StatusCode::CREATED, &Hold::of(row, control.clock().now())).location(location);
    idempotency.keep(&transaction, &answer).await?;
    transaction.commit(change).await?;
    Ok(answer.into_response())
}

#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReviewBody {
    /// When it must be looked at again: at most 180 days ahead, which it is if absent. RFC 3339.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    review_at: Option<Timestamp>,
}

/// Says that a hold was looked at and is still needed, and when it must be looked at again.
#[utoipa::path(post, path = "/v1/audit/holds/{hold}/review", operation_id = "audit.review_hold", tag = "audit",
    params(("hold" = String, Path, description = "`hold_…`")), request_body = ReviewBody,
    responses((status = 200, body = Hold)))]
async fn review_hold(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    body: Body<ReviewBody>,
) -> Answer<Json<Hold>> {
    let permit = operators(&caller, "audit:hold", None)?;
    let order = (path_id(&id)?, body.value.review_at);
    let transaction = control.store.write(&permit).await?;
    let (row, change) = super::look_again(&control, &transaction, &permit, order, caller.request_id).await?;
    transaction.commit(change).await?;
    Ok(Json(Hold::of(row, control.clock().now())))
}

#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReleaseBody {
    /// 1 to 500 characters.
    reason: String,
}

/// Releases a hold: what waited for it goes on by itself.
#[utoipa::path(post, path = "/v1/audit/holds/{hold}/release", operation_id = "audit.release_hold", tag = "audit",
    params(("hold" = String, Path, description = "`hold_…`")), request_body = ReleaseBody,
    responses((status = 200, body = Hold)))]
async fn release_hold(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    body: Body<ReleaseBody>,
) -> Answer<Json<Hold>> {
    let permit = operators(&caller, "audit:hold", None)?;
    let order = (path_id(&id)?, &*body.value.reason);
    let transaction = control.store.write(&permit).await?;
    let (row, change) = super::release(&control, &transaction, &permit, order, caller.request_id).await?;
    transaction.commit(change).await?;
    Ok(Json(Hold::of(row, control.clock().now())))
}
