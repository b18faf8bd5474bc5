//! What a saga is made of: a kind with a version, and its steps in order.

use std::pin::Pin;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::log::Log;
use super::{InventoryKind, Run};
use crate::change::Change;
use crate::pool::StoreError;
use crate::transaction::Transaction;

/// What an action returns: steps are plain `async` functions in a box, so that a kind is a table.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
/// How an action ended.
pub type StepResult = Result<Done, StepError>;

/// A look at what a step would bring about, in the transaction of the records before it; `None` if something is left to do.
pub type Look<C> =
    for<'a> fn(&'a Run<'a, C>, &'a Transaction) -> BoxFuture<'a, Result<Option<Done>, StepError>>;

/// A kind of saga. `version` pins the code: a saga begun under one version is only ever continued by it.
pub struct Kind<C> {
    /// As in `provision`.
    pub name: &'static str,
    /// Raised with every change of the steps' names, order or outputs.
    pub version: i32,
    /// In the order of doing; undone in reverse.
    pub steps: Vec<Step<C>>,
}

/// One step. Both actions must be repeatable: done twice is done once.
pub struct Step<C> {
    /// Unique within its kind.
    pub name: &'static str,
    /// Since its first start: until then it is tried again, and no single try is longer.
    pub deadline: Duration,
    /// Brings it about.
    pub action: Action<C>,
    /// Takes it back, from whatever a crash has left of it.
    pub undo: Action<C>,
}

/// An action of a step, by where it acts.
pub enum Action<C> {
    /// SQL in the control database, in the transaction of its record: exactly once. The transaction is for the saga's tenant.
    Inside(for<'a> fn(&'a Run<'a, C>, &'a Transaction) -> BoxFuture<'a, StepResult>),
    /// Anything else: at least once.
    Outside(for<'a> fn(&'a Run<'a, C>) -> BoxFuture<'a, StepResult>),
    /// As [`Action::Outside`], where doing it once more is all that a lost record of it costs: it only looks, or makes things
    /// within what the inventory holds already, or enters by itself what else it makes. Its records do not wait for the disk.
    Within(for<'a> fn(&'a Run<'a, C>) -> BoxFuture<'a, StepResult>),
    /// As [`Action::Within`], where there is often nothing to do: `look` finds that out in the transaction of the records before it,
    /// changing nothing, and what it then says is the step's success. The action itself is only begun if it says nothing.
    WithinUnless {
        /// What has been done already, if nothing is left to do.
        look: Look<C>,
        /// Brings it about, also where there is nothing left to do.
        act: for<'a> fn(&'a Run<'a, C>) -> BoxFuture<'a, StepResult>,
    },
    /// There is nothing to do.
    Nothing,
    /// As an undo: there is no way back. From the step's beginning on its saga only goes forward, and what fails for good
    /// makes it stuck.
    NoReturn,
}

impl<C> Clone for Action<C> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<C> Copy for Action<C> {}

impl<C> Kind<C> {
    /// Whether everything that was begun can be undone.
    pub(super) fn has_way_back(&self, log: &Log) -> bool {
        !self.steps.iter().any(|step| matches!(step.undo, Action::NoReturn) && log.began(step.name))
    }

    /// Whether a saga with this log may still be cancelled: nothing final has begun, and its last step has not.
    pub(super) fn may_be_cancelled(&self, log: &Log) -> bool {
        let last_began = self.steps.last().is_some_and(|step| log.began(step.name));
        self.has_way_back(log) && !last_began
    }
}

/// What an action leaves behind.
#[derive(Debug, Default)]
pub struct Done {
    /// For the steps after it, for its undo and for the operation's reader; no secrets.
    pub output: Value,
    /// Events of an [`Action::Inside`]: they are committed with it.
    pub changes: Vec<Change>,
    /// Whether a crash of the server may take it, to be done again.
    pub(super) repeatable: bool,
    /// Whether what the next step makes outside reaches the disk after the record of its beginning, and never without it.
    pub(super) precedes_next: bool,
    /// What the inventory is to say, committed with the record of the success.
    pub(super) inventory: Vec<(InventoryKind, String, &'static str)>,
}

impl Done {
    /// Done, with this output.
    pub fn with(output: &impl Serialize) -> Self {
        let output = serde_json::to_value(output).expect("outputs are plain data with text keys");
        Done { output, ..Done::default() }
    }

    /// Done, with nothing to tell.
    pub fn plainly() -> Self {
        Done::default()
    }

    /// Tells the audit log, too.
    pub fn change(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }

    /// Says of an [`Action::Inside`] that nobody is told of it, and nothing outside is done by it, before a later step waits for the
    /// disk: its own commit does not. A crash of the server may take it, and its record with it; then it is done again.
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// Says of an [`Action::Inside`] that the step after it, if that acts outside, only makes what goes through the log of the control
    /// database's own server: that log is written in order, so a crash that takes the record of the step's beginning takes all that the
    /// step has made, too. Then the record need not wait for the disk.
    pub fn precedes_next(mut self) -> Self {
        self.precedes_next = true;
        self
    }

    /// Enters a thing that a later step is about to make. For an [`Action::Inside`], which names what others make.
    pub fn intends(mut self, kind: InventoryKind, external_id: &str) -> Self {
        self.inventory.push((kind, external_id.to_owned(), "intent"));
        self
    }

    /// Says that a thing is not there any more.
    pub fn gone(mut self, kind: InventoryKind, external_id: &str) -> Self {
        self.inventory.push((kind, external_id.to_owned(), "gone"));
        self
    }

    /// Says that a thing is there, with the record that the step has made it.
    pub fn observed(mut self, kind: InventoryKind, external_id: &str) -> Self {
        self.inventory.push((kind, external_id.to_owned(), "observed"));
        self
    }
}

/// Why an action did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// It may succeed later.
    #[error("{0}")]
    Again(String),
    /// It will not succeed however often it is tried.
    #[error("{detail}")]
    Never {
        /// Code of the refusal that says why.
        code: &'static str,
        /// For people.
        detail: String,
    },
    /// Another executor holds the saga now. Nothing more may be done.
    #[error("another executor holds this saga now")]
    Lost,
}

impl StepError {
    /// A failure that may pass, with all its causes.
    pub fn again(error: impl std::error::Error) -> Self {
        StepError::Again(with_causes(&error))
    }

    /// A refusal that stands.
    pub fn never(code: &'static str, detail: impl Into<String>) -> Self {
        StepError::Never { code, detail: detail.into() }
    }
}

impl From<StoreError> for StepError {
    fn from(error: StoreError) -> Self {
        StepError::again(error)
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        // Transparent errors repeat what they wrap.
        if !words.ends_with(&more) {
            words = format!("{words}: {more}");
        }
        source = cause.source();
    }
    words
}
