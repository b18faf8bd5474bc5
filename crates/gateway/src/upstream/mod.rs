//! Upstreams: one core's connections to the copies of services.

mod connection;
mod http1;
mod pool;

pub(crate) use connection::{Connection, Message, SendError, Sending};
pub(crate) use http1::{Exchange, ExchangeError, Outbound};
pub(crate) use pool::{Care, InFlight, Pools, Upstream};
