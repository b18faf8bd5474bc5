//! The journal as its users see it: real files, real processes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod append;
mod crash;
mod damage;
mod fixture;
mod full;
mod kill;
mod place;
mod release;
mod synced;
