//! Rows of usage made from the frames of one batch.

use std::collections::HashMap;

use jiff::Timestamp;
use rowhouse_domain::access::{Principal, PrincipalKind};
use rowhouse_domain::id::TenantId;
use rowhouse_domain::metering::quantity::Quantity;
use rowhouse_journal::{self as journal, RequestRecord};
use uuid::Uuid;

use super::changes::Growth;
use super::meter::MeterNote;

/// Rows of `metering.usage`, one vector for each column.
#[derive(Debug, Default)]
pub(super) struct UsageRows {
    pub tenants: Vec<Uuid>,
    pub meters: Vec<String>,
    pub versions: Vec<i64>,
    pub instants: Vec<Timestamp>,
    pub quantities: Vec<Quantity>,
    pub sequences: Vec<i64>,
    pub request_ids: Vec<Option<Uuid>>,
    pub endpoints: Vec<Option<String>>,
    pub principals: Vec<Option<String>>,
    pub statuses: Vec<Option<i16>>,
    pub sources: Vec<Option<String>>,
    pub event_ids: Vec<Option<String>>,
}

/// Values that replace each other, one vector for each column.
#[derive(Debug, Default)]
pub(super) struct Levels {
    pub tenants: Vec<Uuid>,
    pub meters: Vec<String>,
    pub instants: Vec<Timestamp>,
    pub ids: Vec<String>,
    pub quantities: Vec<String>,
}

/// What a row came from.
pub(super) enum Origin<'a> {
    Request { id: Uuid, endpoint: &'a str, principal: Option<String>, status: u16 },
    Event { source: &'a str, id: &'a str },
}

/// Where and when something was counted.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub tenant: TenantId,
    pub at: Timestamp,
    pub sequence: u64,
}

impl UsageRows {
    pub(super) fn is_empty(&self) -> bool {
        self.tenants.is_empty()
    }

    /// What the rows add, by tenant and meter.
    pub(super) fn growth(&self) -> Growth {
        let mut growth = Growth::new();
        for ((tenant, meter), quantity) in self.tenants.iter().zip(&self.meters).zip(&self.quantities) {
            let sum = growth.entry((TenantId(*tenant), meter.clone())).or_default();
            *sum = sum.saturating_add(quantity.units());
        }
        growth
    }

    /// The rows of meters whose values replace each other: tenant, meter, time, id and quantity.
    pub(super) fn levels(&self, is_level: impl Fn(&str) -> bool) -> Levels {
        let mut levels = Levels::default();
        for place in (0..self.tenants.len()).filter(|place| is_level(&self.meters[*place])) {
            let id = self.event_ids[place].clone();
            let id = id.or_else(|| self.request_ids[place].map(|id| id.to_string()));
            levels.tenants.push(self.tenants[place]);
            levels.meters.push(self.meters[place].clone());
            levels.instants.push(self.instants[place]);
            levels.ids.push(id.unwrap_or_default());
            levels.quantities.push(self.quantities[place].to_string());
        }
        levels
    }

    /// The quantities as PostgreSQL reads them.
    pub(super) fn quantity_texts(&self) -> Vec<String> {
        self.quantities.iter().map(Quantity::to_string).collect()
    }

    /// Adds one row.
    pub(super) fn push(
        &mut self,
        place: Place,
        meter: &str,
        version: i64,
        quantity: Quantity,
        origin: &Origin<'_>,
    ) {
        self.tenants.push(place.tenant.0);
        self.meters.push(meter.to_owned());
        self.versions.push(version);
        self.instants.push(place.at);
        self.quantities.push(quantity);
        self.sequences.push(i64::try_from(place.sequence).expect("a lane has fewer than 2^63 frames"));
        match origin {
            Origin::Request { id, endpoint, principal, status } => {
                self.request_ids.push(Some(*id));
                self.endpoints.push(Some((*endpoint).to_owned()));
                self.principals.push(principal.clone());
                self.statuses.push(i16::try_from(*status).ok());
                self.sources.push(None);
                self.event_ids.push(None);
            }
            Origin::Event { source, id } => {
                self.request_ids.push(None);
                self.endpoints.push(None);
                self.principals.push(None);
                self.statuses.push(None);
                self.sources.push(Some((*source).to_owned()));
                self.event_ids.push(Some((*id).to_owned()));
            }
        }
    }
}

/// Why a record's usage, or a part of it, is not counted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LeftOut {
    #[error("usage without a tenant")]
    NoTenant,
    #[error("usage of a tenant that does not exist: {0}")]
    UnknownTenant(TenantId),
    #[error("usage of the meter `{0}`, which does not exist")]
    UnknownMeter(String),
    #[error("a quantity of `{0}` that is negative or beyond 10^20")]
    BadQuantity(String),
    #[error("a time beyond the calendar: {0} µs since 1970")]
    BadTime(i64),
}

/// Adds the usage of `record` to `rows`. What cannot be counted is answered; the rest is counted all the same.
pub(super) fn collect_record(
    rows: &mut UsageRows,
    record: &RequestRecord<'_>,
    sequence: u64,
    meters: &HashMap<String, MeterNote>,
) -> Vec<LeftOut> {
    let Some(tenant) = record.tenant.map(TenantId::from_u128) else { return vec![LeftOut::NoTenant] };
    let Ok(at) = Timestamp::from_microsecond(record.started_at_us) else {
        return vec![LeftOut::BadTime(record.started_at_us)];
    };
    let origin = Origin::Request {
        id: Uuid::from_u128(record.request_id),
        endpoint: record.endpoint,
        principal: principal(record),
        status: record.status,
    };
    let mut left_out = Vec::new();
    for (meter, quantity) in sums(record) {
        let Some(known) = meters.get(meter) else {
            left_out.push(LeftOut::UnknownMeter(meter.to_owned()));
            continue;
        };
        let fits = |quantity: &Quantity| !quantity.is_negative() || known.takes_negative();
        match quantity.and_then(Quantity::from_units).filter(fits) {
            None => left_out.push(LeftOut::BadQuantity(meter.to_owned())),
            Some(quantity) => {
                rows.push(Place { tenant, at, sequence }, meter, known.version, quantity, &origin);
            }
        }
    }
    left_out
}

/// The pairs of a record, those of one meter added up; `None` is a sum beyond `i128`.
fn sums<'a>(record: &RequestRecord<'a>) -> Vec<(&'a str, Option<i128>)> {
    let mut sums: Vec<(&str, Option<i128>)> = Vec::new();
    for (meter, quantity) in record.usage.iter() {
        match sums.iter_mut().find(|(name, _)| *name == meter) {
            Some((_, sum)) => *sum = sum.and_then(|sum| sum.checked_add(quantity)),
            None => sums.push((meter, Some(quantity))),
        }
    }
    sums
}

fn principal(record: &RequestRecord<'_>) -> Option<String> {
    let kind = match record.principal_kind {
        journal::PrincipalKind::User => PrincipalKind::User,
        journal::PrincipalKind::ApiKey => PrincipalKind::ApiKey,
        journal::PrincipalKind::ServiceAccount => PrincipalKind::ServiceAccount,
        journal::PrincipalKind::Operator => {
            return record.principal.map(|id| Uuid::from_u128(id).to_string());
        }
        journal::PrincipalKind::System => PrincipalKind::System,
        journal::PrincipalKind::Anonymous => return None,
    };
    record.principal.map(|id| Principal { kind, id: Uuid::from_u128(id) }.to_string())
}
