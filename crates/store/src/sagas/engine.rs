//! The executor: claims a saga that is due, reads its log, does what comes next, writes what came of it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::TenantId;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use super::attempt::Direction;
use super::log::Log;
use super::run::hold;
use super::stride::Course;
use super::{Action, Kind, Saga, State};
use crate::pool::{Store, StoreError};
use crate::transaction::Transaction;
use crate::wake::Topic;

/// How long a claim lasts without being renewed, in seconds.
pub const LEASE_S: i64 = 30;
pub(super) const LEASE: SignedDuration = SignedDuration::from_secs(LEASE_S);
/// Most claims that are remembered as dropped; what is forgotten goes on when its lease has run out.
const DROPPED_MAX: usize = 1_000;
/// How often due sagas are looked for when nothing in this process says that there is one.
const BACKSTOP: Duration = Duration::from_secs(1);

/// Executes sagas of the kinds it knows.
pub struct Engine<C> {
    pub(super) store: Store,
    pub(super) context: C,
    kinds: Vec<Kind<C>>,
    pub(super) executor: Uuid,
    /// Of the machine; executors of one node follow each other, and two never work at once.
    node: Option<String>,
    /// Claims of this executor that nobody works on because the control database was away, those among them that may never have
    /// come on record: saga and generation.
    dropped: Mutex<Vec<(Uuid, i64)>>,
    /// Held by the one worker that looks for what is due; the others work, or wait for their turn to look.
    looking: tokio::sync::Mutex<()>,
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
pub(super) enum Halt {
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
pub(super) enum Next {
    Do(usize),
    Undo(usize),
    End(State),
}

/// Whether the executor goes on at once.
pub(super) enum Flow {
    On,
    /// The saga was put back, to be tried later, or it is over.
    Rest,
}

impl<C: Send + Sync> Engine<C> {
    /// An executor of `kinds`, with `context` for their steps.
    pub fn new(store: Store, context: C, kinds: Vec<Kind<C>>) -> Self {
        let executor = store.entropy().uuid_v7(store.clock().now_us());
        Engine {
            store,
            context,
            kinds,
            executor,
            node: None,
            dropped: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
        }
    }

    /// Says on which node it works: an executor that is started there later may take its sagas over at once.
    pub fn on_node(self, node: impl Into<String>) -> Self {
        Engine { node: Some(node.into()), ..self }
    }

    /// Takes the sagas from executors that worked on this node before: they have ended with their process, and nobody need
    /// wait for their leases. Should one still be there after all, its generation is over and it changes nothing more.
    /// How many there were.
    ///
    /// # Errors
    /// If the control database is away.
    pub async fn take_over(&self) -> Result<u64, StoreError> {
        let Some(node) = &self.node else { return Ok(0) };
        let transaction = self.store.write(&Permit::for_system(None, "saga executor")).await?;
        let taken = transaction
            .execute(
                "UPDATE lifecycle.sagas SET executor = NULL, lease_until = NULL, generation = generation + 1 \
                 WHERE node = $1 AND executor <> $2 AND state IN ('running', 'unwinding')",
                &[node, &self.executor],
            )
            .await?;
        transaction.commit_telemetry().await?;
        Ok(taken)
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

    /// Executes what is due, one saga after the other, until `shutdown`; then lets go, so that another executor need not wait for the lease.
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
        let mut breath = interval(BACKSTOP);
        breath.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let saga = self.wait_for_one().await;
            if let Err(error) = self.take_further(saga).await {
                complain(&error);
                // Not again and again without a pause.
                breath.tick().await;
            }
        }
    }

    /// Claims what is due next, however long that takes. What is committed wakes one worker and not all of them.
    async fn wait_for_one(&self) -> Saga {
        let _turn = self.looking.lock().await;
        let mut committed = self.store.touched(Topic::Sagas);
        let mut backstop = interval(BACKSTOP);
        backstop.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            match self.claim().await {
                Ok(Some(saga)) => return saga,
                Ok(None) => {}
                Err(error) => complain(&error),
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
    /// If the control database failed; the saga goes on here as soon as it answers again, elsewhere when its lease has run out.
    pub async fn run_one(&self) -> Result<bool, StoreError> {
        match self.claim().await? {
            Some(saga) => self.take_further(saga).await.map(|()| true),
            None => Ok(false),
        }
    }

    async fn take_further(&self, mut saga: Saga) -> Result<(), StoreError> {
        let driven = self.drive(&mut saga).await;
        if driven.is_err() {
            // Nobody works on it here any more. If it was lost to another, this generation of it is over and means nothing.
            self.drop_claim(&saga);
        }
        match driven {
            Ok(()) => Ok(()),
            Err(Halt::Lost) => {
                tracing::warn!(saga = %saga.id, generation = saga.generation, "another executor took this saga over");
                Ok(())
            }
            Err(Halt::Store(error)) => Err(error),
        }
    }

    async fn claim(&self) -> Result<Option<Saga>, StoreError> {
        let transaction = self.store.write(&Permit::for_system(None, "saga executor")).await?;
        let now = self.store.clock().now();
        let names: Vec<&str> = self.kinds.iter().map(|kind| kind.name).collect();
        let versions: Vec<i32> = self.kinds.iter().map(|kind| kind.version).collect();
        let dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (ids, generations): (Vec<Uuid>, Vec<i64>) = dropped.iter().copied().unzip();
        let row = transaction
            .query_opt(
                "UPDATE lifecycle.sagas SET generation = generation + 1, executor = $1, lease_until = $2, node = $6 \
                 WHERE saga_id = (SELECT saga_id FROM lifecycle.sagas \
                     WHERE state IN ('running', 'unwinding') AND run_at <= $3 \
                       AND (lease_until IS NULL OR lease_until < $3 \
                         OR executor = $1 AND (saga_id, generation) IN (SELECT * FROM unnest($7::uuid[], $8::bigint[]))) \
                       AND (kind, kind_version) IN (SELECT * FROM unnest($4::text[], $5::int[])) \
                     ORDER BY run_at LIMIT 1 FOR UPDATE SKIP LOCKED) \
                 RETURNING saga_id, kind, kind_version, tenant_id, params, state, generation, created_by",
                &[&self.executor, &(now + LEASE), &now, &names, &versions, &self.node, &ids, &generations],
            )
            .await?;
        let saga = row.as_ref().map(claimed).transpose()?;
        match &saga {
            // Nothing changed, so nobody is to be woken.
            None => transaction.finish().await?,
            // A claim that is lost is made again, and whatever follows it reaches the disk after it.
            Some(claimed) => {
                if let Err(error) = transaction.commit_log(false).await {
                    // It may be on record all the same, and nobody works on it.
                    self.drop_claim(claimed);
                    return Err(error);
                }
            }
        }
        if !dropped.is_empty() {
            // What was dropped and is not claimed now is so only while its row is locked; of a saga one claim counts.
            let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
            dropped.retain(|(id, _)| saga.as_ref().is_none_or(|saga| saga.id != *id));
            let surplus = dropped.len().saturating_sub(DROPPED_MAX);
            dropped.drain(..surplus);
        }
        Ok(saga)
    }

    fn drop_claim(&self, saga: &Saga) {
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner).push((saga.id, saga.generation));
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
        transaction.touch(Topic::Sagas);
        transaction.commit_telemetry().await
    }

    fn kind(&self, name: &str, version: i32) -> Option<&Kind<C>> {
        self.kinds.iter().find(|kind| kind.name == name && kind.version == version)
    }

    async fn drive(&self, saga: &mut Saga) -> Result<(), Halt> {
        let kind = self.kind(&saga.kind, saga.kind_version).expect("only known kinds are claimed");
        // Nobody has written anything of a saga that was never claimed before.
        let (log, cancelled) = match saga.generation {
            1 => (Log::default(), None),
            _ => self.read_log(saga).await?,
        };
        let mut course = Course::of(saga, log, cancelled);
        loop {
            if let Some(problem) = course
                .cancelled
                .as_ref()
                .filter(|_| saga.state == State::Running && kind.may_be_cancelled(&course.log))
            {
                self.turn_back(saga, problem).await?;
            }
            let flow = match next(kind, saga.state, &course.log) {
                Next::Do(index) => self.forward(saga, kind, index, &mut course).await?,
                Next::Undo(index) => {
                    let flow = self.attempt(saga, kind, index, &course.log, Direction::Back).await?;
                    self.look_again(saga, &mut course).await?;
                    flow
                }
                Next::End(state) => self.end(saga, kind, state, &course.log).await?,
            };
            if let Flow::Rest = flow {
                return Ok(());
            }
        }
    }

    /// The log, and why the saga is to turn back if somebody wants that.
    pub(super) async fn read_log(&self, saga: &Saga) -> Result<(Log, Option<Value>), Halt> {
        let transaction = self.store.read(&Permit::for_system(saga.tenant, "log of a saga")).await?;
        let log = Log::read(&transaction, saga.id).await?;
        let sql = "SELECT cancelled FROM lifecycle.sagas WHERE saga_id = $1";
        let cancelled = transaction.query_one(sql, &[&saga.id]).await?.get(0);
        transaction.finish().await?;
        Ok((log, cancelled))
    }

    async fn turn_back(&self, saga: &mut Saga, problem: &Value) -> Result<(), Halt> {
        let transaction = self.hold(saga).await?;
        self.turn(&transaction, saga, State::Unwinding, problem).await?;
        transaction.commit_telemetry().await?;
        saga.state = State::Unwinding;
        Ok(())
    }

    async fn end(&self, saga: &Saga, kind: &Kind<C>, state: State, log: &Log) -> Result<Flow, Halt> {
        let transaction = self.hold(saga).await?;
        self.finish(&transaction, saga, kind, state, log).await?;
        transaction.commit_telemetry().await?;
        Ok(Flow::Rest)
    }

    /// Says that the saga is over.
    pub(super) async fn finish(
        &self,
        transaction: &Transaction,
        saga: &Saga,
        kind: &Kind<C>,
        state: State,
        log: &Log,
    ) -> Result<(), Halt> {
        let last = kind.steps.last().and_then(|step| log.output(step.name));
        let result = if state == State::Done { last } else { None };
        transaction.touch(Topic::Operations);
        transaction
            .execute(
                "UPDATE lifecycle.sagas SET state = $2, result = $3, finished_at = $4, executor = NULL, lease_until = NULL \
                 WHERE saga_id = $1",
                &[&saga.id, &state.as_str(), &result, &self.store.clock().now()],
            )
            .await?;
        Ok(())
    }

    /// A transaction in which the saga is ours until it ends.
    pub(super) async fn hold(&self, saga: &Saga) -> Result<Transaction, Halt> {
        Ok(self.hold_seeing(saga).await?.0)
    }

    /// The same, and why the saga is to turn back if somebody wants that.
    pub(super) async fn hold_seeing(&self, saga: &Saga) -> Result<(Transaction, Option<Value>), Halt> {
        let transaction = self.store.write(&Permit::for_system(saga.tenant, "saga executor")).await?;
        match hold(&transaction, saga, self.executor).await? {
            Some(held) => Ok((transaction, held.cancelled)),
            None => Err(Halt::Lost),
        }
    }
}

fn complain(error: &StoreError) {
    tracing::error!(%error, cause = ?std::error::Error::source(error), "a saga could not be taken further");
}

/// Forward: the first step that has not succeeded and was not done by hand. Back: the last that was begun and is not gone.
pub(super) fn next<C>(kind: &Kind<C>, state: State, log: &Log) -> Next {
    match state {
        State::Running => {
            match kind.steps.iter().position(|step| !log.succeeded(step.name) && !log.is_skipped(step.name)) {
                Some(index) => Next::Do(index),
                None => Next::End(State::Done),
            }
        }
        _ => {
            // What was entered together with the saga is given up by the undo of its first step: also if it was cancelled
            // before that began.
            let entered = |index: usize| index == 0 && matches!(kind.steps[0].undo, Action::Inside(_));
            let mut made = kind.steps.iter().enumerate().rev();
            let last = made
                .find(|(index, step)| (log.began(step.name) || entered(*index)) && !log.is_gone(step.name));
            last.map_or(Next::End(State::Undone), |(index, _)| Next::Undo(index))
        }
    }
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
