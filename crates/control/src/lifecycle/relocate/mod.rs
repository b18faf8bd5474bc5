//! Moving a tenant to another level of isolation by a *fenced copy*: writers wait while its rows are copied.
//!
//! ```text
//! move_check    names of the target, epoch e + 1               (control database)
//! move_target   made like a provisioned place; nobody has a token for it
//! move_tables   every service's tables, at the source's version
//! move_deploy   own processes, on level instance; not the tenant's way in yet
//! move_copy     fence the source · one consistent snapshot · load · prove equal, table by table
//! move_decide   source's epoch := e + 1, then ONE transaction: place, level, event, notice
//! move_remove   readers end, the source goes
//! ```
//!
//! **At any instant at most one place accepts a write.** The source takes no writer from the fence on; the target takes
//! only tokens of epoch e + 1, which nobody is given before the decision. What ends the work before the decision is
//! undone: the target goes, and the source is opened again. After the decision everything leads forward, undoing included.
//!
//! The steps belong into any saga: [`STEPS`] and [`steps`] go into its kind, and its parameters have a field
//! `relocation` with a [`Wanted`], or without one when nothing moves. Steps that may be refused (a payment) come before
//! them; from `move_decide` on there is no way back.
//!
//! A move that streams changes while it copies, and so fences for milliseconds only, is to come. Until then writers wait
//! as long as the copy takes; the library's patience is two seconds, after which a request is told to come again.

mod api;
mod begin;
mod copy;
mod decide;
mod plan;
mod remove;
mod target;

use std::time::Duration;

pub use api::routes;
pub use begin::{MoveBody, begin};
pub use plan::{OnLongTransactions, Wanted, check_level};
use rowhouse_store::sagas::{Action, Kind, Step};

use crate::Shared;

/// The kind's name.
pub const KIND: &str = "move";
/// The kind's version.
pub const VERSION: i32 = 1;
/// Names of the steps of a relocation, in order.
pub const STEPS: [&str; 7] =
    ["move_check", "move_target", "move_tables", "move_deploy", "move_copy", "move_decide", "move_remove"];

/// The steps of a relocation, for the kind of any saga of one tenant. They do nothing if its parameters name no
/// `relocation`.
pub fn steps() -> Vec<Step<Shared>> {
    let step = |name, deadline_s, action, undo| Step {
        name,
        deadline: Duration::from_secs(deadline_s),
        action,
        undo,
    };
    vec![
        step(
            STEPS[0],
            30,
            Action::Inside(|run, transaction| Box::pin(plan::check(run, transaction))),
            Action::Inside(|run, transaction| Box::pin(plan::forget(run, transaction))),
        ),
        step(
            STEPS[1],
            180,
            Action::Outside(|run| Box::pin(target::make(run))),
            Action::Outside(|run| Box::pin(target::take_away(run))),
        ),
        step(STEPS[2], 180, Action::Outside(|run| Box::pin(target::install(run))), Action::Nothing),
        step(
            STEPS[3],
            120,
            Action::Outside(|run| Box::pin(target::deploy(run))),
            Action::Outside(|run| Box::pin(target::take_processes_away(run))),
        ),
        step(
            STEPS[4],
            4 * 3600,
            Action::Outside(|run| Box::pin(copy::copy(run))),
            Action::Outside(|run| Box::pin(copy::undo(run))),
        ),
        step(
            STEPS[5],
            3600,
            Action::Outside(|run| Box::pin(decide::decide(run))),
            Action::Outside(|run| Box::pin(decide::undo(run))),
        ),
        step(STEPS[6], 24 * 3600, Action::Outside(|run| Box::pin(remove::remove(run))), Action::NoReturn),
    ]
}

/// The saga that moves and does nothing else.
pub fn kind() -> Kind<Shared> {
    Kind { name: KIND, version: VERSION, steps: steps() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_are_the_ones_that_are_shown() {
        let names: Vec<_> = steps().iter().map(|step| step.name).collect();
        assert_eq!(names, STEPS);
    }
}
