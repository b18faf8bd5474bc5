//! The features of the control plane on real PostgreSQL and a real journal.

mod access;
mod audit;
mod billing;
mod catalog;
mod configuration;
mod directory;
mod factors;
mod features;
mod fleet;
mod hosts;
mod house;
mod ingestion;
mod keys;
mod lifecycle;
mod limits;
mod messages;
mod metering;
mod people;
mod platform;
mod quotas;
mod resources;
mod routing;
mod sign_in;
mod usage;
mod work;
