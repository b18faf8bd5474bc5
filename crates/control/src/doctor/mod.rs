//! The doctor of tenants' databases: looks at every place of every level, keeps what it found, and sets the firewall to strict
//! where a server has known holes. Its checks are the crate `tenantdb`'s; here is when, where and who hears of it.

mod api;
mod look;
mod probes;
mod probes_api;
mod queries;
mod sound;
mod watchdog;

/// What is done with a cell whose server is below the floor of known holes, or whose holes were found open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BelowFloor {
    /// Statements are judged more strictly.
    #[default]
    Strict,
    /// That, and no shared tenant is placed there.
    Refuse,
}

pub use api::routes;
pub use look::{Report, look, run};
pub use probes::run as run_probes;
pub use sound::Sound;
pub use watchdog::run as run_watchdog;
