//! Going forward with few commits. What would be three transactions (a step succeeded, the next began, it succeeded) is one:
//! the record of a success, all steps inside the control database that follow it, and the `started` of the first step
//! after them that acts outside.
//!
//! What is promised stays: `started` of a step that acts outside is on record before it acts, and a step inside shares the
//! transaction of its records. Only a step's first try goes this way. If anything in a stride fails, its transaction never
//! was, and each step is tried alone (`attempt`), where its failure is recorded. So is every step after an executor that
//! ended without having written a word: it may have ended in the stride.

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::timeout;

use super::attempt::{Direction, Entry, FORWARD};
use super::engine::{Engine, Flow, Halt, Next, next};
use super::log::{Log, Record};
use super::{Action, Done, Kind, Run, Saga, State, StepError};
use crate::change::Change;
use crate::pool::StoreError;
use crate::transaction::Transaction;

/// Where this executor is in a saga.
pub(super) struct Course {
    /// All that is on record.
    pub log: Log,
    /// Why the saga is to turn back, if somebody wants that.
    pub cancelled: Option<Value>,
    /// Whether steps may share a transaction.
    together: bool,
    /// The step outside that was begun with the last stride and has not acted yet.
    begun: Option<usize>,
}

/// A step that has acted outside and is not on record yet.
struct Acted {
    index: usize,
    done: Done,
}

/// What one transaction brings onto the record.
#[derive(Default)]
struct Stride {
    changes: Vec<Change>,
    /// A step outside begins whose record must be on disk before it acts: it is not written in order with what the step makes.
    begins: bool,
    /// Something happened inside the control database, or a thing is about to be made.
    matters: bool,
}

/// Why there is no stride.
enum Misstep {
    Halt(Halt),
    /// A step failed: it is to be tried alone.
    Failed,
}

impl<E: Into<Halt>> From<E> for Misstep {
    fn from(error: E) -> Self {
        Misstep::Halt(error.into())
    }
}

impl Course {
    /// Of an executor that has just claimed `saga`.
    pub fn of(saga: &Saga, log: Log, cancelled: Option<Value>) -> Self {
        let together = saga.generation <= log.generation() + 1;
        Course { log, cancelled, together, begun: None }
    }
}

impl<C: Send + Sync> Engine<C> {
    /// Takes the saga on from `index`, where it goes forward.
    pub(super) async fn forward(
        &self,
        saga: &mut Saga,
        kind: &Kind<C>,
        index: usize,
        course: &mut Course,
    ) -> Result<Flow, Halt> {
        let step = &kind.steps[index];
        let is_begun = course.begun.take() == Some(index);
        if !is_begun && (!course.together || course.log.began(step.name)) {
            return self.alone(saga, kind, index, course).await;
        }
        if !is_begun {
            return self.stride(saga, kind, course, None).await;
        }
        let outputs = course.log.outputs();
        let run = self.run_of(saga, step.name, &outputs);
        match self.act_outside(&run, step, &step.action).await {
            Ok(done) => self.stride(saga, kind, course, Some(Acted { index, done })).await,
            Err(StepError::Lost) => Err(Halt::Lost),
            Err(failure) => {
                let flow = self.try_failed(saga, kind, index, &course.log, &failure).await?;
                self.look_again(saga, course).await?;
                Ok(flow)
            }
        }
    }

    async fn alone(
        &self,
        saga: &mut Saga,
        kind: &Kind<C>,
        index: usize,
        course: &mut Course,
    ) -> Result<Flow, Halt> {
        let flow = self.attempt(saga, kind, index, &course.log, Direction::Forward).await?;
        self.look_again(saga, course).await?;
        Ok(flow)
    }

    /// Reads what is on record by now.
    pub(super) async fn look_again(&self, saga: &Saga, course: &mut Course) -> Result<(), Halt> {
        (course.log, course.cancelled) = self.read_log(saga).await?;
        Ok(())
    }

    /// One stride: the success of `acted`, all steps inside that follow, and the beginning of what comes then.
    async fn stride(
        &self,
        saga: &mut Saga,
        kind: &Kind<C>,
        course: &mut Course,
        acted: Option<Acted>,
    ) -> Result<Flow, Halt> {
        match self.try_stride(saga, kind, course, acted.as_ref()).await {
            Ok(flow) => Ok(flow),
            Err(Misstep::Halt(halt)) => Err(halt),
            Err(Misstep::Failed) => {
                course.together = false;
                if let Some(acted) = acted {
                    self.record_alone(saga, kind, course, acted).await?;
                }
                Ok(Flow::On)
            }
        }
    }

    async fn try_stride(
        &self,
        saga: &mut Saga,
        kind: &Kind<C>,
        course: &mut Course,
        acted: Option<&Acted>,
    ) -> Result<Flow, Misstep> {
        let (transaction, cancelled) = self.hold_seeing(saga).await?;
        let (mut log, mut stride) = (course.log.clone(), Stride::default());
        if let Some(Acted { index, done }) = acted {
            let name = kind.steps[*index].name;
            self.succeed(&transaction, saga, &mut log, name, done).await?;
        }
        let (mut begun, mut flow) = (None, Flow::On);
        let mut is_ordered = false;
        loop {
            if cancelled.is_some() && kind.may_be_cancelled(&log) {
                break;
            }
            let index = match next(kind, State::Running, &log) {
                Next::Do(index) if log.began(kind.steps[index].name) => break,
                Next::Do(index) => index,
                Next::End(state) => {
                    self.finish(&transaction, saga, kind, state, &log).await?;
                    flow = Flow::Rest;
                    break;
                }
                Next::Undo(_) => break,
            };
            let step = &kind.steps[index];
            self.note(saga, &mut log, Entry::new(step.name, 1, FORWARD.start));
            match &step.action {
                Action::Outside(_) | Action::Within(_) => {
                    stride.begins = matches!(step.action, Action::Outside(_)) && !is_ordered;
                    begun = Some(index);
                    break;
                }
                Action::WithinUnless { look, .. } => {
                    let outputs = log.outputs();
                    let run = self.run_of(saga, step.name, &outputs);
                    let found = timeout(step.deadline, look(&run, &transaction)).await;
                    let Ok(Ok(found)) = found else { return Err(Misstep::Failed) };
                    let Some(done) = found else {
                        begun = Some(index);
                        break;
                    };
                    self.succeed(&transaction, saga, &mut log, step.name, &done).await?;
                }
                Action::NoReturn => return Err(Misstep::Failed),
                Action::Nothing => {
                    self.succeed(&transaction, saga, &mut log, step.name, &Done::plainly()).await?;
                }
                Action::Inside(act) => {
                    let outputs = log.outputs();
                    let run = self.run_of(saga, step.name, &outputs);
                    let done = timeout(step.deadline, act(&run, &transaction)).await;
                    let Ok(Ok(mut done)) = done else { return Err(Misstep::Failed) };
                    self.succeed(&transaction, saga, &mut log, step.name, &done).await?;
                    stride.matters |= !done.repeatable;
                    is_ordered = done.precedes_next;
                    stride.changes.append(&mut done.changes);
                }
            }
        }
        self.write(&transaction, saga, &log.0[course.log.0.len()..]).await?;
        stride.end(transaction).await?;
        if let Flow::Rest = flow {
            self.store.announce();
        }
        (course.log, course.cancelled, course.begun) = (log, cancelled, begun);
        Ok(flow)
    }

    /// The success of a step, and nothing else.
    async fn record_alone(
        &self,
        saga: &Saga,
        kind: &Kind<C>,
        course: &mut Course,
        Acted { index, done }: Acted,
    ) -> Result<(), Halt> {
        let (transaction, cancelled) = self.hold_seeing(saga).await?;
        let known = course.log.0.len();
        self.succeed(&transaction, saga, &mut course.log, kind.steps[index].name, &done).await?;
        self.write(&transaction, saga, &course.log.0[known..]).await?;
        transaction.commit_telemetry().await?;
        course.cancelled = cancelled;
        Ok(())
    }

    async fn succeed(
        &self,
        transaction: &Transaction,
        saga: &Saga,
        log: &mut Log,
        step: &'static str,
        done: &Done,
    ) -> Result<(), Halt> {
        self.enter_all(transaction, saga, step, done).await?;
        let attempt = log.next_attempt(step, FORWARD.success);
        let entry = Entry::new(step, attempt, FORWARD.success).output(done.output.clone());
        self.note(saga, log, entry);
        Ok(())
    }

    /// In what this executor knows of the saga; [`Engine::write`] brings it on record.
    fn note(&self, saga: &Saga, log: &mut Log, entry: Entry) {
        log.0.push(Record {
            step: entry.step.to_owned(),
            attempt: entry.attempt,
            event: entry.event,
            output: entry.output.clone(),
            generation: saga.generation,
            at: self.store.clock().now(),
        });
    }

    /// Brings records on record, in their order and in one go.
    async fn write(
        &self,
        transaction: &Transaction,
        saga: &Saga,
        records: &[Record],
    ) -> Result<(), StoreError> {
        let steps: Vec<&str> = records.iter().map(|record| record.step.as_str()).collect();
        let attempts: Vec<i32> = records.iter().map(|record| record.attempt).collect();
        let events: Vec<&str> = records.iter().map(|record| record.event.as_str()).collect();
        let outputs: Vec<Option<&Value>> = records.iter().map(|record| record.output.as_ref()).collect();
        let times: Vec<Timestamp> = records.iter().map(|record| record.at).collect();
        transaction
            .execute(
                "INSERT INTO lifecycle.saga_steps (saga_id, step, attempt, event, output, generation, at) \
                 SELECT $1, n.step, n.attempt, n.event, n.output, $2, n.at \
                   FROM unnest($3::text[], $4::int[], $5::text[], $6::jsonb[], $7::timestamptz[]) WITH ORDINALITY \
                     AS n (step, attempt, event, output, at, place) ORDER BY n.place",
                &[&saga.id, &saga.generation, &steps, &attempts, &events, &outputs, &times],
            )
            .await?;
        Ok(())
    }

    /// What an action gets to work with.
    pub(super) fn run_of<'a>(
        &'a self,
        saga: &'a Saga,
        step: &'static str,
        outputs: &'a std::collections::BTreeMap<String, Value>,
    ) -> Run<'a, C> {
        Run { context: &self.context, saga, store: &self.store, executor: self.executor, step, outputs }
    }
}

impl Stride {
    /// Only a record that nothing was done by, and what may be done again, are left to the disk's own time.
    async fn end(self, transaction: Transaction) -> Result<(), Halt> {
        Ok(transaction.commit_steps(&self.changes, self.begins || self.matters).await?)
    }
}
