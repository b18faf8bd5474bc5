//! Verdicts by the SHA-256 of text and ground, so that a text which was seen before costs a hash.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use crate::ground::Ground;
use crate::judge::judge;
use crate::verdict::Verdict;

/// Verdicts kept at most. In two generations of half that: what is asked for again moves to the younger one, and the
/// elder is forgotten as a whole, which needs no list of ages.
const VERDICTS_MAX: usize = 10_000;

type Key = [u8; 32];

#[derive(Default)]
struct Generations {
    younger: HashMap<Key, Arc<Verdict>>,
    elder: HashMap<Key, Arc<Verdict>>,
}

/// The firewall of one process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Firewall(Arc<Mutex<Generations>>);

impl std::fmt::Debug for Firewall {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Firewall({} verdicts)", self.len())
    }
}

impl Firewall {
    /// The verdict on `text`, judged once.
    pub fn verdict(&self, ground: &Ground, text: &str) -> Arc<Verdict> {
        let key = key(ground, text);
        if let Some(known) = self.known(&key) {
            return known;
        }
        let verdict = Arc::new(judge(ground, text));
        self.keep(key, verdict.clone());
        verdict
    }

    /// Verdicts that are kept now.
    pub fn len(&self) -> usize {
        let generations = self.lock();
        generations.younger.len() + generations.elder.len()
    }

    /// Whether nothing was judged yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn known(&self, key: &Key) -> Option<Arc<Verdict>> {
        let mut generations = self.lock();
        if let Some(verdict) = generations.younger.get(key) {
            return Some(verdict.clone());
        }
        let verdict = generations.elder.remove(key)?;
        generations.insert(*key, verdict.clone());
        Some(verdict)
    }

    fn keep(&self, key: Key, verdict: Arc<Verdict>) {
        self.lock().insert(key, verdict);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Generations> {
        self.0.lock().expect("nothing panics while it holds the verdicts")
    }
}

impl Generations {
    fn insert(&mut self, key: Key, verdict: Arc<Verdict>) {
        if self.younger.len() >= VERDICTS_MAX / 2 {
            self.elder = std::mem::take(&mut self.younger);
        }
        self.younger.insert(key, verdict);
    }
}

/// Everything that the verdict depends on, each part ended by a byte that no part contains.
fn key(ground: &Ground, text: &str) -> Key {
    let mut hash = Sha256::new();
    hash.update(&ground.service);
    hash.update([0xff, u8::from(ground.strict)]);
    hash.update(ground.level.as_str());
    for names in [&ground.schemas, &ground.functions] {
        hash.update([0xff]);
        for name in names {
            hash.update(name);
            hash.update([0xfe]);
        }
    }
    hash.update([0xff]);
    hash.update(text);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;

    #[test]
    fn a_text_is_judged_for_its_ground_and_the_number_of_verdicts_is_bounded() {
        let firewall = Firewall::default();
        let (shared, own) = (Ground::new("s", Level::Shared), Ground::new("s", Level::Own));
        let catalog = "SELECT 1 FROM pg_class";
        assert!(firewall.verdict(&shared, catalog).allowed().is_err());
        assert!(firewall.verdict(&own, catalog).allowed().is_ok());
        let again = firewall.verdict(&own, catalog);
        assert!(Arc::ptr_eq(&again, &firewall.verdict(&own, catalog)));
        for number in 0..VERDICTS_MAX {
            firewall.verdict(&shared, &format!("SELECT {number}"));
            if number % 100 == 0 {
                firewall.verdict(&own, catalog);
            }
        }
        assert!(firewall.len() <= VERDICTS_MAX, "{firewall:?}");
        assert!(Arc::ptr_eq(&again, &firewall.verdict(&own, catalog)), "what is used stays");
    }
}
