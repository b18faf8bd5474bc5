//! The facts and rules of Rowhouse, without I/O, async, clock or randomness: those come in as values.
//! Both planes decide with the functions here, so they cannot disagree.
//!
//! One module per feature word (`tenancy`, `lifecycle`, `access`, `keys`, `limits`, `routes`, `resources`, `metering`,
//! `billing`, `audit`, `deploy`), and what all of them share: `id`, `refusal`, `clock`, `entropy`, `network`, `sharded`,
//! `context` (what a service is told about its caller) and `directory` (what the gateway decides from).
#![forbid(unsafe_code)]

pub mod access;
pub mod audit;
pub mod billing;
pub mod clock;
pub mod context;
pub mod deploy;
pub mod directory;
pub mod entropy;
pub mod id;
pub mod identity;
pub mod keys;
pub mod lifecycle;
pub mod limits;
pub mod messages;
pub mod metering;
pub mod network;
pub mod refusal;
pub mod resources;
pub mod routes;
pub mod sharded;
pub mod tenancy;
