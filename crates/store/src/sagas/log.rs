//! The log of a saga, and what it says: which steps were begun, succeeded, are undone, and how often they were tried.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::pool::StoreError;
use crate::transaction::Transaction;

/// What a record says about its step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Started,
    Succeeded,
    Failed,
    UndoStarted,
    Undone,
    UndoFailed,
    /// A person did or undid it by hand.
    Skipped,
    /// A person asked for another try.
    Resumed,
    /// A person gave the saga up at this step.
    Abandoned,
}

impl Event {
    const ALL: [Event; 9] = [
        Event::Started,
        Event::Succeeded,
        Event::Failed,
        Event::UndoStarted,
        Event::Undone,
        Event::UndoFailed,
        Event::Skipped,
        Event::Resumed,
        Event::Abandoned,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Event::Started => "started",
            Event::Succeeded => "succeeded",
            Event::Failed => "failed",
            Event::UndoStarted => "undo_started",
            Event::Undone => "undone",
            Event::UndoFailed => "undo_failed",
            Event::Skipped => "skipped",
            Event::Resumed => "resumed",
            Event::Abandoned => "abandoned",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Event::ALL.into_iter().find(|event| event.as_str() == word)
    }
}

/// One line.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub step: String,
    pub attempt: i32,
    pub event: Event,
    pub output: Option<Value>,
    pub generation: i64,
    pub at: Timestamp,
}

/// The tries of one step in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tries {
    /// Tries that ended with a failure.
    pub failed: usize,
    /// Tries whose executor ended before they did.
    pub cut_short: usize,
    /// When the first began.
    pub since: Option<Timestamp>,
}

/// All lines in the order they were written.
#[derive(Debug, Clone, Default)]
pub(super) struct Log(pub Vec<Record>);

impl Log {
    pub async fn read(transaction: &Transaction, saga: Uuid) -> Result<Log, StoreError> {
        let rows = transaction
            .query(
                "SELECT step, attempt, event, output, at, generation FROM lifecycle.saga_steps \
                 WHERE saga_id = $1 ORDER BY sequence",
                &[&saga],
            )
            .await?;
        let record = |row: &tokio_postgres::Row| {
            let event = Event::parse(row.get(2)).ok_or(StoreError::Stored { what: "an event of a saga" })?;
            Ok(Record {
                step: row.get(0),
                attempt: row.get(1),
                event,
                output: row.get(3),
                at: row.get(4),
                generation: row.get(5),
            })
        };
        Ok(Log(rows.iter().map(record).collect::<Result<_, StoreError>>()?))
    }

    fn of(&self, step: &str) -> impl DoubleEndedIterator<Item = &Record> {
        self.0.iter().filter(move |record| record.step == step)
    }

    fn has(&self, step: &str, event: Event) -> bool {
        self.of(step).any(|record| record.event == event)
    }

    /// The generation that wrote last; 0 before the first record.
    pub fn generation(&self) -> i64 {
        self.0.iter().map(|record| record.generation).max().unwrap_or(0)
    }

    /// Whether the step ever began: then it is undone.
    pub fn began(&self, step: &str) -> bool {
        self.has(step, Event::Started)
    }

    pub fn succeeded(&self, step: &str) -> bool {
        self.has(step, Event::Succeeded)
    }

    /// Whether a person said that the step was done, or undone, by hand.
    pub fn is_skipped(&self, step: &str) -> bool {
        self.has(step, Event::Skipped)
    }

    /// Whether nothing of the step is left, by an undo or by a person's word.
    pub fn is_gone(&self, step: &str) -> bool {
        self.has(step, Event::Undone) || self.has(step, Event::Skipped)
    }

    /// What each step left behind that succeeded.
    pub fn outputs(&self) -> BTreeMap<String, Value> {
        let succeeded = self.0.iter().filter(|record| record.event == Event::Succeeded);
        succeeded.map(|record| (record.step.clone(), record.output.clone().unwrap_or_default())).collect()
    }

    /// What the step left behind, if it succeeded.
    pub fn output(&self, step: &str) -> Option<&Value> {
        self.of(step).rev().find(|record| record.event == Event::Succeeded)?.output.as_ref()
    }

    /// The number that the next record of `event` has; from 1.
    pub fn next_attempt(&self, step: &str, event: Event) -> i32 {
        1 + self
            .of(step)
            .filter(|record| record.event == event)
            .map(|record| record.attempt)
            .max()
            .unwrap_or(0)
    }

    /// What was tried so far, since a person last asked for another try.
    pub fn tries(&self, step: &str, start: Event, failure: Event) -> Tries {
        let recent = || self.of(step).rev().take_while(|record| record.event != Event::Resumed);
        let starts = recent().filter(|record| record.event == start).count();
        let failures = recent().filter(|record| record.event == failure).count();
        let since = recent().filter(|record| record.event == start).last().map(|record| record.at);
        Tries { failed: failures, cut_short: starts.saturating_sub(failures), since }
    }
}
