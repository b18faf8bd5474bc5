//! Rate limits on the path: counters in memory, and what the answer tells of them.

mod figures;
mod headers;
mod table;

pub use figures::LimitCounts;
pub(crate) use figures::LimitFigures;
pub(crate) use headers::{Policies, Standings, apply, tells_of_limits};
pub(crate) use table::{CounterKey, LimitTable};
