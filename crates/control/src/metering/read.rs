//! Reading usage: sums of windows, and the rows that they are sums of.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rowhouse_domain::id::{RequestId, TenantId};
use rowhouse_domain::metering::quantity::Quantity;
use rowhouse_store::{StoreError, Transaction};
use tokio_postgres::Row;
use uuid::Uuid;

use super::queries;
use super::span::{Span, Step};

/// A sum, and how many rows it is the sum of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    /// The sum.
    pub quantity: Quantity,
    /// How many requests and events are behind it.
    pub events: u64,
}

/// The sum of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// When the step begins; the first and last are cut at the span.
    pub from: Timestamp,
    /// When the next one begins.
    pub to: Timestamp,
    /// What lies in it.
    pub total: Total,
}

/// One request's or event's part of a sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// Its place in the order of rows.
    pub place: RowPlace,
    /// How much.
    pub quantity: Quantity,
    /// Version of the meter that counted it.
    pub meter_version: i64,
    /// What it came from.
    pub origin: RowOrigin,
}

/// Where a row stands: by time, and by its place in the journal where times are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowPlace {
    /// When it was used.
    pub at: Timestamp,
    /// Whose journal it is in.
    pub node: String,
    /// Which lane.
    pub lane: String,
    /// Which frame.
    pub sequence: i64,
}

/// What a row came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowOrigin {
    /// A request through the gateway.
    Request {
        /// Its id.
        id: RequestId,
        /// Method and path template.
        endpoint: String,
        /// Who sent it.
        principal: Option<String>,
        /// The status it was answered with.
        status: Option<i16>,
    },
    /// A reported event.
    Event {
        /// Who reported it.
        source: String,
        /// Its id there.
        id: String,
    },
}

/// An event that was not counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOutEvent {
    /// Who reported it.
    pub source: String,
    /// Its id there.
    pub id: String,
    /// `duplicate` or `conflict`.
    pub reason: String,
}

/// Makes all readings of a fresh transaction see one instant of the database, so that they add up.
pub async fn at_one_instant(transaction: &Transaction) -> Result<(), StoreError> {
    transaction.execute(queries::ONE_INSTANT, &[]).await?;
    Ok(())
}

/// Everything a tenant used of `meter` in `span`.
pub async fn total(
    transaction: &Transaction,
    tenant: TenantId,
    meter: &str,
    span: Span,
) -> Result<Total, StoreError> {
    let row = transaction.query_one(queries::TOTAL, &[&tenant.0, &meter, &span.from, &span.to]).await?;
    total_of(&row, 0)
}

/// Everything a tenant used in `span`, by meter. A meter without usage is absent.
pub async fn totals(
    transaction: &Transaction,
    tenant: TenantId,
    span: Span,
) -> Result<BTreeMap<String, Total>, StoreError> {
    let rows = transaction.query(queries::TOTALS, &[&tenant.0, &span.from, &span.to]).await?;
    rows.iter().map(|row| Ok((row.get(0), total_of(row, 1)?))).collect()
}

/// What tenants used of each meter since its instant; of all tenants that the transaction sees, or of one.
pub async fn totals_since(
    transaction: &Transaction,
    tenant: Option<TenantId>,
    meters: &[(String, Timestamp)],
) -> Result<Vec<(TenantId, String, Quantity)>, StoreError> {
    let (names, since): (Vec<&str>, Vec<Timestamp>) =
        meters.iter().map(|(name, at)| (name.as_str(), *at)).unzip();
    let earliest = since.iter().min().copied().unwrap_or(Timestamp::UNIX_EPOCH);
    let rows = match tenant {
        Some(tenant) => transaction.query(queries::TOTALS_SINCE, &[&names, &since, &tenant.0]).await?,
        None => transaction.query(queries::ALL_TOTALS_SINCE, &[&names, &since, &earliest]).await?,
    };
    rows.iter().map(|row| Ok((TenantId(row.get::<_, Uuid>(0)), row.get(1), quantity(row.get(2))?))).collect()
}

/// The levels that hold now, of all tenants that the transaction sees or of one.
pub async fn levels(
    transaction: &Transaction,
    tenant: Option<TenantId>,
    meters: &[&str],
) -> Result<Vec<(TenantId, String, Quantity)>, StoreError> {
    let tenant = tenant.map(|tenant| tenant.0);
    let rows = transaction.query(queries::LEVELS, &[&meters, &tenant]).await?;
    rows.iter().map(|row| Ok((TenantId(row.get::<_, Uuid>(0)), row.get(1), quantity(row.get(2))?))).collect()
}

/// The sums of the steps of `span` that have any usage, at most `limit`.
pub async fn buckets(
    transaction: &Transaction,
    tenant: TenantId,
    meter: &str,
    span: Span,
    step: Step,
    zone: &TimeZone,
    limit: i64,
) -> Result<Vec<Bucket>, StoreError> {
    let Some(field) = step.field() else {
        let total = total(transaction, tenant, meter, span).await?;
        return Ok(vec![Bucket { from: span.from, to: span.to, total }]);
    };
    let name = step.zone(zone.iana_name().unwrap_or("UTC"));
    let rows = transaction
        .query(queries::BUCKETS, &[&tenant.0, &meter, &span.from, &span.to, &field, &name, &limit])
        .await?;
    rows.iter()
        .map(|row| {
            let start: Timestamp = row.get(0);
            let (from, to) = (start.max(span.from), step.end(start, zone).min(span.to));
            Ok(Bucket { from, to, total: total_of(row, 1)? })
        })
        .collect()
}

/// The rows behind a sum, at most `limit`, behind `after`.
pub async fn rows(
    transaction: &Transaction,
    tenant: TenantId,
    meter: &str,
    span: Span,
    after: Option<&RowPlace>,
    limit: i64,
) -> Result<Vec<UsageRow>, StoreError> {
    let first = RowPlace { at: span.from, node: String::new(), lane: String::new(), sequence: -1 };
    let RowPlace { at, node, lane, sequence } = after.unwrap_or(&first);
    let rows = transaction
        .query(queries::ROWS, &[&tenant.0, &meter, &span.from, &span.to, at, node, lane, sequence, &limit])
        .await?;
    rows.iter().map(usage_row).collect()
}

/// Events of the span that were not counted, at most `limit`.
pub async fn left_out(
    transaction: &Transaction,
    tenant: TenantId,
    meter: &str,
    span: Span,
    limit: i64,
) -> Result<Vec<LeftOutEvent>, StoreError> {
    let parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
        &[&tenant.0, &meter, &span.from, &span.to, &limit];
    let rows = transaction.query(queries::LEFT_OUT, parameters).await?;
    let event = |row: &Row| LeftOutEvent { source: row.get(0), id: row.get(1), reason: row.get(2) };
    Ok(rows.iter().map(event).collect())
}

fn usage_row(row: &Row) -> Result<UsageRow, StoreError> {
    let origin = match row.get::<_, Option<Uuid>>(6) {
        Some(id) => RowOrigin::Request {
            id: RequestId(id),
            endpoint: row.get::<_, Option<String>>(7).unwrap_or_default(),
            principal: row.get(8),
            status: row.get(9),
        },
        None => RowOrigin::Event {
            source: row.get::<_, Option<String>>(10).unwrap_or_default(),
            id: row.get::<_, Option<String>>(11).unwrap_or_default(),
        },
    };
    Ok(UsageRow {
        place: RowPlace { at: row.get(0), node: row.get(1), lane: row.get(2), sequence: row.get(3) },
        quantity: quantity(row.get(4))?,
        meter_version: row.get(5),
        origin,
    })
}

fn total_of(row: &Row, first: usize) -> Result<Total, StoreError> {
    let events =
        u64::try_from(row.get::<_, i64>(first)).map_err(|_| StoreError::Stored { what: "a count" })?;
    Ok(Total { events, quantity: quantity(row.get(first + 1))? })
}

pub(super) fn quantity(text: &str) -> Result<Quantity, StoreError> {
    Quantity::parse(text).map_err(|_| StoreError::Stored { what: "a quantity" })
}
