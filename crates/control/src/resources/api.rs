//! `GET /v1/quotas`.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::check::QuotaCheck;
use super::{limits_of, used};
use crate::Shared;
use crate::api::{Answer, Caller, List, Parameters, TenantParameter};
use crate::metering;

/// The routes of resources.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list_quotas))
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
pub async fn list_quotas(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(query): Parameters<TenantParameter>,
) -> Answer<Json<List<QuotaCheck>>> {
    let tenant = caller.one_tenant(query.tenant.as_deref())?;
    let permit = caller.permit("quota:read", Some(tenant))?;
    let now = control.clock().now();
    let transaction = control.store.read(&permit).await?;
    metering::at_one_instant(&transaction).await?;
    let limits = limits_of(&transaction, tenant).await?;
    let usage = used(&transaction, Some(tenant), now).await?;
    let meters = metering::list_meters(&transaction).await?;
    transaction.finish().await?;
    let usage: HashMap<String, i128> = usage.into_iter().map(|own| (own.meter, own.used)).collect();
    let checks = limits.into_iter().map(|(meter, limit)| {
        let unit = meters.iter().find(|known| known.name == meter).map_or("", |known| &known.draft.unit);
        QuotaCheck::new(&meter, unit, usage.get(&meter).copied().unwrap_or(0), limit, now)
    });
    Ok(Json(List::whole(checks.collect())))
}
