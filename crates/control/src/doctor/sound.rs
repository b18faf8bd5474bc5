//! What all tenants of a shared database have in common is examined once for many of them: provisioning asks here whether the
//! doctor has found the same tables of it sound a moment ago.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::tenancy::service_tables::Installation;

/// How long a finding of nothing is believed.
const BELIEVED: Duration = Duration::from_secs(10);

/// When a database was examined, and with which tables.
type Examined = (Instant, Vec<Installation>);

/// Shared databases that were found sound, by cell and name.
#[derive(Debug, Default)]
pub struct Sound(Mutex<BTreeMap<(String, String), Examined>>);

impl Sound {
    /// Whether `database` of `cell` was found sound with just these tables, a moment ago.
    pub fn is_known(&self, cell: &str, database: &str, installed: &[Installation]) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.get(&(cell.to_owned(), database.to_owned()));
        known.is_some_and(|(at, tables)| at.elapsed() < BELIEVED && tables == installed)
    }

    /// It was found sound now.
    pub fn note(&self, cell: &str, database: &str, installed: &[Installation]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert((cell.to_owned(), database.to_owned()), (Instant::now(), installed.to_vec()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(version: i32) -> Vec<Installation> {
        vec![Installation { service: "stamping".into(), schema: "stamping".into(), version }]
    }

    #[test]
    fn only_the_same_tables_of_the_same_database_are_known() {
        let sound = Sound::default();
        assert!(!sound.is_known("c1", "rh_shared", &tables(1)));
        sound.note("c1", "rh_shared", &tables(1));
        assert!(sound.is_known("c1", "rh_shared", &tables(1)));
        assert!(!sound.is_known("c1", "rh_shared", &tables(2)), "a new version is examined");
        assert!(!sound.is_known("c1", "other", &tables(1)));
        assert!(!sound.is_known("c2", "rh_shared", &tables(1)));
    }
}
