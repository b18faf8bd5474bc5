//! `GET /v1/usage/explain`: a sum of usage down to the requests and events behind it.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rowhouse_domain::metering::quantity::Quantity;
use rowhouse_domain::metering::ratio::Ratio;
use rowhouse_domain::metering::rounding::{Rounding, Scale};
use rowhouse_domain::refusal::{Refusal, kind};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::api::{Amount, Item, code, known_meter};
use super::complete_to;
use super::measure::{Measured, measure};
use super::meter::MeterNote;
use super::read::{self, LeftOutEvent, RowOrigin, RowPlace, UsageRow};
use super::span::{Span, Step};
use crate::api::{Answer, Caller, Parameters, cursor};
use crate::{Control, Shared};

/// Windows of one explanation; their step is chosen so that there are never more.
const WINDOWS_MAX: i64 = 4_000;
/// Events left out that are named.
const LEFT_OUT_MAX: i64 = 100;

/// What is to be explained.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExplainQuery {
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
    /// Events on a page: 1 to 1,000, default 100.
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// A value of usage, taken apart. For sums, Σ of all pages' `events` = Σ `windows` before scaling = `quantity`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MeterExplanation)]
pub struct Explanation {
    /// The tenant's code.
    pub tenant: String,
    /// The meter.
    pub meter: ExplainedMeter,
    /// The first instant.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// The first instant behind.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// The sum, rounded to twelve digits.
    #[schema(value_type = String)]
    pub quantity: Quantity,
    /// The sum.
    #[schema(value_type = String)]
    pub exact: Ratio,
    /// How it came about.
    pub steps: Vec<ExplainedStep>,
    /// The sum by minute, hour or day, as its length allows.
    pub windows: Vec<Item>,
    /// One page of what is behind it.
    pub events: Vec<ExplainedEvent>,
    /// Reported events that were not counted, the first 100.
    pub left_out: Vec<LeftOut>,
    /// Every request and event that was recorded by this instant is in here.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub complete_to: Option<Timestamp>,
    /// To be sent as `cursor` for the next page of events.
    pub next_cursor: Option<String>,
}

/// Which meter counted.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExplainedMeter {
    /// Its name.
    pub name: String,
    /// The version in force now; each event names the one that counted it.
    pub version: i64,
    /// How values become one.
    pub aggregation: &'static str,
}

/// One step of the calculation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum ExplainedStep {
    /// Many values became one.
    Aggregate {
        /// How.
        kind: &'static str,
        /// How many there were.
        events: u64,
        /// What they came to.
        #[schema(value_type = String)]
        result: Ratio,
    },
    /// Multiplied or divided.
    Scale {
        /// By what, if it was.
        #[serde(flatten, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<Object>)]
        by: Option<Scale>,
        /// What it came to.
        #[schema(value_type = String)]
        result: Ratio,
    },
    /// Rounded.
    Round {
        /// How.
        #[serde(flatten)]
        #[schema(value_type = Object)]
        rounding: Rounding,
        /// What it came to.
        #[schema(value_type = String)]
        result: Ratio,
    },
}

fn steps(meter: &MeterNote, measured: &Measured) -> Vec<ExplainedStep> {
    let scale = meter.draft.scale;
    let scaled = scale.map_or_else(|| measured.raw.clone(), |scale| scale.apply(&measured.raw));
    let (events, result) = (measured.events, measured.raw.clone());
    vec![
        ExplainedStep::Aggregate { kind: meter.aggregation(), events, result },
        ExplainedStep::Scale { by: scale, result: scaled },
        ExplainedStep::Round { rounding: meter.draft.round, result: measured.quantity.clone() },
    ]
}

/// A request, or a reported event.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExplainedEvent {
    /// Who reported it; `gateway` for a request.
    pub source: String,
    /// Its id there; a request's own id.
    pub id: String,
    /// The request, if it is one.
    pub request_id: Option<String>,
    /// Method and path template of the request.
    pub endpoint: Option<String>,
    /// Who sent the request.
    pub principal: Option<String>,
    /// The status it was answered with.
    pub status: Option<i16>,
    /// When it was used.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    /// How much.
    #[schema(value_type = String)]
    pub value: Quantity,
    /// Version of the meter that counted it.
    pub meter_version: i64,
    /// Always `counted` here.
    pub state: &'static str,
    /// Where it stands in the journal.
    pub position: String,
}

/// A reported event that was not counted.
#[derive(Debug, Serialize, ToSchema)]
pub struct LeftOut {
    /// Who reported it.
    pub source: String,
    /// Its id there.
    pub id: String,
    /// `duplicate` or `conflict`.
    pub reason: String,
}

/// A sum of usage, down to the requests and events behind it.
#[utoipa::path(
    get,
    path = "/v1/usage/explain",
    operation_id = "metering.explain_usage",
    tag = "metering",
    params(ExplainQuery),
    responses((status = 200, body = Explanation))
)]
pub async fn explain_usage(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(query): Parameters<ExplainQuery>,
) -> Answer<Json<Explanation>> {
    let tenant = caller.one_tenant(query.tenant.as_deref())?;
    let permit = caller.permit("usage:read", Some(tenant))?;
    let span = Span::asked(query.from, query.to, control.clock().now())?;
    let limit = page_size(query.limit)?;
    let seal = format!("explain {tenant} {} {} {}", query.meter, span.from, span.to);
    let after = query.cursor.as_deref().map(|text| resumed(&control, &seal, text)).transpose()?;
    let complete_to = complete_to(&control);
    let transaction = control.store.read(&permit).await?;
    read::at_one_instant(&transaction).await?;
    let meter = known_meter(&transaction, &query.meter).await?;
    let measured =
        measure(&transaction, tenant, &meter, span, span, &TimeZone::UTC).await.map_err(Refusal::from)?;
    let step = Step::for_reading(span);
    let windows = match meter.is_additive() {
        true => {
            read::buckets(&transaction, tenant, &meter.name, span, step, &TimeZone::UTC, WINDOWS_MAX).await?
        }
        false => Vec::new(),
    };
    let mut rows = read::rows(&transaction, tenant, &meter.name, span, after.as_ref(), limit + 1).await?;
    let left_out = read::left_out(&transaction, tenant, &meter.name, span, LEFT_OUT_MAX).await?;
    transaction.finish().await?;
    let more = rows.len() as i64 > limit;
    rows.truncate(usize::try_from(limit).expect("checked to be small"));
    let last = rows.last().filter(|_| more);
    let next_cursor = last.map(|row| cursor::seal(&control, &seal, &place_text(&row.place)));
    let amount = Amount::of(measured.quantity.clone(), measured.events)?;
    Ok(Json(Explanation {
        tenant: code(&caller, tenant),
        from: span.from,
        to: span.to,
        quantity: amount.quantity,
        exact: amount.exact,
        steps: steps(&meter, &measured),
        windows: windows.into_iter().map(|bucket| Item::of(bucket, &meter)).collect::<Result<_, _>>()?,
        meter: ExplainedMeter { version: meter.version, aggregation: meter.aggregation(), name: meter.name },
        events: rows.into_iter().map(ExplainedEvent::from).collect(),
        left_out: left_out.into_iter().map(LeftOut::from).collect(),
        complete_to,
        next_cursor,
    }))
}

fn page_size(asked: Option<u32>) -> Result<i64, Refusal> {
    match asked.unwrap_or(100) {
        limit @ 1..=1_000 => Ok(i64::from(limit)),
        other => Err(Refusal::new(&kind::INVALID, "`limit` is out of bounds.").field(
            "/limit",
            "out_of_bounds",
            format!("1 to 1000, not {other}"),
        )),
    }
}

fn place_text(place: &RowPlace) -> String {
    format!("{} {} {} {}", place.at, place.node, place.lane, place.sequence)
}

fn resumed(control: &Control, seal: &str, text: &str) -> Result<RowPlace, Refusal> {
    let place = cursor::open(control, seal, text)?;
    read_place(&place).ok_or_else(|| Refusal::new(&kind::CURSOR_INVALID, "The cursor is not of this query."))
}

/// The node may hold spaces: it is what is left between the others.
fn read_place(text: &str) -> Option<RowPlace> {
    let (at, rest) = text.split_once(' ')?;
    let (rest, sequence) = rest.rsplit_once(' ')?;
    let (node, lane) = rest.rsplit_once(' ')?;
    Some(RowPlace {
        at: at.parse().ok()?,
        node: node.to_owned(),
        lane: lane.to_owned(),
        sequence: sequence.parse().ok()?,
    })
}

impl From<UsageRow> for ExplainedEvent {
    fn from(row: UsageRow) -> Self {
        let RowPlace { at, node, lane, sequence } = &row.place;
        let position = format!("{node}.{lane}.{sequence}");
        let common = ExplainedEvent {
            source: String::new(),
            id: String::new(),
            request_id: None,
            endpoint: None,
            principal: None,
            status: None,
            time: *at,
            value: row.quantity,
            meter_version: row.meter_version,
            state: "counted",
            position,
        };
        match row.origin {
            RowOrigin::Event { source, id } => ExplainedEvent { source, id, ..common },
            RowOrigin::Request { id, endpoint, principal, status } => ExplainedEvent {
                source: "gateway".to_owned(),
                id: id.to_string(),
                request_id: Some(id.to_string()),
                endpoint: Some(endpoint),
                principal,
                status,
                ..common
            },
        }
    }
}

impl From<LeftOutEvent> for LeftOut {
    fn from(event: LeftOutEvent) -> Self {
        LeftOut { source: event.source, id: event.id, reason: event.reason }
    }
}
