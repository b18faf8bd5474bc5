//! `GET /v1/usage/daily`: the days of usage.

use axum::Json;
use axum::extract::State;
use jiff::civil::Date;
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::assess::quantity;
use super::queries;
use crate::Shared;
use crate::api::{Answer, Caller, List, Parameters, cursor};
use crate::catalog::QuotaLimit;

/// The routes of the days.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list_days))
}

/// Usage of one meter on one civil day of the tenant.
#[derive(Debug, Serialize, ToSchema)]
struct UsageDay {
    /// The day.
    usage_date: String,
    /// The meter.
    resource_type: String,
    /// Used on the day; of what exists, what was there at its end.
    current_usage: String,
    /// The highest of the day.
    peak_usage: String,
    /// The limit that held; `null` is unlimited.
    quota: Option<String>,
    /// What it is counted in.
    unit: String,
    /// What is billed of it; `null` until it is rated.
    billable_usage: Option<String>,
    /// Price of one; `null` until it is rated.
    unit_cost: Option<String>,
    /// What it costs; `null` until it is rated.
    total_cost: Option<String>,
    /// ISO 4217; `null` until it is rated.
    currency: Option<String>,
    /// Whether the day is over for an hour: nothing but corrections change it.
    closed: bool,
}

#[derive(Debug, Default, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DayFilter {
    /// Which tenant; an operator's principal needs it.
    tenant: Option<String>,
    /// One meter.
    meter: Option<String>,
    /// First day, as in 2026-11-01; 30 days back if not said.
    from: Option<String>,
    /// Last day; today if not said.
    to: Option<String>,
    /// 1 to 200, default 50.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Days shown unasked.
const DAYS: i32 = 30;

/// Usage by the tenant's civil day.
#[utoipa::path(get, path = "/v1/usage/daily", operation_id = "resources.list_usage_days", tag = "resources",
    params(DayFilter), responses((status = 200, body = List<UsageDay>)))]
async fn list_days(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(filter): Parameters<DayFilter>,
) -> Answer<Json<List<UsageDay>>> {
    let tenant = caller.one_tenant(filter.tenant.as_deref())?;
    let permit = caller.permit("usage:read", Some(tenant))?;
    let size = crate::api::Page { limit: filter.limit, ..crate::api::Page::default() }.size()?;
    let today = control.clock().now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let to = date(filter.to.as_deref(), "/to")?.unwrap_or_else(|| today.tomorrow().unwrap_or(today));
    let back = today.checked_sub(jiff::Span::new().days(DAYS)).unwrap_or(today);
    let from = date(filter.from.as_deref(), "/from")?.unwrap_or(back);
    let query = format!("usage_days {tenant} {from} {to} {:?}", filter.meter);
    let last = filter.cursor.as_deref().map(|text| cursor::open(&control, &query, text)).transpose()?;
    let (after_date, after_meter) = match last.as_deref().and_then(|last| last.split_once(' ')) {
        Some((day, meter)) => (date(Some(day), "/cursor")?.unwrap_or(from), meter.to_owned()),
        None => (from, String::new()),
    };
    let transaction = control.store.read(&permit).await?;
    let rows = transaction
        .query(queries::DAYS, &[&tenant.0, &from, &to, &filter.meter, &after_date, &after_meter, &(size + 1)])
        .await?;
    transaction.finish().await?;
    let mut days: Vec<UsageDay> = rows.iter().map(shown).collect();
    let key = |day: &UsageDay| format!("{} {}", day.usage_date, day.resource_type);
    let next_cursor = cursor::cut(&control, &query, &mut days, size, key);
    Ok(Json(List { items: days, next_cursor }))
}

fn date(text: Option<&str>, pointer: &str) -> Result<Option<Date>, Refusal> {
    let parse = |text: &str| {
        text.parse().map_err(|_| {
            Refusal::new(&kind::INVALID, "A day is not one.").field(pointer, "malformed", "as in 2026-11-01")
        })
    };
    text.map(parse).transpose()
}

fn shown(row: &Row) -> UsageDay {
    UsageDay {
        usage_date: row.get(0),
        resource_type: row.get(1),
        current_usage: plain(row.get(2)),
        peak_usage: plain(row.get(3)),
        quota: row.get::<_, Option<&str>>(4).map(plain),
        unit: row.get(5),
        billable_usage: row.get::<_, Option<&str>>(6).map(plain),
        unit_cost: row.get::<_, Option<&str>>(7).map(plain),
        total_cost: row.get::<_, Option<&str>>(8).map(plain),
        currency: row.get(9),
        closed: row.get(10),
    }
}

/// Without the zeros that the database keeps.
fn plain(text: &str) -> String {
    match QuotaLimit::parse(text) {
        Some(QuotaLimit::Units(units)) => quantity(units).to_string(),
        _ => text.to_owned(),
    }
}
