//! The features of the control plane on real PostgreSQL and a real journal.

mod billing;
mod metering;
mod platform;
mod usage;
