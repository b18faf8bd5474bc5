//! What was let in while the store was not asked, to be charged when it answers again.

use std::collections::HashMap;

use rowhouse_domain::limits::Rule;

/// Counters remembered at once; the spends of further ones are forgotten.
const OWED_MAX: usize = 10_000;

/// Units by counter.
#[derive(Debug, Default)]
pub(super) struct Owed(HashMap<String, (Rule, i64)>);

impl Owed {
    pub(super) fn add(&mut self, name: &str, rule: &Rule, units: i64) {
        if let Some((_, owed)) = self.0.get_mut(name) {
            *owed = owed.saturating_add(units);
        } else if self.0.len() < OWED_MAX {
            self.0.insert(name.to_owned(), (*rule, units));
        }
    }

    /// All of it; nothing is owed then.
    pub(super) fn take(&mut self) -> HashMap<String, (Rule, i64)> {
        std::mem::take(&mut self.0)
    }
}
