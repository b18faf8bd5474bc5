//! Applications: programs that people sign in to with their account here (RFC 6749 §4.1 in the profile of RFC 9700: codes with PKCE only,
//! exact redirect addresses, `iss` in every answer).
//!
//! An application is of one tenant, or of the operator and for all. What it gets is a session in the person's name, refreshed, shown and
//! ended like any other, that is not the person: it opens nothing of their account ([`crate::api::Caller::person`]), what was shown to us is
//! no fresh proof of its own, and of the person's permissions here it may use those that it was registered with. Nobody is sent on without
//! having pressed a button on our page.

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
pub(super) use redirect::place;
