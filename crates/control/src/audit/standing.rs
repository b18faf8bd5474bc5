//! Whether the logs in the database are those that were signed. A log that contradicts its newest signed checkpoint
//! was set back or changed; from then on nothing of any log is sequenced or signed, until it agrees again. The
//! outbox and the journal keep what happens meanwhile.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rowhouse_domain::audit::tree::Head;
use rowhouse_domain::id::TenantId;
use rowhouse_store::StoreError;

/// What this process has signed, and what contradicts it.
#[derive(Debug)]
pub struct Standing(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Why nothing was compared yet; `None` once it was.
    unchecked: Option<String>,
    /// The newest signed head of each log.
    kept: BTreeMap<TenantId, Head>,
    contradictions: BTreeMap<TenantId, String>,
}

impl Default for Standing {
    fn default() -> Self {
        let unchecked = Some("the audit logs have not been compared with their checkpoints yet".to_owned());
        Standing(Mutex::new(State { unchecked, kept: BTreeMap::new(), contradictions: BTreeMap::new() }))
    }
}

/// Nothing is sequenced or signed, and why.
#[derive(Debug, thiserror::Error)]
#[error("the audit logs wait: {0}")]
pub struct Paused(String);

impl From<Paused> for StoreError {
    /// As if the database were away: whoever gets it tries again and gives nothing up.
    fn from(paused: Paused) -> Self {
        StoreError::Connection(Box::new(paused))
    }
}

impl Standing {
    /// Why nothing is sequenced or signed now, for a person; empty while all is well.
    pub fn problems(&self) -> Vec<String> {
        let state = self.state();
        let contradictions = state.contradictions.iter().map(|(log, why)| format!("{log}: {why}"));
        state.unchecked.iter().cloned().chain(contradictions).collect()
    }

    /// Whether this log contradicts what was signed of it.
    pub fn is_recovering(&self, log: TenantId) -> bool {
        self.state().contradictions.contains_key(&log)
    }

    /// Whether logs may be appended to and signed.
    pub(super) fn may_go_on(&self) -> Result<(), Paused> {
        let problems = self.problems();
        if problems.is_empty() { Ok(()) } else { Err(Paused(problems.join("; "))) }
    }

    /// The newest signed head of a log.
    pub(super) fn kept(&self, log: TenantId) -> Option<Head> {
        self.state().kept.get(&log).copied()
    }

    /// Logs of which something is known: those that were signed, and those that contradict.
    pub(super) fn known(&self) -> Vec<TenantId> {
        let state = self.state();
        let mut known: Vec<_> = state.kept.keys().chain(state.contradictions.keys()).copied().collect();
        known.sort_unstable();
        known.dedup();
        known
    }

    /// Notes what was signed; an older head changes nothing.
    pub(super) fn keep(&self, log: TenantId, head: Head) {
        let mut state = self.state();
        let kept = state.kept.entry(log).or_insert(head);
        if kept.size < head.size {
            *kept = head;
        }
    }

    /// A log contradicts: everything waits.
    pub(super) fn contradict(&self, log: TenantId, why: String) -> Paused {
        let told = self.state().contradictions.insert(log, why.clone());
        if told.as_ref() != Some(&why) {
            tracing::error!(%log, why, "an audit log contradicts what was signed; nothing is sequenced or signed");
        }
        Paused(format!("{log}: {why}"))
    }

    /// A log agrees, perhaps again.
    pub(super) fn agree(&self, log: TenantId) {
        if self.state().contradictions.remove(&log).is_some() {
            tracing::warn!(%log, "an audit log agrees again with what was signed");
        }
    }

    /// Notes whether the comparison could be made at all.
    pub(super) fn compared(&self, outcome: Result<(), String>) {
        self.state().unchecked = outcome.err();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
