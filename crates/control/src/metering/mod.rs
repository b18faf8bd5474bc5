//! Usage, counted once. Records of requests and reported events become rows of `metering.usage`, one for each
//! meter that they add to; windows of a minute are the sums of these rows, and every answer and invoice is a sum
//! of windows. So any number can be followed down to the requests and events behind it, and adds up to the unit.
//!
//! Quantities are exact decimals from the journal to the answer; no float is involved.
#![deny(clippy::float_arithmetic)]

mod changes;
mod collect;
mod projector;
pub mod queries;

pub use changes::Changes;
pub use projector::{PROJECTION, UsageProjector};
