//! What others ask of sagas: to start one, and what a person decides about one that is stuck.

use rowhouse_domain::id::{OperationId, TenantId};
use serde_json::{Value, json};
use uuid::Uuid;

use super::State;
use super::log::{Event, Log};
use crate::pool::StoreError;
use crate::transaction::Transaction;
use crate::wake::Topic;

/// How often a start is tried anew because what stood in its way has just ended.
const TRIES_MAX: usize = 5;

/// A saga to be started.
#[derive(Debug, Clone)]
pub struct Start {
    /// A fresh UUIDv7.
    pub id: Uuid,
    /// The kind's name.
    pub kind: &'static str,
    /// The kind's version.
    pub kind_version: i32,
    /// Whose, if it changes one tenant.
    pub tenant: Option<TenantId>,
    /// For the steps.
    pub params: Value,
    /// Who asks for it.
    pub created_by: String,
}

/// Why a saga was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another one of the tenant is not over.
    #[error("{other} of this tenant is not over")]
    Busy {
        /// The other.
        other: OperationId,
    },
    /// The control database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Starts a saga in the transaction of what asks for it. A worker takes it when that has committed.
///
/// # Errors
/// If another saga of the tenant is not over; the transaction is still good then.
pub async fn start(transaction: &Transaction, start: &Start) -> Result<(), StartError> {
    let now = transaction.store().clock().now();
    let tenant = start.tenant.map(|tenant| tenant.0);
    for _ in 0..TRIES_MAX {
        let started = transaction
        .execute(
            "INSERT INTO lifecycle.sagas (saga_id, kind, kind_version, tenant_id, params, state, run_at, created_by, created_at) \
             VALUES ($1, $2, $3, $4, $5, 'running', $6, $7, $6) \
             ON CONFLICT (tenant_id) WHERE state IN ('running', 'unwinding', 'stuck') DO NOTHING",
            &[&start.id, &start.kind, &start.kind_version, &tenant, &start.params, &now, &start.created_by],
        )
        .await?;
        if started == 1 {
            transaction.touch(Topic::Sagas);
            return Ok(());
        }
        let other = transaction
        .query_opt(
            "SELECT saga_id FROM lifecycle.sagas WHERE tenant_id = $1 AND state IN ('running', 'unwinding', 'stuck')",
            &[&tenant],
        )
        .await?;
        // It may have ended between the two statements: then there is room now.
        if let Some(other) = other {
            return Err(StartError::Busy { other: OperationId(other.get(0)) });
        }
    }
    Err(StoreError::Stored { what: "the sagas of a tenant: they begin and end faster than they are read" }
        .into())
}

/// Why a person decides as they do, and who it is. Goes on record.
#[derive(Debug, Clone, Copy)]
pub struct Reason<'a> {
    /// In words, not empty.
    pub words: &'a str,
    /// Who decides.
    pub by: &'a str,
}

/// Why a decision was not taken.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// There is no such saga, or it is not the caller's.
    #[error("there is no such operation")]
    Unknown,
    /// Only a stuck saga waits for a decision.
    #[error("the operation is {}, not stuck", .0.as_str())]
    NotStuck(State),
    /// What is over, goes back already or waits for a decision is not cancelled.
    #[error("the operation is {}; it cannot be cancelled", .0.as_str())]
    TooLate(State),
    /// It is stuck at another step than the one that was named.
    #[error("the operation is stuck at step `{0}`")]
    OtherStep(String),
    /// The control database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Tries what failed again, with a fresh deadline. Answers the step.
///
/// # Errors
/// If it is not stuck, or (when `step` is given) stuck elsewhere.
pub async fn resume(
    transaction: &Transaction,
    saga: Uuid,
    step: Option<&str>,
    reason: Reason<'_>,
) -> Result<String, OrderError> {
    decide(transaction, saga, step, reason, Event::Resumed).await
}

/// Takes what failed as done by hand, and goes on behind it: backwards if it was an undo. Answers the step.
///
/// # Errors
/// As [`resume`].
pub async fn skip(
    transaction: &Transaction,
    saga: Uuid,
    step: Option<&str>,
    reason: Reason<'_>,
) -> Result<String, OrderError> {
    decide(transaction, saga, step, reason, Event::Skipped).await
}

/// Gives the saga up: nothing more is undone, the inventory keeps what is left. Answers the step.
///
/// # Errors
/// As [`resume`].
pub async fn abandon(
    transaction: &Transaction,
    saga: Uuid,
    step: Option<&str>,
    reason: Reason<'_>,
) -> Result<String, OrderError> {
    decide(transaction, saga, step, reason, Event::Abandoned).await
}

async fn decide(
    transaction: &Transaction,
    saga: Uuid,
    step: Option<&str>,
    reason: Reason<'_>,
    event: Event,
) -> Result<String, OrderError> {
    let row = transaction
        .query_opt("SELECT state, generation FROM lifecycle.sagas WHERE saga_id = $1 FOR UPDATE", &[&saga])
        .await?
        .ok_or(OrderError::Unknown)?;
    let state = State::parse(row.get(0)).ok_or(StoreError::Stored { what: "the state of a saga" })?;
    if state != State::Stuck {
        return Err(OrderError::NotStuck(state));
    }
    let log = Log::read(transaction, saga).await?;
    let failed = log.0.iter().rev().find(|record| matches!(record.event, Event::Failed | Event::UndoFailed));
    let failed = failed.ok_or(StoreError::Stored { what: "the log of a stuck saga" })?;
    let next = match (event, failed.event) {
        (Event::Abandoned, _) => State::Abandoned,
        (_, Event::Failed) => State::Running,
        _ => State::Unwinding,
    };
    let failed = failed.step.clone();
    if step.is_some_and(|step| step != failed) {
        return Err(OrderError::OtherStep(failed));
    }
    let now = transaction.store().clock().now();
    let output = json!({ "reason": reason.words, "by": reason.by });
    transaction
        .execute(
            "INSERT INTO lifecycle.saga_steps (saga_id, step, attempt, event, output, generation, at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            &[
                &saga,
                &failed,
                &log.next_attempt(&failed, event),
                &event.as_str(),
                &output,
                &row.get::<_, i64>(1),
                &now,
            ],
        )
        .await?;
    let finished = (next == State::Abandoned).then_some(now);
    transaction
        .execute(
            "UPDATE lifecycle.sagas SET state = $2, run_at = $3, finished_at = $4, executor = NULL, lease_until = NULL, \
               stuck_told_at = NULL \
             WHERE saga_id = $1",
            &[&saga, &next.as_str(), &now, &finished],
        )
        .await?;
    transaction.touch(Topic::Sagas);
    transaction.touch(Topic::Operations);
    Ok(failed)
}

/// Takes a scheduled saga back, or asks a running one to turn back before its next step; whether that is still possible then
/// is for its kind to say. Answers the state it was in.
///
/// # Errors
/// If there is nothing to cancel (any more).
pub async fn cancel(transaction: &Transaction, saga: Uuid, reason: Reason<'_>) -> Result<State, OrderError> {
    let row = transaction
        .query_opt("SELECT state FROM lifecycle.sagas WHERE saga_id = $1 FOR UPDATE", &[&saga])
        .await?
        .ok_or(OrderError::Unknown)?;
    let state = State::parse(row.get(0)).ok_or(StoreError::Stored { what: "the state of a saga" })?;
    let sql = match state {
        State::Scheduled => {
            "UPDATE lifecycle.sagas SET state = 'undone', problem = $2, finished_at = $3 WHERE saga_id = $1"
        }
        State::Running => {
            "UPDATE lifecycle.sagas SET cancelled = coalesce(cancelled, $2), run_at = least(run_at, $3) WHERE saga_id = $1"
        }
        other => return Err(OrderError::TooLate(other)),
    };
    let problem = json!({ "code": "lifecycle.cancelled", "cause": reason.words, "by": reason.by });
    transaction.execute(sql, &[&saga, &problem, &transaction.store().clock().now()]).await?;
    transaction.touch(Topic::Sagas);
    transaction.touch(Topic::Operations);
    Ok(state)
}
