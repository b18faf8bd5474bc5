//! `/v1/enforcements`: what is imposed on tenants, and imposing and lifting by hand.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::metering::quantity::Quantity;
use rowhouse_domain::resources::Action;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::enforcement::{self, ByHand, Enforcement};
use crate::Shared;
use crate::api::{Answer, Body, Caller, List, Parameters, TenantParameter};

/// The routes of enforcements.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list_enforcements)).routes(routes!(set_enforcement, lift_enforcement))
}

/// Something that is imposed.
#[derive(Debug, Serialize, ToSchema)]
struct EnforcementItem {
    /// On whom.
    #[schema(value_type = String)]
    tenant: TenantId,
    /// For which meter.
    meter: String,
    /// `block_writes`, `throttle`, `block_creation`, `refuse` or `notify`.
    #[schema(value_type = String)]
    action: Action,
    /// What services see.
    flag: String,
    /// `quota`, `operator` or `billing`.
    cause: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// What was used then.
    #[schema(value_type = Option<String>)]
    usage_at: Option<Quantity>,
    /// When it ends by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// Why, if somebody said so.
    reason: Option<String>,
    /// Who imposed it.
    set_by: String,
    /// Until when it is lifted by hand, and so not in force.
    #[schema(value_type = Option<String>, format = DateTime)]
    lifted_until: Option<Timestamp>,
}

impl From<Enforcement> for EnforcementItem {
    fn from(own: Enforcement) -> Self {
        let Enforcement {
            tenant,
            meter,
            cause,
            action,
            flag,
            since,
            usage_at,
            until,
            reason,
            set_by,
            lifted_until,
        } = own;
        EnforcementItem {
            tenant,
            meter,
            action,
            flag,
            cause,
            since,
            usage_at,
            until,
            reason,
            set_by,
            lifted_until,
        }
    }
}

#[derive(Debug, Default, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EnforcementFilter {
    /// Which tenant; all that the caller may see if not said.
    tenant: Option<String>,
    /// One meter.
    meter: Option<String>,
}

/// Most items of the list.
const ITEMS_MAX: usize = 1_000;

/// What is imposed on a tenant or, for the operator, on all; at most 1,000.
#[utoipa::path(get, path = "/v1/enforcements", operation_id = "resources.list_enforcements", tag = "resources",
    params(EnforcementFilter), responses((status = 200, body = List<EnforcementItem>)))]
async fn list_enforcements(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(filter): Parameters<EnforcementFilter>,
) -> Answer<Json<List<EnforcementItem>>> {
    let scope = caller.scope(filter.tenant.as_deref())?;
    let permit = caller.permit("quota:read", scope)?;
    let transaction = control.store.read(&permit).await?;
    let all = enforcement::load(&transaction, scope, control.clock().now()).await?;
    transaction.finish().await?;
    let wanted = all.into_iter().filter(|own| filter.meter.as_ref().is_none_or(|meter| *meter == own.meter));
    Ok(Json(List::whole(wanted.take(ITEMS_MAX).map(EnforcementItem::from).collect())))
}

/// Something to be imposed by hand.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewEnforcement {
    /// `block_writes`, `throttle`, `block_creation`, `refuse` or `notify`.
    #[schema(value_type = String)]
    action: Action,
    /// When it ends by itself; never if not said.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// 1 to 500 characters.
    reason: String,
}

/// Imposes something by hand. A lift of the meter ends.
#[utoipa::path(put, path = "/v1/enforcements/{meter}", operation_id = "resources.set_enforcement",
    tag = "resources", params(("meter" = String, Path), TenantParameter), request_body = NewEnforcement,
    responses((status = 204)))]
async fn set_enforcement(
    State(control): State<Shared>,
    caller: Caller,
    Path(meter): Path<String>,
    Parameters(which): Parameters<TenantParameter>,
    body: Body<NewEnforcement>,
) -> Answer<StatusCode> {
    let tenant = caller.one_tenant(which.tenant.as_deref())?;
    let permit = caller.operators_permit("quota:override", tenant)?;
    let NewEnforcement { action, until, reason } = body.value;
    let wanted = ByHand { tenant, meter, action, until, reason };
    enforcement::set(&control, &permit, wanted, caller.request_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How long, and why, nothing is imposed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewLift {
    /// The end; what usage says holds again from then on.
    #[schema(value_type = String, format = DateTime)]
    until: Timestamp,
    /// 1 to 500 characters.
    reason: String,
}

/// Lifts by hand whatever is imposed for a meter, until the end whatever usage says.
#[utoipa::path(delete, path = "/v1/enforcements/{meter}", operation_id = "resources.lift_enforcement",
    tag = "resources", params(("meter" = String, Path), TenantParameter), request_body = NewLift,
    responses((status = 204)))]
async fn lift_enforcement(
    State(control): State<Shared>,
    caller: Caller,
    Path(meter): Path<String>,
    Parameters(which): Parameters<TenantParameter>,
    body: Body<NewLift>,
) -> Answer<StatusCode> {
    let tenant = caller.one_tenant(which.tenant.as_deref())?;
    let permit = caller.operators_permit("quota:override", tenant)?;
    let NewLift { until, reason } = body.value;
    enforcement::lift(&control, &permit, (tenant, &meter), (until, &reason), caller.request_id).await?;
    Ok(StatusCode::NO_CONTENT)
}
