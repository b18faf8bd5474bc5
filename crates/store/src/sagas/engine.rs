//! The executor: claims a saga that is due, reads its log, does what comes next, writes what came of it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::TenantId;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use super::log::{Event, Log, Tries};
use super::run::hold;
use super::{Action, Done, Kind, Run, Saga, State, Step, StepError, StepResult};
use crate::pool::{Store, StoreError};
use crate::transaction::Transaction;

/// How long a claim lasts without being renewed, in seconds.
pub const LEASE_S: i64 = 30;
pub(super) const LEASE: SignedDuration = SignedDuration::from_secs(LEASE_S);
/// A long action renews its lease this often.
const RENEW: Duration = Duration::from_secs(LEASE_S as u64 / 3);
/// Waits between tries; the last one repeats.
const WAITS_S: [i64; 4] = [1, 5, 25, 60];
/// A step in which so many executors ended is taken as failed: it may be what ends them.
const CUT_SHORT_MAX: usize = 10;
/// How often due sagas are looked for when nothing in this process says that there is one.
const BACKSTOP: Duration = Duration::from_secs(1);

/// Executes sagas of the kinds it knows.
pub struct Engine<C> {
    store: Store,
    context: C,
    kinds: Vec<Kind<C>>,
    executor: Uuid,
}

/// Sagas are under way whose code this binary does not have: it must not start, or they would stand still unseen.
#[derive(Debug, thiserror::Error)]
#[error(
    "sagas of kind {kind} version {version} are under way, which this binary does not know; start the release that began them"
)]
pub struct UnknownKind {
    /// Name of the kind.
    pub kind: String,
    /// Its version.
    pub version: i32,
}

/// Why an executor lets go of a saga that is not over.
enum Halt {
    /// Another one holds it.
    Lost,
    Store(StoreError),
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Halt::Store(error)
    }
}

/// What comes next in a saga.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Do(usize),
    Undo(usize),
    End(State),
}

/// Whether the executor goes on at once.
enum Flow {
    On,
    /// The saga was put back, to be tried later, or it is over.
    Rest,
}

impl<C: Send + Sync> Engine<C> {
    /// An executor of `kinds`, with `context` for their steps.
    pub fn new(store: Store, context: C, kinds: Vec<Kind<C>>) -> Self {
        let executor = store.entropy().uuid_v7(store.clock().now_us());
        Engine { store, context, kinds, executor }
    }

    /// Whether every saga that is not over can be continued here.
    ///
    /// # Errors
    /// With the first that cannot.
    pub async fn check(&self) -> Result<Option<UnknownKind>, StoreError> {
        let transaction = self.store.read(&Permit::for_system(None, "saga kinds")).await?;
        let rows = transaction
            .query(
                "SELECT DISTINCT kind, kind_version FROM lifecycle.sagas \
                 WHERE state IN ('running', 'unwinding', 'stuck') ORDER BY kind, kind_version",
                &[],
            )
            .await?;
        transaction.finish().await?;
        let under_way = rows.iter().map(|row| UnknownKind { kind: row.get(0), version: row.get(1) });
        Ok(under_way.into_iter().find(|saga| self.kind(&saga.kind, saga.version).is_none()))
    }

    /// Executes what is due, until `shutdown`; then lets go, so that another executor need not wait for the lease.
    pub async fn run(&self, mut shutdown: watch::Receiver<bool>) {
        tokio::select! {
            () = self.work() => {}
            _ = shutdown.wait_for(|wanted| *wanted) => {}
        }
        if let Err(error) = self.let_go().await {
            tracing::warn!(%error, "sagas could not be let go of; they go on when their leases run out");
        }
    }

    async fn work(&self) {
        let mut committed = self.store.committed();
        let mut backstop = interval(BACKSTOP);
        backstop.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            match self.run_one().await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(%error, cause = ?std::error::Error::source(&error), "a saga could not be taken further");
                }
            }
            tokio::select! {
                _ = committed.changed() => {}
                _ = backstop.tick() => {}
            }
        }
    }

    /// Claims the saga that has been due longest and takes it as far as it goes now. Whether there was one.
    ///
    /// # Errors
    /// If the control database failed; the saga goes on when its lease has run out.
    pub async fn run_one(&self) -> Result<bool, StoreError> {
        let Some(mut saga) = self.claim().await? else { return Ok(false) };
        match self.drive(&mut saga).await {
            Ok(()) => Ok(true),
            Err(Halt::Lost) => {
                tracing::warn!(saga = %saga.id, generation = saga.generation, "another executor took this saga over");
                Ok(true)
            }
            Err(Halt::Store(error)) => Err(error),
        }
    }

    async fn claim(&self) -> Result<Option<Saga>, StoreError> {
        let transaction = self.store.write(&Permit::for_system(None, "saga executor")).await?;
        let now = self.store.clock().now();
        let names: Vec<&str> = self.kinds.iter().map(|kind| kind.name).collect();
        let versions: Vec<i32> = self.kinds.iter().map(|kind| kind.version).collect();
        let row = transaction
            .query_opt(
                "UPDATE lifecycle.sagas SET generation = generation + 1, executor = $1, lease_until = $2 \
                 WHERE saga_id = (SELECT saga_id FROM lifecycle.sagas \
                     WHERE state IN ('running', 'unwinding') AND run_at <= $3 \
                       AND (lease_until IS NULL OR lease_until < $3) \
                       AND (kind, kind_version) IN (SELECT * FROM unnest($4::text[], $5::int[])) \
                     ORDER BY run_at LIMIT 1 FOR UPDATE SKIP LOCKED) \
                 RETURNING saga_id, kind, kind_version, tenant_id, params, state, generation, created_by",
                &[&self.executor, &(now + LEASE), &now, &names, &versions],
            )
            .await?;
        let saga = row.as_ref().map(claimed).transpose()?;
        match saga {
            // Nothing changed, so nobody is to be woken.
            None => transaction.finish().await?,
            Some(_) => transaction.commit_telemetry().await?,
        }
        Ok(saga)
    }

    async fn let_go(&self) -> Result<(), StoreError> {
        let transaction = self.store.write(&Permit::for_system(None, "saga executor")).await?;
        transaction
            .execute(
                "UPDATE lifecycle.sagas SET executor = NULL, lease_until = NULL \
                 WHERE executor = $1 AND state IN ('running', 'unwinding')",
                &[&self.executor],
            )
            .await?;
        transaction.commit_telemetry().await
    }

    fn kind(&self, name: &str, version: i32) -> Option<&Kind<C>> {
        self.kinds.iter().find(|kind| kind.name == name && kind.version == version)
    }

    async fn drive(&self, saga: &mut Saga) -> Result<(), Halt> {
        let kind = self.kind(&saga.kind, saga.kind_version).expect("only known kinds are claimed");
        loop {
            let log = self.read_log(saga).await?;
            let flow = match next(kind, saga.state, &log) {
                Next::Do(index) => self.attempt(saga, &kind.steps[index], &log, Direction::Forward).await?,
                Next::Undo(index) => self.attempt(saga, &kind.steps[index], &log, Direction::Back).await?,
                Next::End(state) => self.end(saga, kind, state, &log).await?,
            };
            if let Flow::Rest = flow {
                return Ok(());
            }
        }
    }

    async fn read_log(&self, saga: &Saga) -> Result<Log, Halt> {
        let transaction = self.store.read(&Permit::for_system(saga.tenant, "log of a saga")).await?;
        let log = Log::read(&transaction, saga.id).await?;
        transaction.finish().await?;
        Ok(log)
    }

    /// One try of one step, in one direction.
    async fn attempt(
        &self,
        saga: &mut Saga,
        step: &Step<C>,
        log: &Log,
        direction: Direction,
    ) -> Result<Flow, Halt> {
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
            return self.failed(saga, entry, &failure, None, direction).await;
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
                self.failed(saga, entry, &failure, wait, direction).await
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
        tokio::pin!(act);
        let mut renewals = interval(RENEW);
        renewals.tick().await;
        loop {
            tokio::select! {
                result = &mut act => return result,
                _ = renewals.tick() => match self.hold(saga).await {
                    Ok(transaction) => transaction.commit_telemetry().await.map_err(|_| StepError::Lost)?,
                    Err(_) => return Err(StepError::Lost),
                },
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
        direction: Direction,
    ) -> Result<Flow, Halt> {
        let problem = problem(&entry, failure);
        let step = entry.step;
        let transaction = self.hold(saga).await?;
        self.record(&transaction, saga, entry).await?;
        tracing::warn!(saga = %saga.id, step, %failure, again = ?again, "a step of a saga failed");
        let flow = match (again, direction) {
            (Some(again), _) => {
                self.rest(&transaction, saga, again).await?;
                Flow::Rest
            }
            (None, Direction::Forward) => {
                self.turn(&transaction, saga, State::Unwinding, &problem).await?;
                saga.state = State::Unwinding;
                Flow::On
            }
            (None, Direction::Back) => {
                tracing::error!(saga = %saga.id, step, %failure, "a saga is stuck; a person must decide");
                self.turn(&transaction, saga, State::Stuck, &json!({ "stuck": problem })).await?;
                saga.state = State::Stuck;
                Flow::Rest
            }
        };
        transaction.commit_telemetry().await?;
        Ok(flow)
    }

    async fn end(&self, saga: &Saga, kind: &Kind<C>, state: State, log: &Log) -> Result<Flow, Halt> {
        let last = kind.steps.last().and_then(|step| log.output(step.name));
        let result = if state == State::Done { last } else { None };
        let transaction = self.hold(saga).await?;
        transaction
            .execute(
                "UPDATE lifecycle.sagas SET state = $2, result = $3, finished_at = $4, executor = NULL, lease_until = NULL \
                 WHERE saga_id = $1",
                &[&saga.id, &state.as_str(), &result, &self.store.clock().now()],
            )
            .await?;
        transaction.commit_telemetry().await?;
        Ok(Flow::Rest)
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
    async fn turn(
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

    /// A transaction in which the saga is ours until it ends.
    async fn hold(&self, saga: &Saga) -> Result<Transaction, Halt> {
        let transaction = self.store.write(&Permit::for_system(saga.tenant, "saga executor")).await?;
        if hold(&transaction, saga, self.executor).await? { Ok(transaction) } else { Err(Halt::Lost) }
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
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

impl Log {
    fn outputs(&self) -> BTreeMap<String, Value> {
        let succeeded = self.0.iter().filter(|record| record.event == Event::Succeeded);
        succeeded.map(|record| (record.step.clone(), record.output.clone().unwrap_or_default())).collect()
    }
}

/// Forward: the first step that has not succeeded. Back: the last that was begun and is not gone.
fn next<C>(kind: &Kind<C>, state: State, log: &Log) -> Next {
    match state {
        State::Running => match kind.steps.iter().position(|step| !log.succeeded(step.name)) {
            Some(index) => Next::Do(index),
            None => Next::End(State::Done),
        },
        _ => match kind.steps.iter().rposition(|step| log.began(step.name) && !log.is_gone(step.name)) {
            Some(index) => Next::Undo(index),
            None => Next::End(State::Undone),
        },
    }
}

fn problem(entry: &Entry, failure: &StepError) -> Value {
    let code = match failure {
        StepError::Never { code, .. } => code,
        _ => "lifecycle.step_failed",
    };
    json!({ "step": entry.step, "code": code, "cause": failure.to_string() })
}

fn claimed(row: &tokio_postgres::Row) -> Result<Saga, StoreError> {
    Ok(Saga {
        id: row.get(0),
        kind: row.get(1),
        kind_version: row.get(2),
        tenant: row.get::<_, Option<Uuid>>(3).map(TenantId),
        params: row.get(4),
        state: State::parse(row.get(5)).ok_or(StoreError::Stored { what: "the state of a saga" })?,
        generation: row.get(6),
        created_by: row.get(7),
    })
}
