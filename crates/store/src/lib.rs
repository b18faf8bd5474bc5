//! The control database: transactions that need a permit, migrations, notices, jobs, sagas, and the private
//! PostgreSQL server it lies in.
//!
//! Rows of a tenant are reachable only through a [`Transaction`], which needs a `Permit`. A change ends only
//! with [`Transaction::commit`], which takes the audit event and the notice of the change into the same
//! database transaction.

pub mod change;
pub mod jobs;
pub mod lines;
mod migrate;
pub mod pool;
pub mod sagas;
pub mod server;
pub mod transaction;
pub mod turns;
mod wake;

pub use change::{Change, Notice};
pub use migrate::{MigrateError, migrate};
pub use pool::{Store, StoreError};
pub use transaction::Transaction;
pub use wake::Topic;
