//! What tenants are billed: subscriptions to plans, and the running invoice. Prices, rating and the arithmetic of
//! money are pure rules of `domain::billing`; usage comes from `metering`. An amount shown here is computed anew
//! from usage each time, so it cannot drift from what it is made of.
#![deny(clippy::float_arithmetic)]

mod api;
mod calendar;
mod explain;
mod period;
mod plan_change;
pub mod queries;
mod running;
mod simulate;
mod subscription;

pub use api::routes;
pub use calendar::calendars;
pub use period::{PeriodError, period_of};
pub use plan_change::{PlanChange, period_end, preview as preview_change};
pub use running::{DraftError, Running, draft};
pub use subscription::{SubscribeError, Subscription, cancel, current, end, list, subscribe};
