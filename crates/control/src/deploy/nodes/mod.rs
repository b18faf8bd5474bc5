//! Gateways that run as processes of their own, on this or another machine, and what they and the control plane say to
//! each other.
//!
//! ```text
//! gateway                                              control plane
//!   │  TLS 1.3, both sides prove an Ed25519 key             │
//!   ├── POST /node/v1/enrol       a token, used once ──────►│   from then on the key is the node
//!   ├── POST /node/v1/directory   from a version on ───────►│
//!   │◄──────────── everything, or what changed since; then every change as it is published
//!   ├── GET  /node/v1/journal     where to go on ──────────►│
//!   ├── POST /node/v1/journal/{lane}  frames ──────────────►│   effect and position in one transaction
//!   │◄──────────── the position
//!   ├── POST /node/v1/upstreams   what it sees of them ────►│   every few seconds, kept in memory
//!   ├── POST /node/v1/drained     asked to, it has ended ──►│   once all that it recorded is there
//! ```
//!
//! The keys are raw public keys (RFC 7250): no authority signs them and none can be made to sign others. The token holds the
//! control plane's key, so that the first connection is to whom the operator meant; the database holds the node's. Who is
//! asked what is decided by the key with each call, never by a name that is told.
//!
//! What a node is told lets it serve requests of all tenants: digests of API keys and the pepper that they were made with,
//! public keys of tokens, routes, rights and quotas. It is not told the master key, the key that contexts are signed with (it
//! has one of its own, which services believe until it is revoked), nor anything of the tenants' databases.

mod api;
mod door;
mod drain;
mod enrol;
mod follow;
mod intake;
mod known;
pub mod link;
mod queries;
mod raw_keys;
pub mod wire;

pub use api::routes;
pub use door::{Told, run};
pub use known::{Nodes, context_keys_now};
pub use queries::{context_key_id, context_keys};
pub use raw_keys::{NodeKey, PublicKey, connect_with};

/// The paths of the door.
pub const ENROL_PATH: &str = "/node/v1/enrol";
/// Where the directory is followed.
pub const DIRECTORY_PATH: &str = "/node/v1/directory";
/// Where it is told how upstreams stand.
pub const UPSTREAMS_PATH: &str = "/node/v1/upstreams";
/// Where it says that it is drained.
pub const DRAINED_PATH: &str = "/node/v1/drained";
/// Where the journal goes.
pub const JOURNAL_PATH: &str = "/node/v1/journal";
