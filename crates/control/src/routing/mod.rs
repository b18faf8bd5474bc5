//! Routing: what the gateway would do with a request, asked of the directory that is in force. Services and routes are
//! declared in the catalogue; what decides is `domain::routes`. Who gets which release of a service is set here.

mod api;
mod queries;
mod splits;
mod splits_api;
mod upstreams;
mod upstreams_api;

pub use api::routes;
pub use splits::{TOPIC as SPLITS_TOPIC, load as load_splits};
pub use upstreams::Upstreams;
