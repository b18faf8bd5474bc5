//! Rate limits on the path: counters in memory, and what the answer tells of them.

mod headers;
mod table;

pub(crate) use headers::{Standing, apply, strip};
pub(crate) use table::{CounterKey, LimitTable};
