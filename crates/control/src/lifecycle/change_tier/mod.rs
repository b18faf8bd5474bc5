//! Changing a tenant's tier: quotas, features and plan, and a move when the level of isolation changes, in one saga. The move
//! comes last of what changes something: until its decision all of it can be taken back. An upgrade is at once and a downgrade waits for the end of the billing period, unless it is said
//! otherwise; what waits is an operation in state `scheduled` and can be cancelled.
//!
//! `reserve → quotas → subscribe → move_… → directory`

mod begin;
mod preview;
mod steps;

use std::time::Duration;

pub use begin::{ChangeTierBody, Wanted, begin, wanted};
pub use preview::{Preview, preview};
use rowhouse_store::sagas::{Action, Kind, Step};
use serde::{Deserialize, Serialize};

use super::relocate;
use crate::Shared;

/// The kind's name.
pub const KIND: &str = "change_tier";
/// The kind's version.
pub const VERSION: i32 = 1;

/// What the saga is started with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Params {
    /// The tier then.
    pub from: String,
    /// The tier to be.
    pub to: String,
    /// Whether usage above the new quotas is no obstacle.
    pub allow_over_quota: bool,
    /// Where it is to lie, if not where it does.
    #[serde(default)]
    pub relocation: Option<relocate::Wanted>,
}

/// The saga. Everything is inside the control database but for the wait at the end.
pub fn kind() -> Kind<Shared> {
    let step = |name, deadline_s, action, undo| Step {
        name,
        deadline: Duration::from_secs(deadline_s),
        action,
        undo,
    };
    let mut steps = vec![
        step(
            "reserve",
            30,
            Action::Inside(|run, transaction| Box::pin(steps::reserve(run, transaction))),
            Action::Nothing,
        ),
        step(
            "quotas",
            30,
            Action::Inside(|run, transaction| Box::pin(steps::quotas(run, transaction))),
            Action::Inside(|run, transaction| Box::pin(steps::old_quotas(run, transaction))),
        ),
        step(
            "subscribe",
            30,
            Action::Inside(|run, transaction| Box::pin(steps::subscribe(run, transaction))),
            Action::Inside(|run, transaction| Box::pin(steps::old_plan(run, transaction))),
        ),
    ];
    steps.extend(relocate::steps());
    steps.push(step("directory", 60, Action::Outside(|run| Box::pin(steps::in_force(run))), Action::Nothing));
    Kind { name: KIND, version: VERSION, steps }
}
