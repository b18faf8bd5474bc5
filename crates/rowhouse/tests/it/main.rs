//! The integration tests: the built binary over real HTTP, with a real private PostgreSQL, and the invariants of
//! the tree.

mod alone;
mod applications;
mod attacks;
mod browser;
mod documents;
mod door;
mod helpdesk;
mod invariants;
mod issuers;
mod keys;
mod lives;
mod manifests;
mod outside;
mod parking;
mod platform;
mod power;
mod quotas;
mod registration;
mod releases;
mod services;
mod sign_in;
mod source;
mod sso;
mod tenancy;
mod upgrade;
