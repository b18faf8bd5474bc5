//! Upstreams: one core's connections to the copies of services.

mod connection;
mod pool;

pub(crate) use connection::{Pooled, SendError};
pub(crate) use pool::{Pools, Upstream};
