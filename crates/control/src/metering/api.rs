//! `GET /v1/usage` and `GET /v1/usage/explain`.

use axum::Json;
use axum::extract::{DefaultBodyLimit, State};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::metering::quantity::Quantity;
use rowhouse_domain::metering::ratio::Ratio;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::Transaction;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::measure::measure;
use super::meter::{self, MeterNote};
use super::read::{self, Bucket};
use super::span::{Span, Step};
use super::{EVENTS_BODY_MAX, complete_to, explain, ingest_api};
use crate::api::{Answer, Caller, Parameters, cursor};
use crate::{Control, Shared};

/// Items on one page of usage.
const ITEMS_MAX: u32 = 2_000;

/// The routes of usage.
pub fn routes() -> OpenApiRouter<Shared> {
    let ingestion = OpenApiRouter::new()
        .routes(routes!(ingest_api::report_events))
        .layer(DefaultBodyLimit::max(EVENTS_BODY_MAX));
    OpenApiRouter::new().routes(routes!(read_usage)).routes(routes!(explain::explain_usage)).merge(ingestion)
}

/// What usage is asked for.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsageQuery {
    /// Which tenant: an id or a code.
    pub tenant: Option<String>,
    /// Which meter.
    pub meter: String,
    /// From this instant on; a whole minute. Default: since this month began (UTC).
    #[param(value_type = Option<String>, format = DateTime)]
    pub from: Option<Timestamp>,
    /// Until this instant, exclusive; a whole minute. Default: now.
    #[param(value_type = Option<String>, format = DateTime)]
    pub to: Option<Timestamp>,
    /// What to sum by; default `total`.
    #[serde(default)]
    pub step: Step,
    /// IANA name of the zone whose days and months are meant; default `UTC`.
    pub zone: Option<String>,
    /// Items on a page: 1 to 2,000, default 1,000.
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// A tenant's usage of one meter.
#[derive(Debug, Serialize, ToSchema)]
pub struct Usage {
    /// The tenant's code.
    pub tenant: String,
    /// The meter.
    pub meter: String,
    /// What it is counted in.
    pub unit: String,
    /// How values become one.
    pub aggregation: &'static str,
    /// The zone whose days and months are meant.
    pub zone: String,
    /// Every request and event that was recorded by this instant is counted here; `null` while that is not known.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub complete_to: Option<Timestamp>,
    /// All of the stretch that was asked for.
    pub total: Amount,
    /// Steps that have any usage, in order.
    pub items: Vec<Item>,
    /// To be sent as `cursor` for the next page.
    pub next_cursor: Option<String>,
}

/// A quantity, and how many requests and events are behind it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Amount {
    /// Rounded to twelve digits.
    #[schema(value_type = String)]
    pub quantity: Quantity,
    /// Not rounded.
    #[schema(value_type = String)]
    pub exact: Ratio,
    /// How many requests and events.
    pub events: u64,
}

/// The usage of one step.
#[derive(Debug, Serialize, ToSchema)]
pub struct Item {
    /// Its first instant.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// The first instant behind it.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// What lies in it.
    #[serde(flatten)]
    pub amount: Amount,
}

impl Amount {
    /// A value as it is shown; beyond the range of quantities it is refused.
    pub(super) fn of(value: Ratio, events: u64) -> Result<Self, Refusal> {
        let beyond = || Refusal::new(&kind::INVALID, "The sum is beyond 10^20; ask for a shorter stretch.");
        Ok(Amount { quantity: Quantity::rounded(&value).ok_or_else(beyond)?, exact: value, events })
    }
}

impl Item {
    pub(super) fn of(bucket: Bucket, meter: &MeterNote) -> Result<Self, Refusal> {
        let value = meter.shown(&bucket.total.quantity.to_ratio());
        Ok(Item { from: bucket.from, to: bucket.to, amount: Amount::of(value, bucket.total.events)? })
    }
}

/// A tenant's usage of one meter, summed by minute, hour, day, month or in all.
#[utoipa::path(
    get,
    path = "/v1/usage",
    operation_id = "metering.read_usage",
    tag = "metering",
    params(UsageQuery),
    responses((status = 200, body = Usage))
)]
pub async fn read_usage(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(query): Parameters<UsageQuery>,
) -> Answer<Json<Usage>> {
    let tenant = caller.one_tenant(query.tenant.as_deref())?;
    let permit = caller.permit("usage:read", Some(tenant))?;
    let span = Span::asked(query.from, query.to, control.clock().now())?;
    let zone = zone(query.zone.as_deref())?;
    let limit = page_size(query.limit)?;
    let seal = format!("usage {tenant} {} {span:?} {:?} {:?}", query.meter, query.step, zone.iana_name());
    let page = match &query.cursor {
        Some(text) => Span { from: resumed(&control, &seal, text)?, ..span },
        None => span,
    };
    // Asked first, so that what is answered is at least that complete.
    let complete_to = complete_to(&control);
    let transaction = control.store.read(&permit).await?;
    read::at_one_instant(&transaction).await?;
    let meter = known_meter(&transaction, &query.meter).await?;
    let measured = measure(&transaction, tenant, &meter, span, span, &zone).await.map_err(Refusal::from)?;
    let total = Amount::of(measured.quantity, measured.events)?;
    let (mut items, mut next) = (Vec::new(), None);
    if query.step == Step::Total {
        let amount = Amount { exact: total.exact.clone(), ..total };
        items.push(Item { from: span.from, to: span.to, amount });
    } else if meter.is_additive() {
        let mut buckets =
            read::buckets(&transaction, tenant, &meter.name, page, query.step, &zone, limit + 1).await?;
        next = if buckets.len() as i64 > limit { buckets.pop() } else { None };
        items = buckets.into_iter().map(|bucket| Item::of(bucket, &meter)).collect::<Result<_, _>>()?;
    } else {
        return Err(no_steps(&meter).into());
    }
    transaction.finish().await?;
    let next_cursor = next.map(|next| cursor::seal(&control, &seal, &next.from.to_string()));
    Ok(Json(Usage {
        tenant: code(&caller, tenant),
        aggregation: meter.aggregation(),
        meter: meter.name,
        unit: meter.draft.unit,
        zone: zone.iana_name().unwrap_or("UTC").to_owned(),
        complete_to,
        total,
        items,
        next_cursor,
    }))
}

fn no_steps(meter: &MeterNote) -> Refusal {
    let detail =
        format!("`{}` is aggregated by `{}`; ask for `step=total`.", meter.name, meter.aggregation());
    Refusal::new(&kind::INVALID, "This meter is not a sum of steps.").field("/step", "unsupported", detail)
}

fn resumed(control: &Control, seal: &str, text: &str) -> Result<Timestamp, Refusal> {
    let last = cursor::open(control, seal, text)?;
    last.parse().map_err(|_| Refusal::new(&kind::CURSOR_INVALID, "The cursor is not of this query."))
}

fn zone(name: Option<&str>) -> Result<TimeZone, Refusal> {
    let Some(name) = name else { return Ok(TimeZone::UTC) };
    TimeZone::get(name).map_err(|_| {
        Refusal::new(&kind::INVALID, "The zone is not known.").field("/zone", "unknown", "an IANA name")
    })
}

fn page_size(asked: Option<u32>) -> Result<i64, Refusal> {
    match asked.unwrap_or(1_000) {
        limit @ 1..=ITEMS_MAX => Ok(i64::from(limit)),
        other => Err(Refusal::new(&kind::INVALID, "`limit` is out of bounds.").field(
            "/limit",
            "out_of_bounds",
            format!("1 to {ITEMS_MAX}, not {other}"),
        )),
    }
}

/// The meter with this name, or its refusal.
pub(super) async fn known_meter(transaction: &Transaction, name: &str) -> Answer<MeterNote> {
    let meter = meter::find(transaction, name).await?;
    Ok(meter.ok_or_else(|| Refusal::new(&kind::UNKNOWN_METER, format!("There is no meter `{name}`.")))?)
}

/// The tenant's code, as people know it.
pub(super) fn code(caller: &Caller, tenant: TenantId) -> String {
    let known = caller.directory().tenants.get(&tenant);
    known.map_or_else(|| tenant.to_string(), |tenant| tenant.code.to_string())
}
