//! A map that is cheap to copy with one change: 256 shards, each shared until it is written.
//!
//! A directory version differs from the one before in a few entries. Copying a version copies 256 pointers;
//! changing an entry copies one shard. Readers never see a half-made version, because versions are values.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

const SHARDS: usize = 256;
type Shard<K, V> = HashTable<(K, V)>;

/// A copy-on-write map in 256 shards.
#[derive(Clone)]
pub struct Sharded<K, V> {
    shards: Box<[Arc<Shard<K, V>>]>,
    hasher: FixedState,
}

impl<K: Hash + Eq + Clone, V: Clone> Default for Sharded<K, V> {
    fn default() -> Self {
        let hasher = FixedState::with_seed(0x0052_6f77_686f_7573);
        let empty = Arc::new(Shard::new());
        Sharded { shards: vec![empty; SHARDS].into_boxed_slice(), hasher }
    }
}

/// The shard of a hash. A table finds its entries by the lowest bits and tells them apart by the highest seven; a
/// shard chosen by those would leave nothing to tell its entries apart by.
fn shard_of(hash: u64) -> usize {
    (hash >> 32) as usize % SHARDS
}

impl<K: Hash + Eq + Clone, V: Clone> Sharded<K, V> {
    /// The value under `key`, without allocation.
    pub fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        let found = self.shards[shard_of(hash)].find(hash, |(own, _)| own.borrow() == key);
        found.map(|(_, value)| value)
    }

    /// Puts `value` under `key`; copies the key's shard if another version shares it.
    pub fn insert(&mut self, key: K, value: V) {
        let hash = self.hasher.hash_one(&key);
        let shard = Arc::make_mut(&mut self.shards[shard_of(hash)]);
        match shard.entry(hash, |(own, _)| *own == key, |(own, _)| self.hasher.hash_one(own)) {
            Entry::Occupied(mut own) => own.get_mut().1 = value,
            Entry::Vacant(free) => drop(free.insert((key, value))),
        }
    }

    /// Takes `key` out, if it is there.
    pub fn remove<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        let shard = &mut self.shards[shard_of(hash)];
        if shard.find(hash, |(own, _)| own.borrow() == key).is_some()
            && let Ok(own) = Arc::make_mut(shard).find_entry(hash, |(own, _)| own.borrow() == key)
        {
            own.remove();
        }
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter()).map(|(key, value)| (key, value))
    }

    /// The entries of all shards that are not one with those of `other`.
    pub(crate) fn entries_unlike<'s>(&'s self, other: &'s Self) -> impl Iterator<Item = (&'s K, &'s V)> {
        let shards = self.shards.iter().zip(&other.shards).filter(|(own, theirs)| !Arc::ptr_eq(own, theirs));
        shards.flat_map(|(own, _)| own.iter()).map(|(key, value)| (key, value))
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
    fn entries_of_a_shard_differ_in_what_a_table_looks_at() {
        let hasher = FixedState::with_seed(1);
        let hashes = (0..10_000u32).map(|key| hasher.hash_one(key)).filter(|hash| shard_of(*hash) == 7);
        let tags: std::collections::BTreeSet<u64> = hashes.map(|hash| hash >> 57).collect();
        assert!(tags.len() > 10, "{tags:?}");
    }

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
