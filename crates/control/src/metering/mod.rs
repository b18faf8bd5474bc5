//! Usage, counted once. Records of requests and reported events become rows of `metering.usage`, one for each
//! meter that they add to; windows of a minute are the sums of these rows, and every answer and invoice is a sum
//! of windows. So any number can be followed down to the requests and events behind it, and adds up to the unit.
//!
//! Quantities are exact decimals from the journal to the answer; no float is involved.
#![deny(clippy::float_arithmetic)]

mod api;
mod changes;
mod claims;
mod collect;
mod door;
mod explain;
mod ingest_api;
mod ingestion;
mod measure;
mod meter;
mod projector;
pub mod queries;
mod read;
mod reported;
mod sample;
mod span;

use rowhouse_domain::id::TenantId;
use rowhouse_store::{StoreError, Transaction};

pub use api::routes;
pub use changes::{Changes, Growth};
pub use ingestion::{Ingestion, LANE as INGESTION_LANE};
pub use measure::{MeasureError, Measured, measure};
pub use meter::{MeterNote, find as find_meter, list as list_meters};
pub use projector::{PROJECTION, UsageProjector};
pub use read::{
    Bucket, RowOrigin, RowPlace, Total, UsageRow, at_one_instant, buckets, levels, rows, total, totals,
    totals_since,
};
pub use sample::{Sample, level_records, levels_at, minutes, post_samples, totals_of, totals_within};
pub use span::{Span, Step};

/// Most events of one call.
const EVENTS_MAX: usize = 1_000;
/// Largest body of one call, in bytes.
const EVENTS_BODY_MAX: usize = 4 * 1024 * 1024;

/// The instant to which usage is complete: every request and event that was durably recorded by then is counted.
/// `None` while that is not known.
pub fn complete_to(control: &crate::Control) -> Option<jiff::Timestamp> {
    let at_us = control.projections.completeness_us(PROJECTION)?;
    jiff::Timestamp::from_microsecond(at_us).ok()
}

/// Forgets what services reported with the usage of a tenant that leaves; the figures stay. How many reports there were.
///
/// # Errors
/// If the control database failed.
pub async fn forget_details(transaction: &Transaction, tenant: TenantId) -> Result<i64, StoreError> {
    let sql = "SELECT metering.forget_details($1)";
    Ok(transaction.query_one(sql, &[&tenant.0]).await?.get(0))
}
