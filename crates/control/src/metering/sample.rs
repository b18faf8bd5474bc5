//! What `resources` asks of usage, and what its collectors add to it: samples of levels, each with the id
//! `{meter}:{minute}`, so that a sample that is sent again counts once and what is billed is what was measured.

use jiff::Timestamp;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::metering::quantity::Quantity;
use rowhouse_domain::refusal::Refusal;
use rowhouse_store::{StoreError, Transaction};
use tokio_postgres::Row;
use uuid::Uuid;

use super::queries;
use super::read::quantity;
use super::reported::{Added, Reported};
use super::span::Span;
use crate::Control;

/// The source of events that collectors report.
const SOURCE: &str = "rowhouse/collectors";
const MINUTE_S: i64 = 60;

/// A level that was measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Whose.
    pub tenant: TenantId,
    /// Of what.
    pub meter: String,
    /// How much there is.
    pub level: Quantity,
    /// When.
    pub at: Timestamp,
}

/// Reports samples as usage events; those of meters that are not declared are left out.
///
/// # Errors
/// 503 if the journal takes nothing.
pub async fn post_samples(control: &Control, samples: &[Sample]) -> Result<(), Refusal> {
    let meters = control.ingestion.meters(control).await?;
    let reported = samples.iter().filter_map(|sample| {
        let (_, version) = meters.iter().find(|(meter, _)| meter.name == sample.meter)?;
        Some(event(sample, *version))
    });
    let reported: Vec<Reported> = reported.collect();
    for part in reported.chunks(super::EVENTS_MAX) {
        control.ingestion.accept(part).await?;
    }
    Ok(())
}

fn event(sample: &Sample, version: i64) -> Reported {
    let minute_s = sample.at.as_second().div_euclid(MINUTE_S) * MINUTE_S;
    let minute = Timestamp::from_second(minute_s).expect("a minute is as near as its seconds");
    let id = format!("{}:{}", sample.meter, minute.strftime("%Y-%m-%dT%H:%MZ"));
    Reported {
        at_us: sample.at.as_microsecond(),
        received_at_us: sample.at.as_microsecond(),
        // The first sample of a minute counts; others of it are told apart by nothing.
        content: Uuid::nil(),
        usage: vec![Added { meter: sample.meter.clone(), version, quantity: sample.level }],
        ..Reported::new(sample.tenant, SOURCE.to_owned(), id, sample.meter.clone())
    }
}

/// What was used of each pair of tenant and meter since its instant. Who has used nothing is absent.
pub async fn totals_of(
    transaction: &Transaction,
    wanted: &[(TenantId, String, Timestamp)],
) -> Result<Vec<(TenantId, String, Quantity)>, StoreError> {
    let tenants: Vec<Uuid> = wanted.iter().map(|(tenant, _, _)| tenant.0).collect();
    let meters: Vec<&str> = wanted.iter().map(|(_, meter, _)| meter.as_str()).collect();
    let since: Vec<Timestamp> = wanted.iter().map(|(_, _, since)| *since).collect();
    let rows = transaction.query(queries::TOTALS_OF, &[&tenants, &meters, &since]).await?;
    rows.iter().map(|row| Ok((TenantId(row.get(0)), row.get(1), quantity(row.get(2))?))).collect()
}

/// What all tenants that the transaction sees, or one, used of each meter in a stretch of whole minutes, and the last
/// minute that added to it.
pub async fn totals_within(
    transaction: &Transaction,
    tenant: Option<TenantId>,
    span: Span,
) -> Result<Vec<(TenantId, String, Quantity, Timestamp)>, StoreError> {
    let tenant = tenant.map(|tenant| tenant.0);
    let rows = transaction.query(queries::ALL_WITHIN, &[&span.from, &span.to, &tenant]).await?;
    let total = |row: &Row| Ok((TenantId(row.get(0)), row.get(1), quantity(row.get(2))?, row.get(3)));
    rows.iter().map(total).collect()
}

/// The minutes of a stretch in which a tenant used something of `meter`, at most `limit`.
pub async fn minutes(
    transaction: &Transaction,
    tenant: TenantId,
    meter: &str,
    span: Span,
    limit: i64,
) -> Result<Vec<(Timestamp, Quantity)>, StoreError> {
    let rows =
        transaction.query(queries::MINUTES, &[&tenant.0, &meter, &span.from, &span.to, &limit]).await?;
    rows.iter().map(|row| Ok((row.get(0), quantity(row.get(1))?))).collect()
}

/// The values of a stretch one by one, for meters whose values replace each other; at most `limit`.
pub async fn level_records(
    transaction: &Transaction,
    tenant: TenantId,
    meter: &str,
    span: Span,
    limit: i64,
) -> Result<Vec<(Timestamp, Quantity)>, StoreError> {
    let rows = transaction.query(queries::VALUES, &[&tenant.0, &meter, &span.from, &span.to, &limit]).await?;
    rows.iter().map(|row| Ok((row.get(0), quantity(row.get(2))?))).collect()
}

/// The levels that hold now and since when, of all tenants that the transaction sees or of one.
pub async fn levels_at(
    transaction: &Transaction,
    tenant: Option<TenantId>,
    meters: &[&str],
) -> Result<Vec<(TenantId, String, Quantity, Timestamp)>, StoreError> {
    let tenant = tenant.map(|tenant| tenant.0);
    let rows = transaction.query(queries::LEVELS_AT, &[&meters, &tenant]).await?;
    let level = |row: &Row| Ok((TenantId(row.get(0)), row.get(1), quantity(row.get(2))?, row.get(3)));
    rows.iter().map(level).collect()
}
