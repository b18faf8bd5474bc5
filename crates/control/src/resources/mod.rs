//! What tenants may use, how much of it they have used, and what follows from that. Limits and rules come from the tier,
//! or from an override of the tenant; usage comes from `metering`, and for what exists from collectors here.
//!
//! [`run`] follows everything that may change where a tenant stands, tells its administrators, and imposes and lifts what
//! the rule says. Gateways act on that from the directory, tenants' databases from the rights of their place.
#![deny(clippy::float_arithmetic)]

mod agreed;
mod api;
mod assess;
mod check;
mod collect;
mod daily_api;
mod enforcement;
mod enforcement_api;
mod explain_api;
mod figures;
mod follow;
pub mod history;
mod measurement;
mod overrides;
pub mod queries;
mod quotas;
mod reading;
mod shown;
mod simulate_api;
mod standing;

pub use agreed::{Agreed, QuotaSource, Rules};
pub use api::routes;
pub use assess::{AssessError, Assessed, assess};
pub use check::QuotaCheck;
pub use collect::people_changed;
pub use enforcement::{Enforcement, load as load_enforcements};
pub use figures::{Measuring, stopped};
pub use quotas::{quotas, quotas_of};

use tokio::sync::watch;

use crate::Shared;

/// Follows usage, measures levels and keeps the days, until `shutdown` says true.
pub async fn run(control: Shared, shutdown: watch::Receiver<bool>) {
    tokio::join!(
        follow::run(control.clone(), shutdown.clone()),
        collect::run(control.clone(), shutdown.clone()),
        history::run(control, shutdown)
    );
}
