//! Upstreams: one core's connections to the copies of services.

mod connection;
mod http1;
mod pool;
mod tls;

pub(crate) use connection::{ConnectError, Connection, Message, SendError, Sending, open};
pub(crate) use http1::{Exchange, ExchangeError, Outbound};
pub(crate) use pool::{Care, InFlight, Pools, Security, Speech, Upstream, Whose};
pub(crate) use tls::{Secure, SecureBook, Spoken};
