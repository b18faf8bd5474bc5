//! Aggregation of a period's events into one value, exactly. Intervals are half-open; the order of arrival never
//! matters; events at one instant are ordered by id.

use std::collections::BTreeSet;

use jiff::{Timestamp, tz::TimeZone};

use super::{
    civil,
    meter::{Aggregation, Bucket, Measure, Mode, Resolution},
    quantity::Quantity,
    ratio::Ratio,
};

/// What is aggregated over: [`from`, `to`), and the whole billing period that holds it.
#[derive(Clone, Debug)]
pub struct Span {
    pub from: Timestamp,
    pub to: Timestamp,
    pub whole: (Timestamp, Timestamp),
    pub zone: TimeZone,
}

/// What an event contributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Number(Quantity),
    /// For `unique`.
    Text(String),
}

/// One counted event; identities are distinct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub at: Timestamp,
    pub id: String,
    pub value: Value,
}

/// One bucket's part of the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketValue {
    pub from: Timestamp,
    pub to: Timestamp,
    pub value: Ratio,
}

/// What a period came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate {
    /// Before scaling and rounding.
    pub raw: Ratio,
    /// After scaling and rounding.
    pub value: Ratio,
    /// Events in the span.
    pub counted: u64,
    /// Events outside of it, which were left out.
    pub outside: u64,
    /// Buckets that are not zero, where the meter has buckets.
    pub buckets: Vec<BucketValue>,
    /// The level that opens the next period; `None` for aggregations without one.
    pub level_at_end: Option<Ratio>,
}

/// Aggregates `events`. `level_at_start` is what the period before left.
pub fn aggregate(measure: &Measure, span: &Span, level_at_start: &Ratio, events: &[Event]) -> Aggregate {
    let mut inside: Vec<&Event> =
        events.iter().filter(|event| span.from <= event.at && event.at < span.to).collect();
    inside.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
    let mut buckets = Vec::new();
    let mut level = level_at_start.clone();
    let mut raw = Ratio::zero();
    let mut rest = inside.as_slice();
    for (from, to) in stretches(measure, span) {
        let (own, later) = rest.split_at(rest.partition_point(|event| event.at < to));
        let stretch = Stretch { measure, span, from, to, events: own };
        let value = if stretch.is_silent() { Ratio::zero() } else { stretch.value(&level) };
        level = stretch.level_after(&level);
        rest = later;
        if measure.bucket.is_some() && !value.is_zero() {
            buckets.push(BucketValue { from, to, value: value.clone() });
        }
        raw += value;
    }
    let scaled = measure.scale.map_or_else(|| raw.clone(), |scale| scale.apply(&raw));
    Aggregate {
        value: measure.round.apply(&scaled),
        raw,
        counted: inside.len() as u64,
        outside: (events.len() - inside.len()) as u64,
        buckets,
        level_at_end: has_level(measure.aggregation).then_some(level),
    }
}

fn has_level(aggregation: Aggregation) -> bool {
    matches!(aggregation, Aggregation::Max | Aggregation::Min | Aggregation::Last | Aggregation::TimeWeighted)
}

/// The span, cut at the ends of buckets where the meter has some.
fn stretches(measure: &Measure, span: &Span) -> Vec<(Timestamp, Timestamp)> {
    let next: fn(&TimeZone, Timestamp) -> Option<Timestamp> = match measure.bucket {
        None => return vec![(span.from, span.to)],
        Some(Bucket::Hour) => civil::next_hour,
        Some(Bucket::Day) => civil::next_day,
    };
    let mut stretches = Vec::new();
    let mut from = span.from;
    while from < span.to {
        let to = next(&span.zone, from).map_or(span.to, |end| end.min(span.to));
        stretches.push((from, to));
        from = to;
    }
    stretches
}

/// One stretch of time with its events in order.
struct Stretch<'a> {
    measure: &'a Measure,
    span: &'a Span,
    from: Timestamp,
    to: Timestamp,
    events: &'a [&'a Event],
}

impl Stretch<'_> {
    /// A bucket without events, of a meter that carries no level: it is nothing, not the level of another bucket.
    fn is_silent(&self) -> bool {
        let held =
            matches!(self.measure.aggregation, Aggregation::Max | Aggregation::Min | Aggregation::Last);
        held && self.measure.bucket.is_some() && !self.measure.carry && self.events.is_empty()
    }

    fn value(&self, level: &Ratio) -> Ratio {
        let count = || Ratio::from_integer(self.events.len() as i128);
        match self.measure.aggregation {
            Aggregation::Count => count(),
            Aggregation::Sum => self.sum(),
            Aggregation::Avg => self.sum().checked_div(&count()).unwrap_or_default(),
            Aggregation::Max => self.numbers().reduce(Ratio::max).unwrap_or_else(|| level.clone()),
            Aggregation::Min => self.numbers().reduce(Ratio::min).unwrap_or_else(|| level.clone()),
            Aggregation::Unique => self.distinct(),
            Aggregation::Last => self.level_after(level),
            Aggregation::TimeWeighted => match self.measure.resolution {
                Resolution::Exact => self.weighted(level),
                Resolution::Day => self.weighted_by_day(level),
            },
        }
    }

    fn numbers(&self) -> impl Iterator<Item = Ratio> {
        self.events.iter().map(|event| number(event))
    }

    fn sum(&self) -> Ratio {
        self.numbers().sum()
    }

    fn distinct(&self) -> Ratio {
        let values: BTreeSet<String> = self.events.iter().map(|event| distinct(&event.value)).collect();
        Ratio::from_integer(values.len() as i128)
    }

    /// The level behind the last event. Of `max` and `min` it is the last value.
    fn level_after(&self, level: &Ratio) -> Ratio {
        self.events.iter().fold(level.clone(), |level, event| self.step(level, event))
    }

    fn step(&self, level: Ratio, event: &Event) -> Ratio {
        let value = number(event);
        let changes = matches!(self.measure.aggregation, Aggregation::Last | Aggregation::TimeWeighted);
        if changes && self.measure.mode == Mode::Delta { level + value } else { value }
    }

    /// ∫ level dt ÷ the length of the whole period.
    fn weighted(&self, level: &Ratio) -> Ratio {
        let mut level = level.clone();
        let (mut at, mut area) = (self.from, Ratio::zero());
        for event in self.events {
            area += &level * &microseconds(at, event.at);
            level = self.step(level, event);
            at = event.at;
        }
        area += &level * &microseconds(at, self.to);
        area.checked_div(&microseconds(self.span.whole.0, self.span.whole.1)).unwrap_or_default()
    }

    /// Σ highest level of each civil day ÷ civil days of the whole period. A day in which the stretch ends
    /// belongs to what follows it.
    fn weighted_by_day(&self, level: &Ratio) -> Ratio {
        let zone = &self.span.zone;
        let last = civil::date(zone, self.to);
        let (mut level, mut day, mut events) = (level.clone(), civil::date(zone, self.from), self.events);
        let mut sum = Ratio::zero();
        while day < last {
            let Ok(tomorrow) = day.tomorrow() else { break };
            let (own, later) =
                events.split_at(events.partition_point(|event| civil::date(zone, event.at) <= day));
            let mut highest = level.clone();
            for event in own {
                level = self.step(level, event);
                highest = highest.max(level.clone());
            }
            sum += highest;
            (day, events) = (tomorrow, later);
        }
        sum.checked_div(&days(zone, self.span.whole)).unwrap_or_default()
    }
}

fn number(event: &Event) -> Ratio {
    match &event.value {
        Value::Number(quantity) => quantity.to_ratio(),
        Value::Text(_) => Ratio::zero(),
    }
}

fn distinct(value: &Value) -> String {
    match value {
        Value::Number(quantity) => quantity.to_string(),
        Value::Text(text) => text.clone(),
    }
}

fn microseconds(from: Timestamp, to: Timestamp) -> Ratio {
    Ratio::from_integer(i128::from(to.as_microsecond()) - i128::from(from.as_microsecond()))
}

fn days(zone: &TimeZone, (from, to): (Timestamp, Timestamp)) -> Ratio {
    let (from, to) = (civil::date(zone, from), civil::date(zone, to));
    Ratio::from_integer(from.until(to).map_or(0, |span| i128::from(span.get_days())))
}
