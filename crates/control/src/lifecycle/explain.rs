//! Why an operation stands where it stands, what would be undone, and what a person may do about it.

use rowhouse_domain::id::OperationId;
use rowhouse_domain::refusal::Refusal;
use rowhouse_store::sagas::{Action, Kind, State};
use rowhouse_store::{StoreError, Transaction};
use serde::Serialize;
use utoipa::ToSchema;

use super::operations::{self, OperationProblem, OperationState, no_such_operation};
use super::queries::{self, SagaRow, StepRow};
use crate::Shared;
use crate::audit::holds::{self, HoldRow};

/// An operation, explained.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = OperationExplanation)]
pub struct Explanation {
    /// Where it stands.
    pub state: OperationState,
    /// The step that it stands at; `null` before the first and behind the last.
    pub step: Option<String>,
    /// How often that step was begun.
    pub attempts: usize,
    /// Why it failed, turned back or is stuck.
    pub problem: Option<OperationProblem>,
    /// What the last try of the step said.
    pub last_problem: Option<String>,
    /// Steps that are done.
    pub done: Vec<String>,
    /// What would be undone, in that order; empty behind the point of no return.
    pub to_undo: Vec<String>,
    /// What it made, or was about to make, outside the control database, and is not known to be gone.
    pub inventory: Vec<Thing>,
    /// `resume`, `skip`, `abandon`, `cancel`: what may be decided now.
    pub choices: Vec<&'static str>,
    /// Which process works on it, and until when it need not say so again; RFC 3339.
    pub lease_until: Option<String>,
    /// Legal holds that it waits for.
    pub blocked_by: Vec<String>,
    /// What comes next.
    pub next: String,
}

/// A thing outside the control database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Thing {
    /// As in `database`.
    pub kind: String,
    /// Its name there.
    pub id: String,
    /// `intent` or `observed`.
    pub state: String,
}

/// Explains an operation.
///
/// # Errors
/// 404 if the transaction does not see it.
pub async fn explain(transaction: &Transaction, id: OperationId) -> Result<Explanation, Refusal> {
    let saga = queries::get(transaction, id).await?.ok_or_else(no_such_operation)?;
    let log = queries::steps(transaction, &[id.0]).await?;
    let inventory = queries::inventory_of_saga(transaction, id).await?;
    let shown = operations::view_of(transaction, id, true).await?;
    let at = log.last().filter(|_| saga.finished_at.is_none()).map(|row| row.step.clone());
    let attempts = log.iter().filter(|row| Some(&row.step) == at.as_ref() && is_start(row)).count();
    let undone =
        |step: &str| log.iter().any(|row| row.step == step && matches!(&*row.event, "undone" | "skipped"));
    let mut to_undo: Vec<String> = Vec::new();
    if saga.finished_at.is_none() && has_way_back(&saga, &log) {
        for row in log.iter().filter(|row| row.event == "started" && !undone(&row.step)) {
            if !to_undo.contains(&row.step) {
                to_undo.insert(0, row.step.clone());
            }
        }
    }
    let holds = holds_against(transaction, &saga).await?;
    let done = shown.steps.iter().filter(|step| step.state == "done").map(|step| step.name.clone());
    Ok(Explanation {
        state: shown.state,
        attempts,
        last_problem: log.iter().rev().find_map(|row| row.problem.clone()),
        done: done.collect(),
        inventory,
        choices: choices(&saga, &log),
        lease_until: saga.lease_until.map(|at| at.to_string()),
        next: match holds.is_empty() {
            true => next(&saga, at.as_deref(), to_undo.first().map(String::as_str)),
            false => waits_for(&saga, &holds),
        },
        blocked_by: holds.iter().map(|hold| hold.id.to_string()).collect(),
        step: at,
        problem: shown.problem,
        to_undo,
    })
}

/// Legal holds that keep what the saga is to erase.
async fn holds_against(transaction: &Transaction, saga: &SagaRow) -> Result<Vec<HoldRow>, StoreError> {
    match saga.tenant.filter(|_| saga.kind == super::decommission::KIND && saga.state == State::Scheduled) {
        Some(tenant) => holds::of(transaction, tenant).await,
        None => Ok(Vec::new()),
    }
}

fn waits_for(saga: &SagaRow, holds: &[HoldRow]) -> String {
    let named: Vec<String> =
        holds.iter().map(|hold| format!("`{}` (case {}, {})", hold.id, hold.case_id, hold.owner)).collect();
    format!("It begins at {}, or when the last of these is released: {}.", saga.run_at, named.join(", "))
}

fn is_start(row: &StepRow) -> bool {
    matches!(&*row.event, "started" | "undo_started")
}

fn began(log: &[StepRow], step: &str) -> bool {
    log.iter().any(|row| row.step == step && row.event == "started")
}

fn kind_of(saga: &SagaRow) -> Option<Kind<Shared>> {
    super::kinds().into_iter().find(|kind| kind.name == saga.kind)
}

fn has_way_back(saga: &SagaRow, log: &[StepRow]) -> bool {
    let is_final = |kind: &Kind<Shared>| {
        kind.steps.iter().any(|step| matches!(step.undo, Action::NoReturn) && began(log, step.name))
    };
    kind_of(saga).is_some_and(|kind| !is_final(&kind))
}

/// Whether an operation with this log may be cancelled.
pub fn may_be_cancelled(saga: &SagaRow, log: &[StepRow]) -> bool {
    let last_began = || {
        let kind = kind_of(saga);
        kind.and_then(|kind| kind.steps.last().map(|step| began(log, step.name))).unwrap_or(true)
    };
    match saga.state {
        State::Scheduled => saga.kind != super::decommission::KIND,
        State::Running => saga.kind != super::decommission::KIND && has_way_back(saga, log) && !last_began(),
        _ => false,
    }
}

fn choices(saga: &SagaRow, log: &[StepRow]) -> Vec<&'static str> {
    match saga.state {
        State::Stuck => vec!["resume", "skip", "abandon"],
        _ if may_be_cancelled(saga, log) => vec!["cancel"],
        _ => Vec::new(),
    }
}

fn next(saga: &SagaRow, at: Option<&str>, undo: Option<&str>) -> String {
    let step = at.unwrap_or("its first step");
    match saga.state {
        State::Scheduled => format!("It begins at {}.", saga.run_at),
        State::Running if saga.executor.is_none() => format!("`{step}` is tried again at {}.", saga.run_at),
        State::Running => format!("A process works on `{step}`."),
        State::Unwinding => format!("`{}` is undone.", undo.unwrap_or(step)),
        State::Stuck => format!(
            "Cure what keeps `{step}` from ending, then resume; or do it by hand and skip; or abandon and clear the inventory."
        ),
        State::Done | State::Undone => "Nothing: it is over.".to_owned(),
        State::Abandoned => "Nothing by itself: what is in the inventory is left.".to_owned(),
    }
}
