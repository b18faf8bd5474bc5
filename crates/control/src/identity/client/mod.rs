//! Machines that ask for tokens (RFC 6749 §4.4): a service account shows one of its secrets and gets an access token for ten minutes, good
//! at the gateway and here for what the account may do at each moment.
//!
//! A token carries the id of the secret that it was made for, as a person's carries the session: when the secret is revoked, every
//! gateway refuses its tokens as soon as it has the directory that follows.

mod api;
mod queries;
mod secret;
mod token;

pub use api::routes;
pub use queries::revoked_since;
pub use token::{Client, client_token};
