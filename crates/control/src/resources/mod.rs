//! What tenants may use and how much of it they have used. Limits come from the tier, or from an override of the
//! tenant; usage comes from `metering`. Gateways enforce from the directory; [`run`] keeps its figures fresh.
#![deny(clippy::float_arithmetic)]

mod api;
mod check;
mod follow;
mod limits;
mod used;

pub use api::routes;
pub use check::QuotaCheck;
pub use follow::run;
pub use limits::{QuotaSource, limits_of, read_limit};
pub use used::{Used, used};
