//! `/v1/limits/simulate` and `/v1/limits/{name}/overrides`.

use axum::Json;
use axum::extract::{DefaultBodyLimit, Extension, Path, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::limits::{self, BadSimulationReason, LimitValue, Simulated, Simulation};
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::overrides::{self, Override, Wanted};
use crate::Shared;
use crate::api::{Answer, Body, BodyLimit, Caller, List, Parameters, TenantParameter};

/// Largest simulation, in bytes: room for its 100,000 requests.
const SIMULATION_MAX: usize = 8 * 1024 * 1024;

/// The routes of limits.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(simulate))
        .layer(DefaultBodyLimit::max(SIMULATION_MAX))
        .layer(Extension(BodyLimit(SIMULATION_MAX)))
        .routes(routes!(list_overrides, put_override, delete_override))
}

/// Tries limits out: what would become of each of a row of requests. Nothing is read or kept.
#[utoipa::path(post, path = "/v1/limits/simulate", operation_id = "limits.simulate", tag = "limits",
    request_body = Object, responses((status = 200, body = Object)))]
async fn simulate(caller: Caller, body: Body<Simulation>) -> Answer<Json<Simulated>> {
    caller.permit("limit:read", None)?;
    let simulated = limits::simulate(&body.value).map_err(|bad| match &bad.reason {
        BadSimulationReason::Numbers(numbers) => {
            let at = bad.pointer.rsplit_once('/').map_or("", |(before, _)| before);
            let at =
                if matches!(numbers, limits::BadNumbers::OutOfBounds { .. }) { at } else { &bad.pointer };
            overrides::bad_numbers(numbers, at)
        }
        BadSimulationReason::Value(reason) => {
            let detail = "The simulation cannot be tried.";
            Refusal::new(&kind::LIMIT_BAD_VALUE, detail).field(bad.pointer.clone(), "invalid", reason.clone())
        }
    })?;
    Ok(Json(simulated))
}

/// A tenant's own numbers.
#[derive(Debug, Serialize, ToSchema)]
struct OverrideView {
    /// The limit.
    limit: String,
    /// The tenant.
    #[schema(value_type = String)]
    tenant: TenantId,
    /// Its numbers: quota, window_ms, burst, unlimited.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    value: LimitValue,
    /// In words.
    reason: String,
    /// When it ends by itself.
    #[schema(value_type = Option<String>)]
    until: Option<Timestamp>,
    /// The principal.
    set_by: String,
    /// When.
    #[schema(value_type = String)]
    set_at: Timestamp,
}

impl From<(TenantId, Override)> for OverrideView {
    fn from((tenant, own): (TenantId, Override)) -> Self {
        let Override { limit, value, reason, until, set_by, set_at } = own;
        OverrideView { limit, tenant, value, reason, until, set_by, set_at }
    }
}

/// Numbers to set; those that are not given stay the tier's.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewLimitOverride)]
struct NewOverride {
    /// Id or code of the tenant.
    tenant: String,
    /// Units per window.
    quota: Option<i64>,
    /// The window, in milliseconds.
    window_ms: Option<i64>,
    /// Units at once; the quota if a quota is given and this is not.
    burst: Option<i64>,
    /// No limit at all.
    #[serde(default)]
    unlimited: bool,
    /// In words, 1 to 500 characters.
    reason: String,
    /// When it ends by itself; RFC 3339, in the future.
    #[schema(value_type = Option<String>)]
    until: Option<Timestamp>,
}

/// The overrides of a limit that hold.
#[utoipa::path(get, path = "/v1/limits/{name}/overrides", operation_id = "limits.list_overrides", tag = "limits",
    params(("name" = String, Path, description = "The limit")),
    responses((status = 200, body = List<OverrideView>)))]
async fn list_overrides(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
) -> Answer<Json<List<OverrideView>>> {
    let permit = caller.permit("limit:read", None)?;
    let all = overrides::list(&control, &permit, &name).await?;
    Ok(Json(List::whole(all.into_iter().map(OverrideView::from).collect())))
}

/// Gives a tenant numbers of its own for a limit.
#[utoipa::path(put, path = "/v1/limits/{name}/overrides", operation_id = "limits.put_override", tag = "limits",
    params(("name" = String, Path, description = "The limit")), request_body = NewOverride,
    responses((status = 200, body = OverrideView)))]
async fn put_override(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    body: Body<NewOverride>,
) -> Answer<Json<OverrideView>> {
    let permit = caller.permit("limit:update", None)?;
    let NewOverride { tenant, quota, window_ms, burst, unlimited, reason, until } = body.value;
    let tenant = caller.one_tenant(Some(&tenant))?;
    let value = LimitValue { quota, window_ms, burst, unlimited };
    let wanted = Wanted { limit: name, value, reason, until };
    let own = overrides::put(&control, &permit, tenant, wanted, caller.request_id).await?;
    Ok(Json((tenant, own).into()))
}

/// Takes a tenant's own numbers for a limit away.
#[utoipa::path(delete, path = "/v1/limits/{name}/overrides", operation_id = "limits.delete_override",
    tag = "limits", params(("name" = String, Path, description = "The limit"), TenantParameter),
    responses((status = 204)))]
async fn delete_override(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
    Parameters(which): Parameters<TenantParameter>,
) -> Answer<StatusCode> {
    let permit = caller.permit("limit:update", None)?;
    let tenant = caller.one_tenant(which.tenant.as_deref())?;
    overrides::delete(&control, &permit, tenant, &name, caller.request_id).await?;
    Ok(StatusCode::NO_CONTENT)
}
