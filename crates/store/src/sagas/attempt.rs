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
use crate::wake::Topic;

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
pub(super) struct Events {
    pub start: Event,
    pub success: Event,
    pub failure: Event,
}

pub(super) const FORWARD: Events =
    Events { start: Event::Started, success: Event::Succeeded, failure: Event::Failed };
const BACK: Events = Events { start: Event::UndoStarted, success: Event::Undone, failure: Event::UndoFailed };

/// A record to be written.
pub(super) struct Entry {
    pub step: &'static str,
    pub attempt: i32,
    pub event: Event,
    pub output: Option<Value>,
    problem: Option<String>,
}

impl Entry {
    pub fn new(step: &'static str, attempt: i32, event: Event) -> Self {
        Entry { step, attempt, event, output: None, problem: None }
    }
    pub fn output(self, output: Value) -> Self {
        Entry { output: Some(output), ..self }
    }
    pub fn problem(self, problem: String) -> Self {
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
        let run = self.run_of(saga, step.name, &outputs);
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

    /// What follows from the failure of the first try of a step outside, whose beginning stands in `log`.
    pub(super) async fn try_failed(
        &self,
        saga: &mut Saga,
        kind: &Kind<C>,
        index: usize,
        log: &Log,
        failure: &StepError,
    ) -> Result<Flow, Halt> {
        let step = &kind.steps[index];
        let way_back = kind.has_way_back(log) && !matches!(step.undo, Action::NoReturn);
        let tries = Tries { cut_short: 0, ..log.tries(step.name, FORWARD.start, FORWARD.failure) };
        let wait = self.wait_after(failure, tries, step.deadline);
        let entry = Entry::new(step.name, 1, FORWARD.failure).problem(failure.to_string());
        self.failed(saga, entry, failure, wait, (Direction::Forward, way_back)).await
    }

    /// Acts outside, as long as the step may take.
    pub(super) async fn act_outside(
        &self,
        run: &Run<'_, C>,
        step: &Step<C>,
        action: &Action<C>,
    ) -> StepResult {
        let (Action::Outside(act) | Action::Within(act) | Action::WithinUnless { act, .. }) = action else {
            return Ok(Done::plainly());
        };
        let acting = self.while_renewing(run.saga, act(run));
        match tokio::time::timeout(step.deadline, acting).await {
            Ok(result) => result,
            Err(_) => Err(too_slow(step)),
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
        let (transaction, done) = match action {
            Action::Inside(act) => {
                let transaction = run.write().await?;
                let acting = tokio::time::timeout(step.deadline, act(run, &transaction));
                let done = acting.await.map_err(|_| too_slow(step))??;
                (transaction, done)
            }
            Action::Outside(_) | Action::Within(_) | Action::WithinUnless { .. } => {
                let done = self.act_outside(run, step, action).await?;
                (run.write().await?, done)
            }
            Action::Nothing => (run.write().await?, Done::plainly()),
            Action::NoReturn => {
                return Err(StepError::never("lifecycle.step_failed", "this step cannot be undone"));
            }
        };
        self.enter_all(&transaction, run.saga, step.name, &done).await?;
        self.record(&transaction, run.saga, success.output(done.output)).await?;
        if done.changes.is_empty() {
            transaction.commit_telemetry().await?;
        } else {
            transaction.commit_all(done.changes).await?;
        }
        Ok(())
    }

    /// What the inventory is to say of what was done.
    pub(super) async fn enter_all(
        &self,
        transaction: &Transaction,
        saga: &Saga,
        step: &str,
        done: &Done,
    ) -> Result<(), StoreError> {
        for (kind, external_id, state) in &done.inventory {
            super::run::enter(transaction, saga, step, (*kind, external_id, state)).await?;
        }
        Ok(())
    }

    /// Acts, and renews the lease meanwhile. What cannot be renewed may be another's by now: it is let go of.
    pub(super) async fn while_renewing(
        &self,
        saga: &Saga,
        act: impl Future<Output = StepResult>,
    ) -> StepResult {
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
    pub(super) fn wait_after(
        &self,
        failure: &StepError,
        earlier: Tries,
        deadline: Duration,
    ) -> Option<Timestamp> {
        if matches!(failure, StepError::Never { .. }) {
            return None;
        }
        let now = self.store.clock().now();
        let since = earlier.since.unwrap_or(now);
        let again = now + SignedDuration::from_secs(WAITS_S[earlier.failed.min(WAITS_S.len() - 1)]);
        let deadline = SignedDuration::try_from(deadline).unwrap_or(SignedDuration::MAX);
        (again.duration_since(since) <= deadline).then_some(again)
    }

    pub(super) async fn failed(
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
        transaction.touch(Topic::Operations);
        transaction
            .execute(
                "UPDATE lifecycle.sagas SET state = $2, problem = coalesce(problem, '{}') || $3 WHERE saga_id = $1",
                &[&saga.id, &state.as_str(), problem],
            )
            .await?;
        Ok(())
    }

    pub(super) async fn record(
        &self,
        transaction: &Transaction,
        saga: &Saga,
        entry: Entry,
    ) -> Result<(), StoreError> {
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

fn too_slow<C>(step: &Step<C>) -> StepError {
    StepError::Again(format!("it took longer than {} s", step.deadline.as_secs()))
}

fn problem(entry: &Entry, failure: &StepError) -> Value {
    let code = match failure {
        StepError::Never { code, .. } => code,
        _ => "lifecycle.step_failed",
    };
    json!({ "step": entry.step, "code": code, "cause": failure.to_string() })
}
