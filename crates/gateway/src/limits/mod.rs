//! Rate limits on the path: counters in memory, and what the answer tells of them.

mod headers;
mod table;

pub(crate) use headers::{Standing, apply, tells_of_limits};
pub(crate) use table::{CounterKey, LimitTable};
