//! What usage is, how it is read and how it adds up: quantities, meters, usage events, their identities and
//! the aggregation of a period. Everything here is exact (integers and ratios of integers) and a pure function
//! of its arguments: the gateway, the projection, the simulator and the explanation all call the same code.
#![deny(clippy::float_arithmetic)]

pub mod aggregate;
#[cfg(test)]
mod aggregate_tests;
pub mod catalogue;
pub mod civil;
pub mod claim;
pub mod content;
pub mod event;
#[cfg(test)]
mod event_tests;
#[cfg(test)]
mod header_tests;
pub mod meter;
#[cfg(test)]
mod meter_tests;
pub mod quantity;
pub mod ratio;
pub mod rounding;
pub mod simulate;
#[cfg(test)]
mod tests;
pub mod usage_header;
