//! Sagas: long changes made of steps that can be done and undone, logged so that whoever finds one knows how to go on.
//!
//! What the engine promises:
//! - **One at a time.** An executor claims a saga by a lease of 30 s and raises its generation. Every later write names
//!   that generation; a stale one changes nothing, and its executor stops. A tenant has at most one saga that is not over.
//! - **Nothing unknown.** `started` is on record before a step acts, its output after. A step inside the control database
//!   shares its transaction with the record, so it is done exactly once. A step outside is done at least once: it reads
//!   before it makes, and enters what it makes in the inventory before it makes it ([`Run::intend`]).
//! - **Forward, or back to nothing.** A step that fails is tried again after 1, 5, 25, 60, 60 … s until its deadline; then
//!   everything that was begun is undone backwards, the interrupted step included.
//! - **A person decides what cannot be undone.** An undo that fails for good leaves the saga `stuck` until somebody calls
//!   [`resume`], [`skip`] or [`abandon`], with a reason.
//!
//! How the log is read is in `log`, what comes next in `engine`, how a step is tried in `attempt`.

mod attempt;
mod engine;
mod kind;
mod log;
mod orders;
mod run;
#[cfg(test)]
mod tests;

pub use engine::{Engine, LEASE_S, UnknownKind};
pub use kind::{Action, BoxFuture, Done, Kind, Step, StepError, StepResult};
pub use orders::{OrderError, Reason, Start, StartError, abandon, resume, skip, start};
pub use run::{InventoryKind, Run};
use serde_json::Value;
use uuid::Uuid;

use rowhouse_domain::id::{OperationId, TenantId};

/// Where a saga stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Going forward.
    Running,
    /// Going back.
    Unwinding,
    /// All steps succeeded.
    Done,
    /// Everything was undone.
    Undone,
    /// An undo failed for good; a person must decide.
    Stuck,
    /// A person gave it up; the inventory says what is left.
    Abandoned,
}

impl State {
    const ALL: [State; 6] =
        [State::Running, State::Unwinding, State::Done, State::Undone, State::Stuck, State::Abandoned];

    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Unwinding => "unwinding",
            State::Done => "done",
            State::Undone => "undone",
            State::Stuck => "stuck",
            State::Abandoned => "abandoned",
        }
    }

    /// The state with this word.
    pub fn parse(word: &str) -> Option<Self> {
        State::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// A saga as its executor holds it.
#[derive(Debug, Clone)]
pub struct Saga {
    /// Its id; the operation's too.
    pub id: Uuid,
    /// Whose, if it changes one tenant.
    pub tenant: Option<TenantId>,
    /// What it was started with.
    pub params: Value,
    /// Who started it, as text.
    pub created_by: String,
    kind: String,
    kind_version: i32,
    state: State,
    generation: i64,
}

impl Saga {
    /// Its public face.
    pub fn operation(&self) -> OperationId {
        OperationId(self.id)
    }
}
