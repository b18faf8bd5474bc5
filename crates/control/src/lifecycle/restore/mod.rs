//! Restoring a backup *beside* the living tenant: a database of its own with a login that can only read, for seven days.
//!
//! ```text
//! restore_place   names, region proven, row `running`                    (control database)
//! restore_load    database made anew · tables of then · rows · proven equal · migrated forward · login
//! restore_open    row `open`, event                                      (control database)
//! ```
//!
//! The living place is not touched, nor any other tenant. On every level the copy lies in a database of its own in the
//! tenant's cell (its own server on level `instance`): a tenant has at most one place in a database. The same backup may be
//! restored any number of times. Verifying a backup ([`Mode::Verify`]) is the same, and the copy goes at once.

mod api;
mod begin;
mod expire;
mod load;
mod login;
pub mod queries;
mod steps;

use std::time::Duration;

pub use api::routes;
pub use begin::{Mode, begin};
pub use expire::{expire, forget_in_cell, remove_all};
pub use queries::kept;
use rowhouse_store::sagas::{Action, Kind, Step};

use crate::Shared;

/// The kind's name.
pub const KIND: &str = "restore";
/// The kind's name of a restore that only proves.
pub const VERIFY_KIND: &str = "verify_backup";
/// The kinds' version.
pub const VERSION: i32 = 1;

fn steps() -> Vec<Step<Shared>> {
    vec![
        Step {
            name: "restore_place",
            deadline: Duration::from_secs(30),
            action: Action::Inside(|run, transaction| Box::pin(steps::choose(run, transaction))),
            undo: Action::Inside(|run, transaction| Box::pin(steps::give_up(run, transaction))),
        },
        Step {
            name: "restore_load",
            deadline: Duration::from_secs(4 * 3600),
            action: Action::Outside(|run| Box::pin(steps::load(run))),
            undo: Action::Outside(|run| Box::pin(steps::take_away(run))),
        },
    ]
}

/// The saga that leaves an open copy.
pub fn kind() -> Kind<Shared> {
    let mut steps = steps();
    steps.push(Step {
        name: "restore_open",
        deadline: Duration::from_secs(30),
        action: Action::Inside(|run, transaction| Box::pin(steps::open(run, transaction))),
        undo: Action::Nothing,
    });
    Kind { name: KIND, version: VERSION, steps }
}

/// The saga that leaves nothing but evidence.
pub fn verify_kind() -> Kind<Shared> {
    let mut steps = steps();
    let step =
        |name, action| Step { name, deadline: Duration::from_secs(300), action, undo: Action::Nothing };
    steps.push(step("verify_remove", Action::Outside(|run| Box::pin(steps::take_away(run)))));
    steps.push(step(
        "verify_record",
        Action::Inside(|run, transaction| Box::pin(steps::record(run, transaction))),
    ));
    Kind { name: VERIFY_KIND, version: VERSION, steps }
}
