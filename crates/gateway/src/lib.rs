//! The gateway: the data plane. Every request that arrives is resolved to a tenant, authenticated, limited,
//! authorised, held against its quota, forwarded and recorded, without waiting for any database: all that a
//! decision needs is one immutable [`Directory`](rowhouse_domain::directory::Directory) in memory.
//!
//! One thread per core, each with its own runtime, listener, upstream connections, journal lane and counters of
//! what it did. Cores share the counters of limits and quotas, which are changed by compare-exchange: nobody
//! waits for anybody on the path.
//!
//! [`Gateway::start`] is the way in. The story of one request is told in `path/serve.rs`.
#![forbid(unsafe_code)]

mod addresses;
mod alarm;
mod body;
mod caller;
mod certificate;
mod connection;
mod context;
mod core;
mod discovery;
mod drain;
mod edits;
mod framing;
mod gateway;
mod idle;
mod limits;
mod metrics;
mod path;
mod patience;
mod probes;
mod quotas;
mod random;
mod scratch;
mod seen;
mod stream;
mod tls;
mod tokens;
mod upstream;
mod view;
mod websocket;

pub use gateway::{Collaborators, Doors, Freshness, Gateway, GatewayConfig, GatewayHandle, StartError};
pub use limits::{LimitCosts, LimitCounts, StoreConfig, limit_costs};
pub use metrics::{Histogram, LATENCY_BOUNDS_US, MetricsReader, MetricsSnapshot};
pub use rowhouse_domain::directory::DirectoryWatch;
pub use tls::{CertificateError, TlsListen};
