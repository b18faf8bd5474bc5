//! What usage is, how it is read and how it adds up: quantities, meters, usage events, their identities and
//! the aggregation of a period. Everything here is exact (integers and ratios of integers) and a pure function
//! of its arguments: the gateway, the projection, the simulator and the explanation all call the same code.
#![deny(clippy::float_arithmetic)]

pub mod quantity;
pub mod ratio;
pub mod rounding;
#[cfg(test)]
mod tests;
