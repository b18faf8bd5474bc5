//! Applications: programs that people sign in to with their account here (RFC 6749 §4.1 in the profile of RFC 9700: codes with PKCE only,
//! exact redirect addresses, `iss` in every answer).
//!
//! An application is of one tenant, or of the operator and for all. What it gets is a session of the person like any other: refreshed,
//! shown and ended like one. Nobody is sent on without having pressed a button on our page.

mod api;
mod authorize;
mod exchange;
mod metadata;
mod queries;
mod redirect;

pub use api::routes;
pub use authorize::{decide, show};
pub use exchange::{Exchange, No, exchange, may_refresh};
pub use metadata::metadata;
pub(super) use queries::one;
