//! Rate limits on the path: counters in memory, and what the answer tells of them.

mod figures;
mod headers;
mod lease;
mod measure;
mod store;
mod table;

pub use figures::LimitCounts;
pub(crate) use figures::LimitFigures;
pub(crate) use headers::{Policies, Standings, Told, tells_of_limits};
pub use measure::{LimitCosts, limit_costs};
pub use store::StoreConfig;
pub(crate) use store::{Asked, Held, LimitStore, StoreShared, Taken, Wanted};
pub(crate) use table::{CounterKey, LimitTable, keeps_window};
