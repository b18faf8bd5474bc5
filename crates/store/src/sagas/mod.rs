//! Sagas: long changes made of steps that can be done and undone, logged so that whoever finds one knows how to go on.
//!
//! What the engine promises:
//! - **One at a time.** An executor claims a saga by a lease of 30 s and raises its generation. Every later write names
//!   that generation; a stale one changes nothing, and its executor stops. A tenant has at most one saga that is not over.
//! - **Nothing unknown.** `started` is on record before a step acts, its output after. A step inside the control database
//!   shares its transaction with the record, so it is done exactly once. A step outside is done at least once: it reads
//!   before it makes, and enters what it makes in the inventory before it makes it ([`Run::intend`]).
//! - **Forward, or back to nothing.** A step that fails is tried again after 1, 5, 25, 60, 60 … s until its deadline; then
//!   everything that was begun is undone backwards, the interrupted step included. A step that cannot be undone
//!   ([`Action::NoReturn`]) ends that: from its beginning on the saga only goes forward.
//! - **A person decides what cannot be undone.** An undo that fails for good, or a step behind the point of no return,
//!   leaves the saga `stuck` until somebody calls [`resume`], [`skip`] or [`abandon`], with a reason.
//! - **Later, or never.** A saga may be scheduled for a time ([`schedule`]) and is begun by [`begin`]; [`cancel`] takes a
//!   scheduled one back, and turns a running one back before its next step.
//!
//! How the log is read is in `log`, what comes next in `engine`, how steps that go well share commits in `stride`, how a step
//! is tried alone in `attempt`.

mod attempt;
mod engine;
mod kind;
mod log;
mod orders;
mod run;
mod schedule;
mod stride;
#[cfg(test)]
mod tests;

pub use engine::{Engine, LEASE_S, UnknownKind};
pub use kind::{Action, BoxFuture, Done, Kind, Step, StepError, StepResult};
pub use orders::{OrderError, Reason, Start, StartError, abandon, cancel, resume, skip, start};
pub use run::{InventoryKind, Run};
pub use schedule::{Due, begin, due, schedule};
use serde_json::Value;
use uuid::Uuid;

use rowhouse_domain::id::{OperationId, TenantId};

/// Where a saga stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Its time has not come.
    Scheduled,
    /// Going forward.
    Running,
    /// Going back.
    Unwinding,
    /// All steps succeeded.
    Done,
    /// Everything was undone.
    Undone,
    /// It can go neither forward nor back; a person must decide.
    Stuck,
    /// A person gave it up; the inventory says what is left.
    Abandoned,
}

impl State {
    const ALL: [State; 7] = [
        State::Scheduled,
        State::Running,
        State::Unwinding,
        State::Done,
        State::Undone,
        State::Stuck,
        State::Abandoned,
    ];

    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Scheduled => "scheduled",
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
