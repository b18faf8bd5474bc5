//! Operations: sagas as clients follow them.

use rowhouse_domain::id::OperationId;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::sagas::State;
use rowhouse_store::{StoreError, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::queries::{self, SagaRow, StepRow};

/// Where an operation stands, as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    /// Its time has not come.
    Scheduled,
    /// Going forward, or back.
    Running,
    /// Everything was done.
    Done,
    /// It was given up.
    Failed,
    /// It waits for a person.
    Stuck,
    /// It failed, and everything was undone.
    Undone,
}

impl OperationState {
    pub fn of(state: State) -> Self {
        match state {
            State::Scheduled => OperationState::Scheduled,
            State::Running | State::Unwinding => OperationState::Running,
            State::Done => OperationState::Done,
            State::Undone => OperationState::Undone,
            State::Stuck => OperationState::Stuck,
            State::Abandoned => OperationState::Failed,
        }
    }

    /// The states of sagas that are told as this word; `None` for a word that is none.
    pub fn stored(word: &str) -> Option<&'static [&'static str]> {
        Some(match word {
            "scheduled" => &["scheduled"],
            "running" => &["running", "unwinding"],
            "done" => &["done"],
            "failed" => &["abandoned"],
            "stuck" => &["stuck"],
            "undone" => &["undone"],
            _ => return None,
        })
    }
}

/// A long change, to be followed.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Operation {
    /// `operation_…`.
    pub id: String,
    /// As in `provision`.
    pub kind: String,
    /// Whose, if it is about one tenant.
    pub tenant: Option<String>,
    /// Where it stands.
    pub state: OperationState,
    /// In the order of doing.
    pub steps: Vec<OperationStep>,
    /// 0 to 1: the share of steps that are done.
    pub progress: f32,
    /// What it brought about.
    #[schema(value_type = Option<Object>)]
    pub result: Option<Value>,
    /// Why it failed, turned back or is stuck.
    pub problem: Option<OperationProblem>,
    /// The principal that asked for it.
    pub created_by: String,
    /// RFC 3339.
    pub created_at: String,
    /// When it will begin; RFC 3339, while it is scheduled.
    pub starts_at: Option<String>,
    /// RFC 3339.
    pub finished_at: Option<String>,
}

/// A step of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct OperationStep {
    /// Its name.
    pub name: String,
    /// `waiting`, `running`, `retrying`, `done`, `failed`, `undoing`, `undone`, `skipped` or `stuck`.
    pub state: &'static str,
    /// When it was first begun.
    pub started_at: Option<String>,
    /// When it came to this state, if it is at an end.
    pub finished_at: Option<String>,
    /// The last problem; for the operator only.
    pub detail: Option<String>,
}

/// Why an operation did not go through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct OperationProblem {
    /// A refusal's code.
    pub code: String,
    /// The step that failed first.
    pub step: String,
    /// In words; for the operator only.
    pub detail: Option<String>,
    /// The step whose undo failed.
    pub stuck_at: Option<String>,
}

fn step_names(kind: &str) -> Vec<&'static str> {
    let known = super::kinds().into_iter().find(|known| known.name == kind);
    known.map(|known| known.steps.iter().map(|step| step.name).collect()).unwrap_or_default()
}

/// What one saga looks like.
///
/// # Errors
/// 404 if the transaction does not see it.
pub async fn view_of(
    transaction: &Transaction,
    id: OperationId,
    with_details: bool,
) -> Result<Operation, Refusal> {
    let saga = queries::get(transaction, id).await?.ok_or_else(no_such_operation)?;
    Ok(views(transaction, vec![saga], with_details).await?.remove(0))
}

/// The same, or nothing while it is running: for who waits for its end, and would read its steps again and again.
///
/// # Errors
/// 404 if the transaction does not see it.
pub async fn view_unless_running(
    transaction: &Transaction,
    id: OperationId,
    with_details: bool,
) -> Result<Option<Operation>, Refusal> {
    let saga = queries::get(transaction, id).await?.ok_or_else(no_such_operation)?;
    if OperationState::of(saga.state) == OperationState::Running {
        return Ok(None);
    }
    Ok(Some(views(transaction, vec![saga], with_details).await?.remove(0)))
}

/// What sagas look like. `with_details` is for the operator only.
pub async fn views(
    transaction: &Transaction,
    sagas: Vec<SagaRow>,
    with_details: bool,
) -> Result<Vec<Operation>, StoreError> {
    let ids: Vec<Uuid> = sagas.iter().map(|saga| saga.id.0).collect();
    let log = queries::steps(transaction, &ids).await?;
    let of = |saga: SagaRow| {
        let own: Vec<&StepRow> = log.iter().filter(|row| row.saga == saga.id.0).collect();
        view(saga, &own, with_details)
    };
    Ok(sagas.into_iter().map(of).collect())
}

fn view(saga: SagaRow, log: &[&StepRow], with_details: bool) -> Operation {
    let names = step_names(&saga.kind);
    let steps: Vec<OperationStep> =
        names.iter().map(|name| step(name, log, saga.state, with_details)).collect();
    let done = steps.iter().filter(|step| step.state == "done").count();
    Operation {
        id: saga.id.to_string(),
        kind: saga.kind,
        tenant: saga.tenant.map(|tenant| tenant.to_string()),
        state: OperationState::of(saga.state),
        progress: if steps.is_empty() { 0.0 } else { done as f32 / steps.len() as f32 },
        steps,
        result: saga.result,
        problem: saga.problem.map(|problem| told_problem(&problem, with_details)),
        created_by: saga.created_by,
        created_at: saga.created_at.to_string(),
        starts_at: (saga.state == State::Scheduled).then(|| saga.run_at.to_string()),
        finished_at: saga.finished_at.map(|at| at.to_string()),
    }
}

fn told_problem(problem: &Value, with_details: bool) -> OperationProblem {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    // What went wrong behind the point of no return did not turn it back: it only stands still.
    let first = if problem["code"].is_string() { problem } else { &problem["stuck"] };
    OperationProblem {
        code: text(&first["code"]).unwrap_or_default(),
        step: text(&first["step"]).unwrap_or_default(),
        detail: text(&first["cause"]).filter(|_| with_details),
        stuck_at: text(&problem["stuck"]["step"]),
    }
}

fn step(name: &str, log: &[&StepRow], state: State, with_details: bool) -> OperationStep {
    let own: Vec<&&StepRow> = log.iter().filter(|row| row.step == name).collect();
    let started = own.iter().find(|row| row.event == "started").map(|row| row.at.to_string());
    let last = own.last();
    let word = match last.map(|row| row.event.as_str()) {
        None => "waiting",
        Some("started") => "running",
        Some("failed" | "resumed") if state == State::Running => "retrying",
        Some("failed") if state == State::Stuck && !own.iter().any(|row| row.event == "undo_started") => {
            if log.last().is_some_and(|row| row.step == name) {
                "stuck"
            } else {
                "failed"
            }
        }
        Some("failed") => "failed",
        Some("succeeded") => "done",
        Some("undone") => "undone",
        Some("skipped") => "skipped",
        Some("undo_failed") if state == State::Stuck => "stuck",
        Some("abandoned") => "failed",
        Some(_) => "undoing",
    };
    let at_end = matches!(word, "done" | "failed" | "undone" | "skipped");
    OperationStep {
        name: name.to_owned(),
        state: word,
        started_at: started,
        finished_at: last.filter(|_| at_end).map(|row| row.at.to_string()),
        detail: own.iter().rev().find_map(|row| row.problem.clone()).filter(|_| with_details),
    }
}

/// A reason has 1 to 500 characters.
pub fn check_reason(reason: &str) -> Result<(), Refusal> {
    match (1..=500).contains(&reason.trim().chars().count()) {
        true => Ok(()),
        false => Err(Refusal::new(&kind::INVALID, "Say why.").field(
            "/reason",
            "out_of_bounds",
            "1 to 500 characters",
        )),
    }
}

pub fn no_such_operation() -> Refusal {
    Refusal::new(&kind::NOT_FOUND, "There is no such operation.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_by_its_last_line() {
        let row = |event: &str| StepRow {
            saga: Uuid::nil(),
            step: "store".to_owned(),
            event: event.to_owned(),
            problem: Some("secret".to_owned()),
            at: jiff::Timestamp::UNIX_EPOCH,
        };
        for (events, state, word) in [
            (&[][..], State::Running, "waiting"),
            (&["started"], State::Running, "running"),
            (&["started", "failed"], State::Running, "retrying"),
            (&["started", "failed"], State::Unwinding, "failed"),
            (&["started", "failed"], State::Stuck, "stuck"),
            (&["started", "failed", "resumed"], State::Running, "retrying"),
            (&["started", "succeeded"], State::Running, "done"),
            (&["started", "succeeded", "undo_started"], State::Unwinding, "undoing"),
            (&["started", "undo_started", "undo_failed"], State::Stuck, "stuck"),
            (&["started", "undo_started", "undo_failed", "resumed"], State::Unwinding, "undoing"),
            (&["started", "undo_started", "undone"], State::Undone, "undone"),
        ] {
            let rows: Vec<StepRow> = events.iter().map(|event| row(event)).collect();
            let rows: Vec<&StepRow> = rows.iter().collect();
            let told = step("store", &rows, state, false);
            assert_eq!((told.state, told.detail), (word, None), "{events:?}");
        }
    }
}
