//! The control plane: one directory per feature word, each with its operations, SQL, HTTP API and work outside
//! requests. It publishes the directory that gateways decide from and reads the journal that they write.
//!
//! Every feature has the same shape: `mod.rs` (what it is, the operations that others may call), `api.rs`
//! (routes and wire types), `queries.rs` (rows and SQL), noun files (the operations).
#![forbid(unsafe_code)]

pub mod access;
pub mod api;
pub mod audit;
pub mod billing;
pub mod catalog;
pub mod deploy;
pub mod directory;
pub mod doctor;
pub mod fleet;
pub mod identity;
pub mod keys;
pub mod lifecycle;
pub mod limits;
mod lobby;
pub mod messages;
pub mod metering;
pub mod outbound;
pub mod projection;
pub mod resources;
pub mod routing;
pub mod tenancy;

use std::sync::Arc;

use rowhouse_domain::clock::Clock;
use rowhouse_domain::context::ContextSigner;
use rowhouse_domain::directory::{DirectoryWatch, Naming};
use rowhouse_domain::entropy::Entropy;
use rowhouse_domain::keys::Peppers;
use rowhouse_store::Store;

pub use api::{openapi, router};

/// What every operation of the control plane works with.
pub struct Control {
    /// The control database.
    pub store: Store,
    /// Where directory versions are published.
    pub directory: DirectoryWatch,
    /// Peppers of key digests.
    pub peppers: Peppers,
    /// Signs contexts; its public half is served as JWKS.
    pub context_signer: ContextSigner,
    /// Keys of the audit logs.
    pub audit: audit::Keys,
    /// How far the projections of this process have come.
    pub projections: projection::Progress,
    /// Whose usage has changed.
    pub usage_changes: metering::Changes,
    /// How measuring of levels goes.
    pub resources: resources::Measuring,
    /// The way in for reported usage.
    pub ingestion: metering::Ingestion,
    /// Shared databases that the doctor has found sound a moment ago.
    pub sound: doctor::Sound,
    /// Databases that lie ready for the next tenants.
    pub stock: tenancy::stock::Stock,
    /// What was found of tenants' own servers and processes.
    pub fleet: deploy::Fleet,
    /// Gateways that run on their own.
    pub nodes: deploy::nodes::Nodes,
    /// What gateways see of upstreams.
    pub upstreams: routing::Upstreams,
    /// Hashes people's passwords.
    pub hashing: identity::Hashing,
    /// Where tries to sign in come from.
    pub sign_in_sources: identity::Sources,
    /// Issuers of which a gateway missed a key.
    pub missed_keys: identity::issuers::MissedKeys,
    /// Fetches documents from places that others name.
    pub outbound: outbound::Outbound,
    /// How messages to people leave.
    pub messages: messages::Post,
    /// Settings that do not change while it runs.
    pub settings: Settings,
}

/// Settings of the control plane.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the control API is reached from outside, without a slash at the end.
    pub public_url: String,
    /// Name of this node; no other process that works on the same control database has it.
    pub node: String,
    /// Short name of the region, as in keys.
    pub region: String,
    /// Seals cursors; random per installation.
    pub cursor_key: [u8; 32],
    /// The master key, under which keys of tenants' databases are sealed; random per installation, in a file of its own.
    pub sealing_key: [u8; 32],
    /// Of tenants' own servers and processes.
    pub deploy: deploy::Settings,
    /// Of backups and exports.
    pub backups: lifecycle::backup::Settings,
    /// Proxies whose word on where a call comes from is believed.
    pub trusted_proxies: Vec<std::net::IpAddr>,
    /// How requests are resolved to tenants.
    pub naming: Naming,
    /// Domains of tenants' own.
    pub hosts: tenancy::hosts::Settings,
    /// Whether erasing a tenant at once, without any retention, takes two principals.
    pub erase_now_by_two: bool,
    /// What is done with cells whose server has known holes.
    pub below_floor: doctor::BelowFloor,
}

/// The control plane as handlers share it.
pub type Shared = Arc<Control>;

impl Control {
    /// The clock.
    pub fn clock(&self) -> &Clock {
        self.store.clock()
    }
    /// Randomness.
    pub fn entropy(&self) -> &Entropy {
        self.store.entropy()
    }
}
