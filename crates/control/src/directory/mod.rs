//! Builds the directory from the database, keeps it true, and publishes every version.
//!
//! A version is made whole at the start and after a change of the catalogue, and otherwise from the version before,
//! with the tenants that notices name built anew. Notices are read in the order of their ids, which is the order in
//! which they became visible; the version's number is made of the last one read, so every process that has read as
//! far has the same number, and a restart goes on counting.
//!
//! Rows are read after the notices. So a version is never older than its number says; it may be newer, and then the
//! notice that follows changes nothing.

mod build;
mod certificates;
mod notices;
mod reconciler;
mod tenant;

pub use build::{BuildError, build};
pub use reconciler::{Reconciler, run, start};
