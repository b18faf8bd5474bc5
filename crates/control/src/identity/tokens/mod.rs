//! Looking at access tokens for others: each check with its outcome, for who asks why one is refused; and whether one is good now, for services
//! that ask about each request rather than verify it themselves (RFC 7662).

mod api;
mod explain;

pub use api::routes;
