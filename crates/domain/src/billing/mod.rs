//! Plans, prices and invoices: what usage costs, exactly. Money is an integer of minor units; everything between
//! is a ratio of big integers; rounding happens at named places and nowhere else. Pure functions: the running
//! cost, the invoice, the simulator and the explanation are one calculation.
#![deny(clippy::float_arithmetic)]

pub mod currency;
pub mod invoice;
#[cfg(test)]
mod invoice_tests;
pub mod model;
pub mod money;
#[cfg(test)]
mod money_tests;
pub mod period;
#[cfg(test)]
mod period_tests;
pub mod plan;
pub mod price;
pub mod price_draft;
#[cfg(test)]
mod price_tests;
pub mod rating;
pub mod simulate;
pub mod step;
