//! The features of the control plane on real PostgreSQL and a real journal.

mod metering;
mod platform;
mod usage;
