//! A usage event: CloudEvents 1.0.2 in JSON. What identifies it (`source`, `id`), what it counts for (`type`,
//! `subject`), when it happened, and its data. Extension attributes are accepted and ignored.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    claim::digest,
    content::{self, Scalar},
    meter::{Meter, ValueSource},
    quantity::Quantity,
};

/// Most bytes of one event.
pub const BYTES_MAX: usize = 64 * 1024;
/// Most bytes of an id, a source, a subject or a type.
pub const ATTRIBUTE_BYTES_MAX: usize = 512;
/// Most bytes of a dimension's value.
pub const DIMENSION_BYTES_MAX: usize = 128;

/// A usage event as it was sent.
#[derive(Clone, Debug)]
pub struct UsageEvent {
    pub id: String,
    pub source: String,
    pub event_type: String,
    /// The tenant, by code or id, where the sender may name one.
    pub subject: Option<String>,
    /// When it happened; without it the time of receipt counts.
    pub time: Option<Timestamp>,
    pub data: Option<Box<RawValue>>,
}

/// Why an event is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    #[error("not a CloudEvent 1.0 with JSON data")]
    Malformed,
    #[error("an event over 64 KiB")]
    TooLarge,
    #[error("the value is missing or no decimal of at most 12 fraction digits below 10^20")]
    BadValue,
    #[error("the meter takes no values below zero")]
    NegativeValue,
    #[error("a time that is more than the allowed skew ahead")]
    TimeInFuture,
    #[error("a time before the tenant existed")]
    BeforeTenant,
    #[error("a dimension that is no scalar of at most 128 bytes")]
    BadDimension,
}

impl EventError {
    /// The refusal's code.
    pub fn code(self) -> &'static str {
        match self {
            EventError::Malformed => "metering.malformed",
            EventError::TooLarge => "metering.too_large",
            EventError::BadValue => "metering.bad_value",
            EventError::NegativeValue => "metering.negative_value",
            EventError::TimeInFuture => "metering.time_in_future",
            EventError::BeforeTenant => "metering.before_tenant",
            EventError::BadDimension => "metering.bad_dimension",
        }
    }
}

/// The attributes that matter, in JSON format or collected from `ce-` headers.
#[derive(Debug, Deserialize)]
struct Attributes {
    specversion: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    event_type: String,
    subject: Option<String>,
    time: Option<String>,
    datacontenttype: Option<String>,
    data: Option<Box<RawValue>>,
    data_base64: Option<Box<RawValue>>,
}

/// Reads one event in JSON format.
pub fn parse(text: &str) -> Result<UsageEvent, EventError> {
    if text.len() > BYTES_MAX {
        return Err(EventError::TooLarge);
    }
    serde_json::from_str::<Attributes>(text).map_err(|_| EventError::Malformed)?.event()
}

/// Cuts a batch (a JSON array) into its events, each read or refused on its own. `None` if it is no array.
pub fn parse_batch(text: &str) -> Option<Vec<Result<UsageEvent, EventError>>> {
    let events: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    Some(events.into_iter().map(|event| parse(event.get())).collect())
}

/// Reads an event in binary mode: its attributes from `ce-` headers (names in lower case, without the prefix)
/// and the body as data.
pub fn parse_binary(attributes: &BTreeMap<String, String>, body: &str) -> Result<UsageEvent, EventError> {
    if body.len() > BYTES_MAX {
        return Err(EventError::TooLarge);
    }
    let needed = |name: &str| attributes.get(name).cloned().ok_or(EventError::Malformed);
    let data = (!body.trim().is_empty()).then(|| RawValue::from_string(body.trim().to_owned()));
    Attributes {
        specversion: needed("specversion")?,
        id: needed("id")?,
        source: needed("source")?,
        event_type: needed("type")?,
        subject: attributes.get("subject").cloned(),
        time: attributes.get("time").cloned(),
        datacontenttype: attributes.get("datacontenttype").cloned(),
        data: data.transpose().map_err(|_| EventError::Malformed)?,
        data_base64: None,
    }
    .event()
}

impl Attributes {
    fn event(self) -> Result<UsageEvent, EventError> {
        let named =
            |text: &str| !text.is_empty() && text.len() <= ATTRIBUTE_BYTES_MAX && !text.contains('\0');
        let json = self.datacontenttype.as_deref().is_none_or(is_json);
        let all_named = [&self.id, &self.source, &self.event_type]
            .into_iter()
            .chain(&self.subject)
            .all(|text| named(text));
        if self.specversion != "1.0" || !all_named || !json || self.data_base64.is_some() {
            return Err(EventError::Malformed);
        }
        let time =
            self.time.map(|time| time.parse::<Timestamp>()).transpose().map_err(|_| EventError::Malformed)?;
        Ok(UsageEvent {
            id: self.id,
            source: self.source,
            event_type: self.event_type,
            subject: self.subject,
            time,
            data: self.data,
        })
    }
}

fn is_json(media_type: &str) -> bool {
    let name = media_type.split(';').next().unwrap_or_default().trim();
    name.eq_ignore_ascii_case("application/json") || name.ends_with("+json")
}

impl UsageEvent {
    /// Refuses a time more than `ahead` after `now`, or before the tenant existed. Any other age is accepted.
    pub fn check_time(
        &self,
        now: Timestamp,
        ahead: SignedDuration,
        tenant_since: Timestamp,
    ) -> Result<(), EventError> {
        let Some(time) = self.time else { return Ok(()) };
        if time.duration_since(now) > ahead {
            return Err(EventError::TimeInFuture);
        }
        if time < tenant_since { Err(EventError::BeforeTenant) } else { Ok(()) }
    }

    /// What the event adds to `meter`.
    pub fn value(&self, meter: &Meter) -> Result<Quantity, EventError> {
        let value = match &meter.value {
            ValueSource::Constant(quantity) => *quantity,
            ValueSource::Pointers(pointers) => self.sum(pointers)?,
        };
        if value.is_negative() && !meter.takes_negative() {
            Err(EventError::NegativeValue)
        } else {
            Ok(value)
        }
    }

    /// The text whose distinct values a `unique` meter counts.
    pub fn distinct_value(&self, meter: &Meter) -> Result<String, EventError> {
        let ValueSource::Pointers(pointers) = &meter.value else { return Err(EventError::BadValue) };
        let parts = pointers.iter().map(|pointer| self.scalar(pointer).map(Scalar::into_text));
        let parts = parts.collect::<Option<Vec<_>>>().ok_or(EventError::BadValue)?;
        Ok(parts.join("\u{1f}"))
    }

    /// The event's dimensions of `meter`; one that the data lacks is absent.
    pub fn dimensions(&self, meter: &Meter) -> Result<BTreeMap<String, String>, EventError> {
        let mut dimensions = BTreeMap::new();
        for (name, pointer) in &meter.dimensions {
            let Some(value) = self.scalar(pointer).map(Scalar::into_text) else { continue };
            if value.len() > DIMENSION_BYTES_MAX {
                return Err(EventError::BadDimension);
            }
            dimensions.insert(name.clone(), value);
        }
        Ok(dimensions)
    }

    /// SHA-256 of what must not change when an event is sent again: type, data, and the time if one was given.
    pub fn content_digest(&self) -> Result<[u8; 32], EventError> {
        let data = self
            .data
            .as_ref()
            .map(|data| content::normal_form(data).ok_or(EventError::Malformed))
            .transpose()?;
        let time = self.time.map(|time| time.to_string()).unwrap_or_default();
        Ok(digest(&[self.event_type.as_bytes(), data.unwrap_or_default().as_bytes(), time.as_bytes()]))
    }

    fn scalar(&self, pointer: &str) -> Option<Scalar> {
        content::scalar(self.data.as_ref()?, pointer)
    }

    fn sum(&self, pointers: &[String]) -> Result<Quantity, EventError> {
        let mut values = pointers.iter().map(|pointer| self.scalar(pointer)?.quantity());
        let sum = values.try_fold(Quantity::ZERO, |sum, value| sum.checked_add(value?));
        sum.ok_or(EventError::BadValue)
    }
}
