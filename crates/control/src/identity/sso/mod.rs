//! Single sign-on: people of a tenant sign in at its own provider (OpenID Connect, authorization code with PKCE), which its
//! administrator has connected.
//!
//! What holds against whom: the answer of a provider is taken only in the browser that asked for it (a sealed cookie carries `state`,
//! nonce and PKCE verifier), once over all replicas, at an address of its own for each connection and with the provider's name in it
//! (RFC 9207), before anything is sent to anybody. What the provider says counts in its own tenant and nowhere else. Who a person is says
//! the provider's `sub`, never an address: an address makes a new member only inside a domain that the tenant has proven, and becomes
//! somebody who exists only if they belong to no other tenant, or have shown both sides.

mod api;
mod attempt;
mod callback;
mod config;
mod connection;
mod person;
mod provider;
mod queries;
mod route;

pub use api::routes;
pub(super) use attempt::{Purpose, admitted, is_test, started};
pub(super) use callback::{Answered, Came, Outcome, answered};
pub(super) use connection::ConnectionRow;
pub(super) use person::{links_of, shut_out};
pub(super) use queries::{active_of, may_enforce};
pub(super) use route::{find, lead, of_tenant};
