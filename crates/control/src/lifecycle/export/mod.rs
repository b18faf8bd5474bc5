//! Everything of a tenant for it to take along: a tar of its tables as JSON lines, the shape of them, and a manifest.
//!
//! The file lies sealed with the tenant's key (`export/v1`) and is put together as a tar while it is fetched, so that nothing
//! is ever kept in clear. It can be fetched for seven days, by the tenant's own principals and the operator's.

mod api;
mod begin;
mod expire;
pub mod queries;
mod steps;
mod tar;
mod write;

use std::time::Duration;

pub use api::routes;
pub use begin::begin;
pub use expire::{expire, is_there};
pub use queries::{kept, last_ready};
use rowhouse_store::sagas::{Action, Kind, Step};

use crate::Shared;

/// The kind's name.
pub const KIND: &str = "export";
/// The kind's version.
pub const VERSION: i32 = 1;

/// The saga.
pub fn kind() -> Kind<Shared> {
    Kind {
        name: KIND,
        version: VERSION,
        steps: vec![
            Step {
                name: "export_write",
                deadline: Duration::from_secs(4 * 3600),
                action: Action::Outside(|run| Box::pin(steps::write(run))),
                undo: Action::Outside(|run| Box::pin(steps::take_away(run))),
            },
            Step {
                name: "export_ready",
                deadline: Duration::from_secs(30),
                action: Action::Inside(|run, transaction| Box::pin(steps::ready(run, transaction))),
                undo: Action::Nothing,
            },
        ],
    }
}
