//! One lane of the journal as one projection reads it.

use rowhouse_journal::{Batch, Frame, Gap, GapCause, Journal, Kind, Tail, TailError};
use rowhouse_store::{StoreError, Transaction};

use super::failure::{Verdict, describe, judge};
use super::{Projector, queries};
use crate::Control;

/// Frames in one transaction.
const FRAMES_MAX: usize = 4096;
/// Bytes of payload in one transaction; one frame may go beyond.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Where frames come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    /// The node whose journal it is.
    pub node: String,
    /// The lane.
    pub lane: String,
}

/// A frame that a projector could not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unprojectable {
    /// Which frame.
    pub sequence: u64,
    /// Why, for a person.
    pub problem: String,
}

/// How one step on a lane went.
pub(super) enum Step {
    /// There was something; there may be more.
    Moved,
    /// Nothing new, or nothing that can be read: other lanes go on.
    Idle,
    /// The database does not answer.
    Away(String),
}

/// Why a batch was not applied.
enum Failure {
    /// Another worker moved the position.
    Overtaken,
    Database(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::Database(error)
    }
}

/// A lane and how far it was read.
pub(super) struct LaneWork {
    source: Source,
    /// Next sequence to read, as it stands in the database; 0: none was ever read. `None`: to be asked for.
    position: Option<u64>,
    tail: Option<Tail>,
    /// Frames in the next batch. Shrinks to find the frame that the database refuses.
    frames_max: usize,
    /// Reading failed the last time.
    is_unreadable: bool,
    /// What it takes to be complete to an instant.
    goal: Option<Goal>,
}

/// Once the position has reached `next_sequence`, everything is taken that was appended by `at_us`.
#[derive(Debug, Clone, Copy)]
struct Goal {
    at_us: i64,
    next_sequence: u64,
}

impl LaneWork {
    pub(super) fn new(node: &str, lane: &str) -> Self {
        let source = Source { node: node.to_owned(), lane: lane.to_owned() };
        LaneWork {
            source,
            position: None,
            tail: None,
            frames_max: FRAMES_MAX,
            is_unreadable: false,
            goal: None,
        }
    }

    /// Reads one batch and applies it.
    pub(super) async fn advance<P: Projector>(
        &mut self,
        control: &Control,
        journal: &Journal,
        projector: &mut P,
    ) -> Step {
        let position = match self.known_position(control, projector).await {
            Ok(position) => position,
            Err(error) => return Step::Away(describe(&error)),
        };
        control.projections.moved(projector.name(), &self.source.lane, position, journal);
        self.note_completeness(control, journal, projector.name(), position);
        let tail = self.tail.get_or_insert_with(|| journal.reader().tail(&self.source.lane, position));
        let batch = match tail.next_batch(self.frames_max, BYTES_MAX) {
            Ok(batch) => batch,
            Err(error) => return self.unreadable(projector.name(), &error),
        };
        self.is_unreadable = false;
        if batch.is_empty() && batch.gap.is_none() {
            return Step::Idle;
        }
        match self.apply(control, projector, position, &batch).await {
            Ok(()) => {
                self.applied(projector, &batch);
                let (name, lane) = (projector.name(), &self.source.lane);
                control.projections.moved(name, lane, batch.next_sequence, journal);
                Step::Moved
            }
            Err(failure) => self.failed(control, projector, position, &batch, failure).await,
        }
    }

    /// What is read is durable, and what was appended becomes durable a little later. So the end of the lane is noted
    /// with the time, and the lane is complete to that time when its position has come there.
    fn note_completeness(
        &mut self,
        control: &Control,
        journal: &Journal,
        projection: &'static str,
        position: u64,
    ) {
        let goal = self.goal.unwrap_or_else(|| {
            let at_us = control.clock().now_us();
            Goal { at_us, next_sequence: end_of(journal, &self.source.lane) }
        });
        let is_reached = position.max(1) >= goal.next_sequence;
        if is_reached {
            control.projections.complete_to(projection, &self.source.lane, goal.at_us);
        }
        self.goal = Some(goal).filter(|_| !is_reached);
    }

    /// Says so once; the lane is tried again with every turn.
    fn unreadable(&mut self, projection: &str, error: &TailError) -> Step {
        self.tail = None;
        if !std::mem::replace(&mut self.is_unreadable, true) {
            let Source { node, lane } = &self.source;
            tracing::error!(projection, node, lane, %error, "a lane of the journal cannot be read; trying until it can");
        }
        Step::Idle
    }

    async fn known_position<P: Projector>(
        &mut self,
        control: &Control,
        projector: &P,
    ) -> Result<u64, StoreError> {
        if let Some(position) = self.position {
            return Ok(position);
        }
        self.tail = None;
        let transaction = projector.begin(&control.store).await?;
        let (node, lane) = (&self.source.node, &self.source.lane);
        let row = transaction.query_opt(queries::POSITION, &[&projector.name(), node, lane]).await?;
        transaction.finish().await?;
        let position = row.map_or(0, |row| row.get::<_, i64>(0));
        let position =
            u64::try_from(position).map_err(|_| StoreError::Stored { what: "a position in the journal" })?;
        self.position = Some(position);
        Ok(position)
    }

    async fn apply<P: Projector>(
        &self,
        control: &Control,
        projector: &mut P,
        position: u64,
        batch: &Batch,
    ) -> Result<(), Failure> {
        let transaction = projector.begin(&control.store).await?;
        self.move_position(&transaction, projector.name(), position, batch.next_sequence).await?;
        let problems = projector.project(&transaction, &self.source, batch).await?;
        if let Some(gap) = &batch.gap {
            self.quarantine_gap(&transaction, projector.name(), gap).await?;
        }
        for problem in &problems {
            let frame = batch.frames().find(|frame| frame.sequence == problem.sequence);
            let frame = frame.expect("a projector names frames of its batch");
            self.quarantine(&transaction, projector.name(), frame, &problem.problem).await?;
        }
        Ok(transaction.commit_telemetry().await?)
    }

    /// First in the transaction: whoever comes second waits here for the first one's end.
    async fn move_position(
        &self,
        transaction: &Transaction,
        projection: &str,
        from: u64,
        to: u64,
    ) -> Result<(), Failure> {
        let Source { node, lane } = &self.source;
        let to = database_sequence(to);
        let moved = match from {
            0 => transaction.execute(queries::BEGIN_POSITION, &[&projection, node, lane, &to]).await?,
            from => {
                let from = database_sequence(from);
                transaction.execute(queries::MOVE_POSITION, &[&projection, node, lane, &to, &from]).await?
            }
        };
        if moved == 1 { Ok(()) } else { Err(Failure::Overtaken) }
    }

    fn applied<P: Projector>(&mut self, projector: &mut P, batch: &Batch) {
        projector.committed();
        self.position = Some(batch.next_sequence);
        self.frames_max = (self.frames_max * 2).min(FRAMES_MAX);
    }

    /// Applies a batch that another node sent. What of it was applied before is passed over. Where it stands then, which is
    /// before the batch if frames are missing in between.
    ///
    /// # Errors
    /// Why the database does not take it now; the same batch will do later.
    pub(super) async fn take<P: Projector>(
        &mut self,
        control: &Control,
        projector: &mut P,
        (from, batch): (u64, &Batch),
    ) -> Result<u64, String> {
        loop {
            let position = self.known_position(control, projector).await.map_err(|error| describe(&error))?;
            if position >= batch.next_sequence || position < from {
                return Ok(position);
            }
            let part = batch.part(position, self.frames_max);
            match self.apply(control, projector, position, &part).await {
                Ok(()) => self.applied(projector, &part),
                Err(failure) => {
                    if let Step::Away(why) = self.failed(control, projector, position, &part, failure).await {
                        return Err(why);
                    }
                }
            }
        }
    }

    async fn failed<P: Projector>(
        &mut self,
        control: &Control,
        projector: &mut P,
        position: u64,
        batch: &Batch,
        failure: Failure,
    ) -> Step {
        self.tail = None;
        let error = match failure {
            Failure::Overtaken => {
                self.position = None;
                return Step::Moved;
            }
            Failure::Database(error) => error,
        };
        if judge(&error) == Verdict::Wait {
            // Whether a lost COMMIT was carried out, only the database knows.
            self.position = None;
            return Step::Away(describe(&error));
        }
        if batch.len() > 1 {
            self.frames_max = batch.len() / 2;
            return Step::Moved;
        }
        match self.give_up(control, projector, position, batch, &error).await {
            Ok(()) | Err(Failure::Overtaken) => {
                self.position = None;
                Step::Moved
            }
            Err(Failure::Database(error)) => {
                self.position = None;
                Step::Away(describe(&error))
            }
        }
    }

    /// Passes over the one frame of `batch`, which the database refuses.
    async fn give_up<P: Projector>(
        &self,
        control: &Control,
        projector: &mut P,
        position: u64,
        batch: &Batch,
        error: &StoreError,
    ) -> Result<(), Failure> {
        let transaction = projector.begin(&control.store).await?;
        self.move_position(&transaction, projector.name(), position, batch.next_sequence).await?;
        if let Some(gap) = &batch.gap {
            self.quarantine_gap(&transaction, projector.name(), gap).await?;
        }
        for frame in batch.frames() {
            self.quarantine(&transaction, projector.name(), frame, &describe(error)).await?;
        }
        Ok(transaction.commit_telemetry().await?)
    }

    async fn quarantine(
        &self,
        transaction: &Transaction,
        projection: &str,
        frame: Frame<'_>,
        problem: &str,
    ) -> Result<(), StoreError> {
        let Source { node, lane } = &self.source;
        let sequence = frame.sequence;
        tracing::error!(projection, node, lane, sequence, problem, "a record was put into quarantine");
        let now = transaction.store().clock().now();
        let sequence = database_sequence(sequence);
        let kind = kind_number(frame.kind);
        transaction
            .execute(
                queries::QUARANTINE,
                &[&projection, node, lane, &sequence, &kind, &frame.payload, &problem, &now],
            )
            .await?;
        Ok(())
    }

    /// Missing frames are kept like a frame that cannot be read: one row at the first of them.
    async fn quarantine_gap(
        &self,
        transaction: &Transaction,
        projection: &str,
        gap: &Gap,
    ) -> Result<(), StoreError> {
        let Source { node, lane } = &self.source;
        let cause = match gap.cause {
            GapCause::Removed => "removed",
            GapCause::Damaged => "damaged",
        };
        let (first, end) = (gap.missing.start, gap.missing.end);
        let problem = format!("the journal lacks the frames {first} to {}: {cause}", end.saturating_sub(1));
        tracing::error!(projection, node, lane, first, end, cause, "frames of the journal are missing");
        let now = transaction.store().clock().now();
        let (first, kind, payload) = (database_sequence(first), 0i16, &[][..] as &[u8]);
        transaction
            .execute(queries::QUARANTINE, &[&projection, node, lane, &first, &kind, &payload, &problem, &now])
            .await?;
        Ok(())
    }
}

/// The sequence that the next frame of a lane will have; 0 for a lane that is not known here.
fn end_of(journal: &Journal, lane: &str) -> u64 {
    let status = journal.status();
    status.lanes.iter().find(|known| known.lane == lane).map_or(0, |known| known.next_sequence)
}

fn database_sequence(sequence: u64) -> i64 {
    i64::try_from(sequence).expect("a lane has fewer than 2^63 frames")
}

/// The frame's kind as the journal's format numbers it.
fn kind_number(kind: Kind) -> i16 {
    match kind {
        Kind::Request => 1,
        Kind::Usage => 2,
        Kind::Audit => 3,
        Kind::Dropped => 4,
        Kind::LaneStart => 5,
        Kind::LaneStop => 6,
        Kind::Unknown(number) => i16::from(number),
    }
}
