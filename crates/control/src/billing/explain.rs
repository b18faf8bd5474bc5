//! `GET /v1/billing/running/lines/{price}/explain`: one amount, step by step, down to the usage behind it.

use axum::Json;
use axum::extract::{Path, State};
use rowhouse_domain::billing::money::Computed;
use rowhouse_domain::billing::step::Step;
use rowhouse_domain::refusal::{Refusal, kind};
use serde::Serialize;
use utoipa::ToSchema;

use super::api::run;
use crate::Shared;
use crate::api::{Answer, Caller, Parameters, TenantParameter};
use crate::metering::Span;

/// A line of the running invoice, taken apart.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExplainedLine {
    /// The price that the line is of.
    pub price: String,
    /// The meter whose usage it prices; `null` for a fixed fee.
    pub meter: Option<String>,
    /// What the line comes to.
    #[schema(value_type = Object)]
    pub amount: Computed,
    /// What it was computed with.
    pub versions: Versions,
    /// From the measured quantity to the amount.
    #[schema(value_type = Vec<Object>)]
    pub steps: Vec<ExplainedStep>,
}

/// Versions of what an amount was computed with.
#[derive(Debug, Serialize, ToSchema)]
pub struct Versions {
    /// `name@version` of the plan.
    pub plan: String,
    /// `name@version` of the meter.
    pub meter: Option<String>,
    /// Version of the calculation.
    pub engine: u32,
}

/// A step, and where to look further.
#[derive(Debug, Serialize)]
pub struct ExplainedStep {
    #[serde(flatten)]
    step: Step,
    /// The requests and events behind a measured quantity.
    #[serde(skip_serializing_if = "Option::is_none")]
    events_url: Option<String>,
}

/// How a line of the running invoice came about.
#[utoipa::path(
    get,
    path = "/v1/billing/running/lines/{price}/explain",
    operation_id = "billing.explain_line",
    tag = "billing",
    params(("price" = String, Path, description = "The price that the line is of."), TenantParameter),
    responses((status = 200, body = ExplainedLine))
)]
pub async fn explain_line(
    State(control): State<Shared>,
    caller: Caller,
    Path(price): Path<String>,
    Parameters(query): Parameters<TenantParameter>,
) -> Answer<Json<ExplainedLine>> {
    let tenant = caller.one_tenant(query.tenant.as_deref())?;
    let permit = caller.permit("invoice:read", Some(tenant))?;
    let transaction = control.store.read(&permit).await?;
    let (subscription, running) = run(&control, &transaction, tenant, None).await?;
    transaction.finish().await?;
    let none =
        || Refusal::new(&kind::NOT_FOUND, format!("The running invoice has no line of the price `{price}`."));
    let lines = running.invoice.lines;
    let line = lines.into_iter().find(|line| line.price.as_ref() == Some(&price)).ok_or_else(none)?;
    let events_url = line.meter.as_ref().map(|meter| events_url(&tenant.to_string(), meter, running.span));
    let known = line.meter.as_ref().and_then(|meter| running.meters.get(meter));
    let meter_version = known.map(|meter| format!("{}@{}", meter.name, meter.version));
    let explained = |step: Step| {
        let events_url = if matches!(step, Step::Measure { .. }) { events_url.clone() } else { None };
        ExplainedStep { step, events_url }
    };
    Ok(Json(ExplainedLine {
        price,
        meter: line.meter,
        amount: line.net,
        versions: Versions {
            plan: format!("{}@{}", subscription.plan.name, subscription.plan_version),
            meter: meter_version,
            engine: 1,
        },
        steps: line.steps.into_iter().map(explained).collect(),
    }))
}

/// Names of meters and ids have no character that a query must escape.
fn events_url(tenant: &str, meter: &str, span: Span) -> String {
    format!("/v1/usage/explain?tenant={tenant}&meter={meter}&from={}&to={}", span.from, span.to)
}
