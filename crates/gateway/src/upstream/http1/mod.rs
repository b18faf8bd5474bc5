//! HTTP/1.1 towards upstreams: one request at a time over a connection that is kept. It runs inside the task of the
//! request, so that nothing has to be handed from task to task, and it reads answers more strictly than it must.

mod exchange;
mod head;
mod outbound;
mod wire;

pub(crate) use exchange::{Exchange, ExchangeError};
pub(crate) use outbound::Outbound;
pub(crate) use wire::Wire;
