//! Real HTTP over loopback, through a real gateway with a real journal, to a small upstream: what a client sees,
//! what a service sees, and what is recorded.
#![allow(clippy::type_complexity, reason = "tables of cases")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod bodies;
mod callers;
mod certificates;
mod client;
mod cors;
mod directory;
mod discovery;
mod drain;
mod faulty;
mod grpc;
mod http2;
mod hygiene;
mod identity;
mod idle;
mod issuers;
mod left;
mod limits;
mod narrowed;
mod quotas;
mod records;
mod redis_server;
mod releases;
mod rows;
mod seen;
mod sequences;
mod silence;
mod stage;
mod store_faults;
mod streams;
mod tenants;
mod tls;
mod together;
mod tokens;
mod transforms;
mod upstream;
mod upstream_faults;
mod upstream_tls;
mod upstreams;
mod versions;
mod websocket;
