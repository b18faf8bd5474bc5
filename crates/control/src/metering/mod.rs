//! Usage, counted once. Records of requests and reported events become rows of `metering.usage`, one for each
//! meter that they add to; windows of a minute are the sums of these rows, and every answer and invoice is a sum
//! of windows. So any number can be followed down to the requests and events behind it, and adds up to the unit.
//!
//! Quantities are exact decimals from the journal to the answer; no float is involved.
#![deny(clippy::float_arithmetic)]

pub mod api;
mod changes;
mod collect;
pub mod explain;
mod meter;
mod projector;
pub mod queries;
mod read;
mod span;

pub use changes::Changes;
pub use meter::{MeterNote, find as find_meter};
pub use projector::{PROJECTION, UsageProjector};
pub use read::{
    Bucket, RowOrigin, RowPlace, Total, UsageRow, at_one_instant, buckets, rows, total, totals, totals_since,
};
pub use span::{Span, Step};
