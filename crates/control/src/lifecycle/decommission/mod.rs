//! Leaving for good. A tenant that leaves is refused at once and kept for its retention, in which it may come back; then a
//! saga erases it in every store, searches for what might be left, closes its audit log and signs a certificate.
//!
//! `begin → mark → erase → scrub → forget → sweep → close → certify`. There is no way back from its beginning on, which is when
//! the retention has ended: a tenant that was turned back half-way would be leaving with nobody to erase it. What fails stands
//! still, and a person decides.

mod certify;
mod leave;
mod steps;

use std::time::Duration;

pub use certify::{Issued, evidence_of, issued};
use jiff::Timestamp;
pub use leave::{DecommissionBody, Left, has_begun, leave, refuse_busy, reinstate};
use rowhouse_store::sagas::{Action, Kind, Step};
use serde::{Deserialize, Serialize};

use crate::Shared;

/// The kind's name.
pub const KIND: &str = "decommission";
/// The kind's version.
pub const VERSION: i32 = 1;

/// What stays of a tenant in the control database, whole schemas or tables: everything else with its id goes.
pub const KEPT: [&str; 10] = [
    // What the law wants kept: bills, the figures they are made of, the event log and proofs of erasure.
    "billing",
    "metering",
    "audit",
    "compliance",
    // How it left.
    "lifecycle",
    "tenancy.tenants",
    "tenancy.tombstones",
    // That its key was destroyed, and when; the key is not there any more.
    "tenancy.tenant_keys",
    // Domains of its own in quarantine: nobody else's before that has ended.
    "tenancy.hosts",
    // Which rows others must look at again; without content, swept after a day.
    "api.notices",
];

/// What the saga is started with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Params {
    /// When the tenant was asked to leave.
    pub requested_at: Timestamp,
    /// Until when everything is kept.
    pub retention_ends_at: Timestamp,
    /// Its plan until then.
    pub plan: Option<String>,
    /// In words of a person.
    pub reason: String,
    /// When who started it asked for erasure at once, where a second person has to ask, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erase_asked_at: Option<Timestamp>,
}

/// The saga.
pub fn kind() -> Kind<Shared> {
    let step = |name, deadline_s, action, undo| Step {
        name,
        deadline: Duration::from_secs(deadline_s),
        action,
        undo,
    };
    Kind {
        name: KIND,
        version: VERSION,
        steps: vec![
            step(
                "begin",
                30,
                Action::Inside(|run, transaction| Box::pin(steps::begin(run, transaction))),
                Action::NoReturn,
            ),
            step("mark", 300, Action::Outside(|run| Box::pin(steps::mark(run))), Action::NoReturn),
            step("erase", 600, Action::Outside(|run| Box::pin(steps::erase(run))), Action::NoReturn),
            step("scrub", 1_800, Action::Outside(|run| Box::pin(steps::scrub(run))), Action::NoReturn),
            step(
                "forget",
                300,
                Action::Inside(|run, transaction| Box::pin(steps::forget(run, transaction))),
                Action::NoReturn,
            ),
            step("sweep", 1_800, Action::Outside(|run| Box::pin(steps::sweep(run))), Action::NoReturn),
            step(
                "close",
                60,
                Action::Inside(|run, transaction| Box::pin(steps::close(run, transaction))),
                Action::NoReturn,
            ),
            step("certify", 600, Action::Outside(|run| Box::pin(certify::certify(run))), Action::NoReturn),
        ],
    }
}
