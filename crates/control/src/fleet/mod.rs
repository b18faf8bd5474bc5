//! Migrations over the fleet: a new version of a service's tables goes to one tenant, then to a hundredth, a tenth, all of
//! them. A tenant whose migration fails stays where it is and is served; the others go on, or wait for a person.
//!
//! What is true stands in each tenant's own database: the version is a row in the transaction of the migration. So a
//! process that dies leaves nothing half, and whoever goes on finds out by doing it again.

mod api;
mod dry_run;
mod execute;
mod queries;
mod rollout;
mod status;
mod together;
mod waves;

pub use api::routes;
pub use execute::{round, run};
