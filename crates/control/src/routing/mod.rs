//! Routing: what the gateway would do with a request, asked of the directory that is in force. Services and routes are
//! declared in the catalogue; what decides is `domain::routes`.

mod api;

pub use api::routes;
