//! What all tenants of a shared database have in common is examined once for many of them: provisioning asks here whether the
//! doctor has found the same tables of it sound a moment ago.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rowhouse_domain::tenancy::Isolation;
use rowhouse_tenantdb::Place;
use rowhouse_tenantdb::doctor::Known;

use crate::tenancy::service_tables::Installation;

/// How long a finding of nothing is believed.
const BELIEVED: Duration = Duration::from_secs(10);

/// In the place of a database's name: what is looked at of the server as a whole.
const SERVER: &str = "";

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

    /// What need not be looked at again for `place`: its server; and its database, unless that is its own and new.
    pub fn beside(&self, cell: &str, place: &Place) -> Known {
        let is_common = place.isolation == Isolation::Schema;
        Known {
            server: place.isolation != Isolation::Instance && self.is_known(cell, SERVER, &[]),
            database: is_common && self.is_known(cell, &place.database, &[]),
        }
    }

    /// Nothing was found that would keep `place` from being used: neither of its server nor of its database.
    pub fn note_beside(&self, cell: &str, place: &Place, looked_at: Known) {
        if !looked_at.server && place.isolation != Isolation::Instance {
            self.note(cell, SERVER, &[]);
        }
        if !looked_at.database && place.isolation == Isolation::Schema {
            self.note(cell, &place.database, &[]);
        }
    }

    /// It was found sound now.
    pub fn note(&self, cell: &str, database: &str, installed: &[Installation]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert((cell.to_owned(), database.to_owned()), (Instant::now(), installed.to_vec()));
    }
}

#[cfg(test)]
mod tests {
    use rowhouse_domain::id::TenantId;

    use super::*;

    fn tables(version: i32) -> Vec<Installation> {
        vec![Installation { service: "stamping".into(), schema: "stamping".into(), version }]
    }

    #[test]
    fn a_common_database_is_looked_at_once_and_an_own_one_always() {
        let sound = Sound::default();
        let place = |isolation| Place::new(TenantId::from_u128(1), isolation, [1; 8]);
        let (schema, own) = (place(Isolation::Schema), place(Isolation::Database));
        let nothing = Known::default();
        assert_eq!(sound.beside("c1", &schema), nothing);
        sound.note_beside("c1", &own, nothing);
        assert_eq!(sound.beside("c1", &own), Known { server: true, database: false });
        assert_eq!(sound.beside("c1", &schema), Known { server: true, database: false });
        sound.note_beside("c1", &schema, Known { server: true, database: false });
        assert_eq!(sound.beside("c1", &schema), Known { server: true, database: true });
        assert_eq!(sound.beside("c1", &place(Isolation::Instance)), nothing);
        assert_eq!(sound.beside("c2", &schema), nothing);
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
