//! Events that reach their log long after they happened, because the database was away. The log itself says which
//! ones, so that a verifier does not take them for backdated.

use std::collections::BTreeMap;

use rowhouse_domain::audit::leaf::Leaf;

/// What is older than this on arrival is late, in µs; verifiers allow as much by default.
const LATE_US: i64 = 300_000_000;

/// Counters of late events, by node and boot.
#[derive(Debug, Default)]
pub struct Late(BTreeMap<(String, i64), (i64, i64)>);

/// A stretch of an emitter's counters, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Node and lane, or `db`.
    pub node: String,
    /// Its boot.
    pub boot: i64,
    /// First counter.
    pub from: i64,
    /// Last counter.
    pub to: i64,
}

impl Late {
    /// Looks at a new leaf.
    pub fn see(&mut self, leaf: &Leaf) {
        if leaf.place.recorded_at_us.saturating_sub(leaf.draft.occurred_at_us) <= LATE_US {
            return;
        }
        let emitter = &leaf.place.emitter;
        let stretch =
            self.0.entry((emitter.node.clone(), emitter.boot)).or_insert((emitter.counter, emitter.counter));
        stretch.1 = emitter.counter;
    }

    /// What was late.
    pub fn into_stretches(self) -> Vec<Stretch> {
        let all = self.0.into_iter();
        all.map(|((node, boot), (from, to))| Stretch { node, boot, from, to }).collect()
    }
}
