//! A map that is cheap to copy with one change: 256 shards, each shared until it is written.
//!
//! A directory version differs from the one before in a few entries. Copying a version copies 256 pointers;
//! changing an entry copies one shard. Readers never see a half-made version, because versions are values.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::fast::FixedState;

const SHARDS: usize = 256;
type Shard<K, V> = HashMap<K, V, FixedState>;

/// A copy-on-write map in 256 shards.
#[derive(Clone)]
pub struct Sharded<K, V> {
    shards: Box<[Arc<Shard<K, V>>]>,
    hasher: FixedState,
}

impl<K: Hash + Eq + Clone, V: Clone> Default for Sharded<K, V> {
    fn default() -> Self {
        let hasher = FixedState::with_seed(0x0052_6f77_686f_7573);
        let empty = Arc::new(Shard::with_hasher(hasher.clone()));
        Sharded { shards: vec![empty; SHARDS].into_boxed_slice(), hasher }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Sharded<K, V> {
    fn shard_of<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        (self.hasher.hash_one(key) >> 56) as usize
    }

    /// The value under `key`, without allocation.
    pub fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.shards[self.shard_of(key)].get(key)
    }

    /// Puts `value` under `key`; copies the key's shard if another version shares it.
    pub fn insert(&mut self, key: K, value: V) {
        let index = self.shard_of(&key);
        Arc::make_mut(&mut self.shards[index]).insert(key, value);
    }

    /// Takes `key` out, if it is there.
    pub fn remove<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let index = self.shard_of(key);
        if self.shards[index].contains_key(key) {
            Arc::make_mut(&mut self.shards[index]).remove(key);
        }
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.len()).sum()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Hash + Eq + Clone, V: Clone> FromIterator<(K, V)> for Sharded<K, V> {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(entries: T) -> Self {
        let mut map = Sharded::default();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_version_does_not_see_a_change() {
        let mut first: Sharded<u32, u32> = (0..1000).map(|n| (n, n)).collect();
        let before = first.clone();
        first.insert(7, 70);
        first.remove(&8);
        assert_eq!((before.get(&7), before.get(&8)), (Some(&7), Some(&8)));
        assert_eq!((first.get(&7), first.get(&8)), (Some(&70), None));
        let copied = before.shards.iter().zip(&first.shards).filter(|(a, b)| !Arc::ptr_eq(a, b)).count();
        assert!(copied <= 2, "only the shards of the changed keys are copied, not {copied}");
    }
}
