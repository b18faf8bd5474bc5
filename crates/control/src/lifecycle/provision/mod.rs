//! Provisioning: from a code to a tenant that is served. [`begin`] answers at once; the steps below bring it about, or take
//! back everything that was made.

mod begin;
pub(in crate::lifecycle) mod place;
pub(in crate::lifecycle) mod proof;
pub(in crate::lifecycle) mod store;
mod tenant;

use std::time::Duration;

pub use begin::{NewTenantBody, begin};
use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::Refusal;
use rowhouse_store::sagas::{Action, Kind, Run, Step, StepError};
use serde::{Deserialize, Serialize};
pub(in crate::lifecycle) use tenant::wait_until_entry;

use crate::Shared;

/// The kind's name.
pub const KIND: &str = "provision";
/// The kind's version.
pub const VERSION: i32 = 1;
/// Names of the steps, in order.
pub const STEPS: [&str; 9] =
    ["reserve", "place", "store", "tables", "people", "subscribe", "deploy", "verify", "activate"];

/// What the saga is started with; all else is in the tenant's row.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Params {
    /// The plan of the tier, as the catalogue named it then.
    plan: String,
}

/// The saga. `place` and `people` are inside the control database and happen once; the rest reads before it makes.
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
                "reserve",
                30,
                Action::Inside(|run, transaction| Box::pin(tenant::reserve(run, transaction))),
                Action::Inside(|run, transaction| Box::pin(tenant::fail(run, transaction))),
            ),
            step(
                "place",
                30,
                Action::Inside(|run, transaction| Box::pin(place::choose(run, transaction))),
                Action::Inside(|run, transaction| Box::pin(place::free(run, transaction))),
            ),
            step(
                "store",
                120,
                Action::Outside(|run| Box::pin(store::make(run))),
                Action::Outside(|run| Box::pin(store::take_away(run))),
            ),
            step(
                "tables",
                120,
                Action::WithinUnless {
                    look: |run, transaction| Box::pin(store::tables_there(run, transaction)),
                    act: |run| Box::pin(store::install_tables(run)),
                },
                // They go with the place.
                Action::Nothing,
            ),
            step(
                "people",
                30,
                Action::Inside(|run, transaction| Box::pin(tenant::people(run, transaction))),
                Action::Inside(|run, transaction| Box::pin(tenant::without_people(run, transaction))),
            ),
            step(
                "subscribe",
                30,
                Action::Inside(|run, transaction| Box::pin(tenant::subscribe(run, transaction))),
                Action::Inside(|run, transaction| Box::pin(tenant::unsubscribe(run, transaction))),
            ),
            step(
                "deploy",
                120,
                Action::WithinUnless {
                    look: |run, _| Box::pin(store::without_processes(run)),
                    act: |run| Box::pin(store::deploy(run)),
                },
                Action::Outside(|run| Box::pin(store::take_processes_away(run))),
            ),
            step("verify", 60, Action::Within(|run| Box::pin(proof::verify(run))), Action::Nothing),
            step(
                "activate",
                120,
                // What it changes is one transaction, which waits for the disk, and its record lies before that.
                Action::Within(|run| Box::pin(tenant::activate(run))),
                Action::Inside(|run, transaction| Box::pin(tenant::refuse_if_active(run, transaction))),
            ),
        ],
    }
}

/// Whom the saga is about.
pub(in crate::lifecycle) fn tenant_of(run: &Run<'_, Shared>) -> TenantId {
    run.saga.tenant.expect("the saga is about a tenant: who started it said which")
}

/// A refusal of another feature as the failure of a step: what is our fault may pass.
/// Most findings of a refusal that the words of a failed step repeat.
const FIELDS_TOLD: usize = 5;

pub(in crate::lifecycle) fn failure(refusal: Refusal) -> StepError {
    let mut detail = refusal.detail().to_owned();
    for error in refusal.errors().iter().take(FIELDS_TOLD) {
        detail.push_str(&format!(" {}: {}.", error.pointer, error.detail.trim_end_matches('.')));
    }
    if let Some(private) = refusal.private_detail() {
        detail.push_str(&format!(" ({private})"));
    }
    match refusal.status() {
        status if status >= 500 => StepError::Again(detail),
        _ => StepError::Never { code: refusal.code(), detail },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_are_the_ones_that_are_shown() {
        let names: Vec<_> = kind().steps.iter().map(|step| step.name).collect();
        assert_eq!(names, STEPS);
    }
}
