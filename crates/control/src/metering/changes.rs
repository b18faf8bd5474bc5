//! By how much tenants' usage has grown since somebody last asked: wakes what follows usage.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rowhouse_domain::id::TenantId;
use tokio::sync::watch;

/// Growth by tenant and meter, in units of 10⁻¹².
pub type Growth = HashMap<(TenantId, String), i128>;

/// Growth that is in the database and was not taken yet: at most one figure for each tenant and meter. A figure is
/// a hint, for a stretch of the journal that is read again is noted again; what is used, only the database knows.
pub struct Changes {
    growth: Mutex<Growth>,
    bell: watch::Sender<u64>,
}

impl Default for Changes {
    fn default() -> Self {
        Changes { growth: Mutex::default(), bell: watch::Sender::new(0) }
    }
}

impl Changes {
    /// Adds to what is noted.
    pub fn note(&self, more: impl IntoIterator<Item = ((TenantId, String), i128)>) {
        let mut growth = self.growth();
        for (whose, units) in more {
            let sum = growth.entry(whose).or_default();
            *sum = sum.saturating_add(units);
        }
        drop(growth);
        self.bell.send_modify(|count| *count += 1);
    }

    /// Takes all that was noted since the last call.
    pub fn take(&self) -> Growth {
        std::mem::take(&mut *self.growth())
    }

    /// Changes whenever something is noted.
    pub fn bell(&self) -> watch::Receiver<u64> {
        self.bell.subscribe()
    }

    fn growth(&self) -> MutexGuard<'_, Growth> {
        self.growth.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
