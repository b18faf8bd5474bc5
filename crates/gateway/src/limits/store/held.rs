//! Leases that were granted: what is needed to give their rest back.

use rowhouse_domain::limits::Rule;

use super::super::table::CounterKey;
use super::StoreShared;

/// Leases remembered at once; of further ones the rest is not given back.
const HELD_MAX: usize = 100_000;

/// A lease of a counter. Times are microseconds of [`StoreShared::elapsed_us`].
#[derive(Debug, Clone)]
pub(crate) struct Held {
    /// The counter's name in the store.
    pub(crate) name: String,
    pub(crate) rule: Rule,
    /// Until when it may be spent.
    pub(crate) expires_us: i64,
    /// From when on the bucket may have been empty since: what would be given back then would be given twice.
    pub(crate) drained_us: i64,
    /// The window it was taken from.
    pub(crate) number: i64,
}

impl Held {
    /// One that is wanted.
    pub(crate) fn wanted(name: String, rule: Rule) -> Self {
        Held { name, rule, expires_us: 0, drained_us: 0, number: 0 }
    }

    /// Whether giving back cannot let more in than the limit.
    pub(super) fn can_give_back(&self, now_us: i64) -> bool {
        !self.rule.algorithm().is_bucket() || now_us < self.drained_us
    }
}

impl StoreShared {
    /// Remembers a lease; answers the one it takes the place of.
    pub(super) fn hold(&self, key: CounterKey, lease: Held) -> Option<Held> {
        let mut held = self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match held.len() < HELD_MAX || held.contains_key(&key.bits()) {
            true => held.insert(key.bits(), lease),
            false => None,
        }
    }

    /// Takes the leases out that ended, or all of them.
    pub(super) fn ended(&self, now_us: i64, all: bool) -> Vec<(CounterKey, Held)> {
        let mut held = self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if held.is_empty() {
            return Vec::new();
        }
        let ended = held.extract_if(|_, lease| all || lease.expires_us <= now_us);
        ended.map(|(bits, lease)| (CounterKey::from_bits(bits), lease)).collect()
    }
}
