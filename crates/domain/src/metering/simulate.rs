//! What a meter's definition would count: the same aggregation as for real usage, on events that are given.
//! Stores nothing and needs no tenant.

use std::collections::HashMap;

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::{
    aggregate::{Aggregate, Event, Span, Value, aggregate},
    meter::{Aggregation, Measure, MeterDraft, MeterProblem},
    quantity::Quantity,
    ratio::Ratio,
};

/// Most events of one simulation.
pub const EVENTS_MAX: usize = 10_000;
/// Longest period with buckets, in days.
pub const BUCKETED_DAYS_MAX: i64 = 400;

/// What is simulated. The caller turns `period.zone` into a time zone.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Simulation {
    pub meter: MeterDraft,
    pub period: PeriodText,
    #[serde(default)]
    pub level_at_start: Quantity,
    pub events: Vec<EventText>,
}

/// A period; `whole` is the full one that a stub belongs to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeriodText {
    pub from: Timestamp,
    pub to: Timestamp,
    #[serde(default = "utc")]
    pub zone: String,
    #[serde(default)]
    pub whole: Option<WholeText>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WholeText {
    pub from: Timestamp,
    pub to: Timestamp,
}

/// One event: a decimal, or any text for `unique`; `count` needs none.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventText {
    pub id: String,
    pub time: Timestamp,
    #[serde(default)]
    pub value: Option<String>,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Simulated {
    pub quantity: Quantity,
    pub exact: Ratio,
    pub events: EventCounts,
    pub buckets: Vec<BucketText>,
    pub level_at_end: Option<Ratio>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EventCounts {
    pub counted: u64,
    pub duplicate: u64,
    pub conflict: u64,
    pub outside: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BucketText {
    pub from: Timestamp,
    pub to: Timestamp,
    pub exact: Ratio,
}

/// Why nothing can be simulated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SimulateError {
    #[error("the meter breaks its rules")]
    Meter(Vec<MeterProblem>),
    #[error("a period begins before it ends, inside its whole period")]
    Period,
    #[error("at most 10,000 events, and 400 days where there are buckets")]
    TooLarge,
    #[error("event {0} has no value that the meter takes")]
    BadValue(usize),
    #[error("the result is outside of ±10^20")]
    OutOfRange,
}

/// Runs the simulation.
pub fn simulate(simulation: &Simulation, zone: TimeZone) -> Result<Simulated, SimulateError> {
    let measure = simulation.meter.measure().map_err(SimulateError::Meter)?;
    let span = span(&simulation.period, zone)?;
    let days = span.to.duration_since(span.from).as_hours() / 24;
    if simulation.events.len() > EVENTS_MAX || (measure.bucket.is_some() && days > BUCKETED_DAYS_MAX) {
        return Err(SimulateError::TooLarge);
    }
    let (events, mut counts) = distinct(&measure, &simulation.events)?;
    let result = aggregate(&measure, &span, &simulation.level_at_start.to_ratio(), &events);
    (counts.counted, counts.outside) = (result.counted, result.outside);
    answer(result, counts)
}

fn span(period: &PeriodText, zone: TimeZone) -> Result<Span, SimulateError> {
    let whole = period.whole.as_ref().map_or((period.from, period.to), |whole| (whole.from, whole.to));
    let holds = whole.0 <= period.from && period.from < period.to && period.to <= whole.1;
    if holds {
        Ok(Span { from: period.from, to: period.to, whole, zone })
    } else {
        Err(SimulateError::Period)
    }
}

/// The first event of each id counts; the same again is a duplicate, another content a conflict.
fn distinct(measure: &Measure, texts: &[EventText]) -> Result<(Vec<Event>, EventCounts), SimulateError> {
    let mut first: HashMap<&str, usize> = HashMap::with_capacity(texts.len());
    let (mut events, mut counts) = (Vec::<Event>::with_capacity(texts.len()), EventCounts::default());
    for (index, text) in texts.iter().enumerate() {
        let value = value(measure, text.value.as_deref()).ok_or(SimulateError::BadValue(index))?;
        let event = Event { at: text.time, id: text.id.clone(), value };
        match first.get(text.id.as_str()) {
            Some(earlier) if events[*earlier] == event => counts.duplicate += 1,
            Some(_) => counts.conflict += 1,
            None => {
                first.insert(&text.id, events.len());
                events.push(event);
            }
        }
    }
    Ok((events, counts))
}

fn value(measure: &Measure, text: Option<&str>) -> Option<Value> {
    match (measure.aggregation, text) {
        (Aggregation::Unique, text) => text.map(|text| Value::Text(text.to_owned())),
        (Aggregation::Count, None) => Some(Value::Number(Quantity::ONE)),
        (_, text) => {
            let quantity = Quantity::parse(text?).ok()?;
            (measure.takes_negative() || !quantity.is_negative()).then_some(Value::Number(quantity))
        }
    }
}

fn answer(result: Aggregate, events: EventCounts) -> Result<Simulated, SimulateError> {
    let quantity = Quantity::rounded(&result.value).ok_or(SimulateError::OutOfRange)?;
    let buckets = result.buckets.into_iter();
    Ok(Simulated {
        quantity,
        exact: result.value,
        events,
        buckets: buckets
            .map(|bucket| BucketText { from: bucket.from, to: bucket.to, exact: bucket.value })
            .collect(),
        level_at_end: result.level_at_end,
    })
}
