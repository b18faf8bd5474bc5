//! One try of one step: `started` on record, the action, its outcome on record; and what follows from a failure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::interval;

use super::engine::{Engine, Flow, Halt, LEASE_S};
use super::log::{Event, Log, Tries};
use super::{Action, Done, Kind, Run, Saga, State, Step, StepError, StepResult};
use crate::pool::StoreError;
use crate::transaction::Transaction;

/// A long action renews its lease this often.
const RENEW: Duration = Duration::from_secs(LEASE_S as u64 / 3);
/// Waits between tries; the last one repeats.
const WAITS_S: [i64; 4] = [1, 5, 25, 60];
/// A step in which so many executors ended is taken as failed: it may be what ends them.
const CUT_SHORT_MAX: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Forward,
    Back,
}

/// The three records of one try.
struct Events {
    start: Event,
    success: Event,
    failure: Event,
}

const FORWARD: Events = Events { start: Event::Started, success: Event::Succeeded, failure: Event::Failed };
const BACK: Events = Events { start: Event::UndoStarted, success: Event::Undone, failure: Event::UndoFailed };

/// A record to be written.
struct Entry {
    step: &'static str,
    attempt: i32,
    event: Event,
    output: Option<Value>,
    problem: Option<String>,
}

impl Entry {
    fn new(step: &'static str, attempt: i32, event: Event) -> Self {
        Entry { step, attempt, event, output: None, problem: None }
    }
    fn output(self, output: Value) -> Self {
        Entry { output: Some(output), ..self }
    }
    fn problem(self, problem: String) -> Self {
        Entry { problem: Some(problem), ..self }
    }
}

impl<C: Send + Sync> Engine<C> {
    /// One try of one step, in one direction.
    pub(super) async fn attempt(
        &self,
        saga: &mut Saga,
        kind: &Kind<C>,
        index: usize,
        log: &Log,
        direction: Direction,
    ) -> Result<Flow, Halt> {
        let step = &kind.steps[index];
        let way_back = kind.has_way_back(log) && !matches!(step.undo, Action::NoReturn);
        let (events, action) = match direction {
            Direction::Forward => (&FORWARD, &step.action),
            Direction::Back => (&BACK, &step.undo),
        };
        let attempt = log.next_attempt(step.name, events.start);
        let tries = log.tries(step.name, events.start, events.failure);
        if tries.cut_short >= CUT_SHORT_MAX {
            let failure =
                StepError::never("lifecycle.step_failed", "its executor ended in it again and again");
            let entry = Entry::new(step.name, attempt, events.failure).problem(failure.to_string());
            return self.failed(saga, entry, &failure, None, (direction, way_back)).await;
        }
        let transaction = self.hold(saga).await?;
        self.record(&transaction, saga, Entry::new(step.name, attempt, events.start)).await?;
        transaction.commit_telemetry().await?;

        let outputs = log.outputs();
        let run = Run {
            context: &self.context,
            saga,
            store: &self.store,
            executor: self.executor,
            step: step.name,
            outputs: &outputs,
        };
        match self.act(&run, step, action, Entry::new(step.name, attempt, events.success)).await {
            Ok(()) => Ok(Flow::On),
            Err(StepError::Lost) => Err(Halt::Lost),
            Err(failure) => {
                let wait = self.wait_after(&failure, tries, step.deadline);
                let entry = Entry::new(step.name, attempt, events.failure).problem(failure.to_string());
                self.failed(saga, entry, &failure, wait, (direction, way_back)).await
            }
        }
    }

    /// Acts, and records the success: within the action's own transaction, or after it.
    async fn act(
        &self,
        run: &Run<'_, C>,
        step: &Step<C>,
        action: &Action<C>,
        success: Entry,
    ) -> Result<(), StepError> {
        let too_slow = |_| StepError::Again(format!("it took longer than {} s", step.deadline.as_secs()));
        let (transaction, done) = match action {
            Action::Inside(act) => {
                let transaction = run.write().await?;
                let done =
                    tokio::time::timeout(step.deadline, act(run, &transaction)).await.map_err(too_slow)??;
                (transaction, done)
            }
            Action::Outside(act) => {
                let acting = self.while_renewing(run.saga, act(run));
                let done = tokio::time::timeout(step.deadline, acting).await.map_err(too_slow)??;
                (run.write().await?, done)
            }
            Action::Nothing => (run.write().await?, Done::plainly()),
            Action::NoReturn => {
                return Err(StepError::never("lifecycle.step_failed", "this step cannot be undone"));
            }
        };
        self.record(&transaction, run.saga, success.output(done.output)).await?;
        if done.changes.is_empty() {
            transaction.commit_telemetry().await?;
        } else {
            transaction.commit_all(done.changes).await?;
        }
        Ok(())
    }

    /// Acts, and renews the lease meanwhile. What cannot be renewed may be another's by now: it is let go of.
    async fn while_renewing(&self, saga: &Saga, act: impl Future<Output = StepResult>) -> StepResult {
        // Side by side: a renewal may have to wait for a transaction that `act` has open, and that only `act` ends.
        tokio::select! {
            result = act => result,
            lost = self.renew(saga) => Err(lost),
        }
    }

    /// Renews the lease until that fails.
    async fn renew(&self, saga: &Saga) -> StepError {
        let mut renewals = interval(RENEW);
        renewals.tick().await;
        loop {
            renewals.tick().await;
            let Ok(transaction) = self.hold(saga).await else { return StepError::Lost };
            if transaction.commit_telemetry().await.is_err() {
                return StepError::Lost;
            }
        }
    }

    /// When to try again; `None`: not any more.
    fn wait_after(&self, failure: &StepError, earlier: Tries, deadline: Duration) -> Option<Timestamp> {
        if matches!(failure, StepError::Never { .. }) {
            return None;
        }
        let now = self.store.clock().now();
        let since = earlier.since.unwrap_or(now);
        let again = now + SignedDuration::from_secs(WAITS_S[earlier.failed.min(WAITS_S.len() - 1)]);
        let deadline = SignedDuration::try_from(deadline).unwrap_or(SignedDuration::MAX);
        (again.duration_since(since) <= deadline).then_some(again)
    }

    async fn failed(
        &self,
        saga: &mut Saga,
        entry: Entry,
        failure: &StepError,
        again: Option<Timestamp>,
        (direction, way_back): (Direction, bool),
    ) -> Result<Flow, Halt> {
        let problem = problem(&entry, failure);
        let step = entry.step;
        let transaction = self.hold(saga).await?;
        self.record(&transaction, saga, entry).await?;
        tracing::warn!(saga = %saga.id, step, %failure, again = ?again, "a step of a saga failed");
        let flow = match (again, direction, way_back) {
            (Some(again), _, _) => {
                self.rest(&transaction, saga, again).await?;
                Flow::Rest
            }
            (None, Direction::Forward, true) => {
                self.turn(&transaction, saga, State::Unwinding, &problem).await?;
                saga.state = State::Unwinding;
                Flow::On
            }
            (None, Direction::Back, _) | (None, Direction::Forward, false) => {
                tracing::error!(saga = %saga.id, step, %failure, "a saga is stuck; a person must decide");
                self.turn(&transaction, saga, State::Stuck, &json!({ "stuck": problem })).await?;
                saga.state = State::Stuck;
                Flow::Rest
            }
        };
        transaction.commit_telemetry().await?;
        Ok(flow)
    }

    /// Puts the saga back until `again`.
    async fn rest(&self, transaction: &Transaction, saga: &Saga, again: Timestamp) -> Result<(), StoreError> {
        transaction
            .execute(
                "UPDATE lifecycle.sagas SET run_at = $2, executor = NULL, lease_until = NULL WHERE saga_id = $1",
                &[&saga.id, &again],
            )
            .await?;
        Ok(())
    }

    /// Goes over to `state`. Why the saga turned back stays beside why it is stuck.
    pub(super) async fn turn(
        &self,
        transaction: &Transaction,
        saga: &Saga,
        state: State,
        problem: &Value,
    ) -> Result<(), StoreError> {
        transaction
            .execute(
                "UPDATE lifecycle.sagas SET state = $2, problem = coalesce(problem, '{}') || $3 WHERE saga_id = $1",
                &[&saga.id, &state.as_str(), problem],
            )
            .await?;
        Ok(())
    }

    async fn record(&self, transaction: &Transaction, saga: &Saga, entry: Entry) -> Result<(), StoreError> {
        transaction
            .execute(
                "INSERT INTO lifecycle.saga_steps (saga_id, step, attempt, event, output, problem, generation, at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                &[
                    &saga.id,
                    &entry.step,
                    &entry.attempt,
                    &entry.event.as_str(),
                    &entry.output,
                    &entry.problem,
                    &saga.generation,
                    &self.store.clock().now(),
                ],
            )
            .await?;
        Ok(())
    }
}

fn problem(entry: &Entry, failure: &StepError) -> Value {
    let code = match failure {
        StepError::Never { code, .. } => code,
        _ => "lifecycle.step_failed",
    };
    json!({ "step": entry.step, "code": code, "cause": failure.to_string() })
}
