//! What a limit decided on one core. Only that core writes.

use std::sync::atomic::{AtomicU64, Ordering};

use rowhouse_domain::limits::{Rule, Verdict};

/// What a limit decided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitCounts {
    /// Requests that fitted.
    pub allowed: u64,
    /// Of these, those that left less than a fifth.
    pub near: u64,
    /// Requests that it refused.
    pub refused: u64,
    /// Requests that it would have refused if it were enforced.
    pub shadow_refused: u64,
}

/// The same, in the making.
#[derive(Debug, Default)]
pub(crate) struct LimitFigures {
    allowed: AtomicU64,
    near: AtomicU64,
    refused: AtomicU64,
    shadow_refused: AtomicU64,
}

impl LimitFigures {
    /// Counts one decision.
    pub(crate) fn count(&self, rule: &Rule, verdict: &Verdict, watches: bool) {
        use crate::metrics::bump;
        match (verdict.allowed, watches) {
            (true, _) => {
                bump(&self.allowed, 1);
                bump(&self.near, u64::from(verdict.remaining * 5 < rule.most()));
            }
            (false, false) => bump(&self.refused, 1),
            (false, true) => bump(&self.shadow_refused, 1),
        }
    }

    /// Adds what was counted so far.
    pub(crate) fn add_to(&self, counts: &mut LimitCounts) {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        counts.allowed += of(&self.allowed);
        counts.near += of(&self.near);
        counts.refused += of(&self.refused);
        counts.shadow_refused += of(&self.shadow_refused);
    }
}
