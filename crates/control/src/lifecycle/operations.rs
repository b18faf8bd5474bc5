//! Operations: sagas as clients follow them.

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{OPERATOR_TENANT, OperationId, RequestId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::tenancy::Status;
use rowhouse_store::sagas::{self, OrderError, Reason, State};
use rowhouse_store::{Change, Notice, StoreError, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::provision;
use super::queries::{self, SagaRow, StepRow};
use crate::tenancy;

/// Where an operation stands, as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
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
    fn of(state: State) -> Self {
        match state {
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

fn step_names(kind: &str) -> &'static [&'static str] {
    if kind == provision::KIND { &provision::STEPS } else { &[] }
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
        finished_at: saga.finished_at.map(|at| at.to_string()),
    }
}

fn told_problem(problem: &Value, with_details: bool) -> OperationProblem {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    OperationProblem {
        code: text(&problem["code"]).unwrap_or_default(),
        step: text(&problem["step"]).unwrap_or_default(),
        detail: text(&problem["cause"]).filter(|_| with_details),
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
        Some("failed") if state == State::Running => "retrying",
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

/// What a person decides about an operation that is stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The failed undo is tried again.
    Resume,
    /// It was done by hand.
    Skip,
    /// Nothing more is undone.
    Abandon,
}

impl Decision {
    fn event(self) -> &'static str {
        match self {
            Decision::Resume => "lifecycle.operation_resumed",
            Decision::Skip => "lifecycle.operation_skipped",
            Decision::Abandon => "lifecycle.operation_abandoned",
        }
    }
}

/// Carries a decision out in `transaction`, which is to be committed with the change that comes back.
///
/// # Errors
/// 404, 409 if the operation is not stuck (there), 422 without a reason.
pub async fn decide(
    transaction: &Transaction,
    permit: &Permit,
    id: OperationId,
    (decision, step, reason): (Decision, Option<&str>, &str),
    request_id: RequestId,
) -> Result<(Operation, Change), Refusal> {
    check_reason(reason)?;
    let by = permit.principal().to_string();
    let reason = Reason { words: reason, by: &by };
    let decided = match decision {
        Decision::Resume => sagas::resume(transaction, id.0, step, reason).await,
        Decision::Skip => sagas::skip(transaction, id.0, step, reason).await,
        Decision::Abandon => sagas::abandon(transaction, id.0, step, reason).await,
    };
    let step = decided.map_err(order_refusal)?;
    let saga = queries::get(transaction, id).await?.ok_or_else(no_such_operation)?;
    if decision == Decision::Abandon {
        give_tenant_up(transaction, &saga).await?;
    }
    let mut change =
        Change::new(saga.tenant.unwrap_or(OPERATOR_TENANT), decision.event(), "update", permit.principal())
            .on("operation", id)
            .details(json!({ "step": step, "reason": reason.words }))
            .request(request_id);
    if let Some(tenant) = saga.tenant {
        change = change.notify(Notice::tenant(tenant));
    }
    let shown = views(transaction, vec![saga], true).await?.remove(0);
    Ok((shown, change))
}

/// A tenant whose provisioning was given up has failed.
async fn give_tenant_up(transaction: &Transaction, saga: &SagaRow) -> Result<(), StoreError> {
    let Some(tenant) = saga.tenant else { return Ok(()) };
    match tenancy::lock(transaction, tenant).await? {
        Some(record) if record.tenant.status == Status::Provisioning => {
            tenancy::set_status(transaction, tenant, Status::Failed, None).await
        }
        _ => Ok(()),
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

fn order_refusal(error: OrderError) -> Refusal {
    match error {
        OrderError::Unknown => no_such_operation(),
        OrderError::Store(error) => error.into(),
        other => Refusal::new(&kind::WRONG_STATUS, format!("{other}.")).next("Read the operation again."),
    }
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
