//! Limits: how often. The catalogue declares them; here a tenant gets numbers of its own for one, and limits are tried
//! out before they are declared. What a request meets is decided by `domain::limits`, in the gateway.

mod api;
mod overrides;
mod queries;

pub use api::routes;
pub use overrides::Override;
pub use queries::{expired, load_overrides, next_expiry};
