//! `/v1/quotas`: where a tenant stands, its own limits, pushed levels.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::metering::quantity::Quantity;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::resources::QuotaState;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::overrides::Override;
use super::{QuotaCheck, assess, collect, overrides, shown};
use crate::Shared;
use crate::api::{Answer, Body, Caller, List, Parameters, TenantParameter};

/// The routes of resources.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list_quotas))
        .routes(routes!(check_quota))
        .routes(routes!(set_override, clear_override))
        .routes(routes!(push_level))
        .routes(routes!(collect_levels))
        .merge(super::enforcement_api::routes())
        .merge(super::explain_api::routes())
        .merge(super::simulate_api::routes())
        .merge(super::daily_api::routes())
}

/// Where a tenant stands against each of its quotas.
#[utoipa::path(
    get,
    path = "/v1/quotas",
    operation_id = "resources.list_quotas",
    tag = "resources",
    params(TenantParameter),
    responses((status = 200, body = List<QuotaCheck>))
)]
async fn list_quotas(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(query): Parameters<TenantParameter>,
) -> Answer<Json<List<QuotaCheck>>> {
    let tenant = caller.one_tenant(query.tenant.as_deref())?;
    let permit = caller.permit("quota:read", Some(tenant))?;
    Ok(Json(List::whole(shown::all(&control, &permit, tenant).await?)))
}

#[derive(Debug, Default, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct CheckParameters {
    /// Which tenant; an operator's principal needs it.
    tenant: Option<String>,
    /// How much more is asked about; 1 if not said.
    quantity: Option<String>,
}

/// A quantity as it was sent: a decimal that is not negative.
pub(super) fn quantity_of(text: &str, pointer: &str) -> Result<Quantity, Refusal> {
    let parsed = text.parse::<Quantity>().ok().filter(|quantity| !quantity.is_negative());
    parsed.ok_or_else(|| {
        Refusal::new(&kind::INVALID_QUANTITY, format!("`{text:.40}` is not a quantity.")).field(
            pointer,
            "malformed",
            "a decimal string that is not negative, with at most 12 fraction digits",
        )
    })
}

/// May this tenant use so much more?
#[utoipa::path(get, path = "/v1/quotas/{meter}/check", operation_id = "resources.check_quota", tag = "resources",
    params(("meter" = String, Path), CheckParameters), responses((status = 200, body = QuotaCheck)))]
async fn check_quota(
    State(control): State<Shared>,
    caller: Caller,
    Path(meter): Path<String>,
    Parameters(query): Parameters<CheckParameters>,
) -> Answer<Json<QuotaCheck>> {
    let tenant = caller.one_tenant(query.tenant.as_deref())?;
    let permit = caller.permit("quota:read", Some(tenant))?;
    let quantity = quantity_of(query.quantity.as_deref().unwrap_or("1"), "/quantity")?;
    Ok(Json(shown::one(&control, &permit, tenant, &meter, quantity).await?))
}

/// A limit of the tenant's own.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewQuotaOverride)]
struct NewOverride {
    /// A decimal string, or `unlimited`.
    limit: String,
    /// When it ends by itself; RFC 3339.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// 1 to 500 characters.
    reason: String,
}

#[derive(Debug, Default, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ChangeParameters {
    /// Which tenant; an operator's principal needs it.
    tenant: Option<String>,
    /// Only says what would follow.
    #[serde(default)]
    dry_run: bool,
}

/// What would follow from a change.
#[derive(Debug, Serialize, ToSchema)]
struct Effects {
    /// In words; empty when nothing changes but the limit.
    effects: Vec<String>,
    /// How the tenant would stand.
    check: QuotaCheck,
}

/// Gives a tenant a limit of its own; below its usage is accepted and enforced at once. The tenant stands as the
/// answer says; with `dry_run` it would, and `effects` say what would follow.
#[utoipa::path(put, path = "/v1/quotas/{meter}/override", operation_id = "resources.set_override",
    tag = "resources", params(("meter" = String, Path), ChangeParameters), request_body = NewOverride,
    responses((status = 200, body = QuotaCheck)))]
async fn set_override(
    State(control): State<Shared>,
    caller: Caller,
    Path(meter): Path<String>,
    Parameters(query): Parameters<ChangeParameters>,
    body: Body<NewOverride>,
) -> Answer<Response> {
    let tenant = caller.one_tenant(query.tenant.as_deref())?;
    let permit = caller.operators_permit("quota:override", tenant)?;
    let NewOverride { limit, until, reason } = body.value;
    if query.dry_run {
        return Ok(Json(effects(&control, &permit, tenant, &meter, &limit).await?).into_response());
    }
    let wanted = Override { value: limit, until, reason };
    overrides::set(&control, &permit, (tenant, &meter), wanted, caller.request_id).await?;
    assess(&control, tenant, "limit overridden").await.map_err(Refusal::from)?;
    Ok(Json(shown::one(&control, &permit, tenant, &meter, Quantity::ONE).await?).into_response())
}

async fn effects(
    control: &Shared,
    permit: &Permit,
    tenant: TenantId,
    meter: &str,
    limit: &str,
) -> Result<Effects, Refusal> {
    let before = shown::one(control, permit, tenant, meter, Quantity::ONE).await?;
    let check = shown::with_limit(control, permit, tenant, (meter, limit)).await?;
    let mut effects = Vec::new();
    if before.state != check.state {
        effects.push(format!("the state changes from {} to {}", before.state.as_str(), check.state.as_str()));
    }
    let is_stopped = |own: &QuotaCheck| own.state == QuotaState::Enforced;
    match (is_stopped(&before), is_stopped(&check)) {
        (false, true) => effects
            .push(format!("usage of {} is at the limit or above: enforced at once", check.current_usage)),
        (true, false) => effects.push("what the quota imposes is lifted at once".to_owned()),
        _ => {}
    }
    Ok(Effects { effects, check })
}

/// Gives the tier's limit back.
#[utoipa::path(delete, path = "/v1/quotas/{meter}/override", operation_id = "resources.clear_override",
    tag = "resources", params(("meter" = String, Path), TenantParameter), responses((status = 204)))]
async fn clear_override(
    State(control): State<Shared>,
    caller: Caller,
    Path(meter): Path<String>,
    Parameters(query): Parameters<TenantParameter>,
) -> Answer<StatusCode> {
    let tenant = caller.one_tenant(query.tenant.as_deref())?;
    let permit = caller.operators_permit("quota:override", tenant)?;
    overrides::clear(&control, &permit, (tenant, &meter), caller.request_id).await?;
    assess(&control, tenant, "override cleared").await.map_err(Refusal::from)?;
    Ok(StatusCode::NO_CONTENT)
}

/// A level that a service counts by itself.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewLevel {
    /// A decimal string that is not negative.
    level: String,
    /// When it was so; now if not said.
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<Timestamp>,
}

/// What became of a pushed level.
#[derive(Debug, Serialize, ToSchema)]
struct LevelTaken {
    /// False when a later one was known already: this one is ignored.
    taken: bool,
    /// How the tenant stands.
    check: QuotaCheck,
}

/// How far ahead of our clock a level may be.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// Pushes the level of a meter that nobody measures. The tenant is assessed before the answer. For the operator's services: a tenant
/// does not say itself how much it uses.
#[utoipa::path(put, path = "/v1/quotas/{meter}/level", operation_id = "resources.push_level", tag = "resources",
    params(("meter" = String, Path), TenantParameter), request_body = NewLevel,
    responses((status = 200, body = LevelTaken)))]
async fn push_level(
    State(control): State<Shared>,
    caller: Caller,
    Path(meter): Path<String>,
    Parameters(query): Parameters<TenantParameter>,
    body: Body<NewLevel>,
) -> Answer<Json<LevelTaken>> {
    let tenant = caller.one_tenant(query.tenant.as_deref())?;
    let permit = caller.operators_permit("quota:report", tenant)?;
    let level = quantity_of(&body.value.level, "/level")?;
    let now = control.clock().now();
    let at = body.value.at.unwrap_or(now);
    if at > now + AHEAD {
        let refusal = Refusal::new(&kind::INVALID, "The level is of a time to come.");
        return Err(refusal.field("/at", "out_of_bounds", "at most 5 minutes ahead").into());
    }
    let taken = collect::push(&control, &permit, (tenant, &meter), (level, at)).await?;
    let check = shown::one(&control, &permit, tenant, &meter, Quantity::ONE).await?;
    Ok(Json(LevelTaken { taken, check }))
}

/// What is being measured.
#[derive(Debug, Serialize, ToSchema)]
struct Collecting {
    /// Meters whose level is measured anew.
    meters: Vec<String>,
}

/// Measures a tenant's levels now.
#[utoipa::path(post, path = "/v1/quotas/collect", operation_id = "resources.collect_levels", tag = "resources",
    params(TenantParameter), responses((status = 202, body = Collecting)))]
async fn collect_levels(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(query): Parameters<TenantParameter>,
) -> Answer<Response> {
    let tenant = caller.one_tenant(query.tenant.as_deref())?;
    let permit = caller.permit("quota:report", Some(tenant))?;
    let meters = collect::ask(&control, &permit, tenant).await?;
    Ok((StatusCode::ACCEPTED, Json(Collecting { meters })).into_response())
}
