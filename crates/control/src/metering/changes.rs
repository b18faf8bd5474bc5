//! Which tenants' usage has changed since somebody last asked: wakes what follows usage.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use rowhouse_domain::id::TenantId;
use tokio::sync::watch;

/// Pairs of tenant and meter, each at most once; taken all together.
pub struct Changes {
    pairs: Mutex<HashSet<(TenantId, String)>>,
    bell: watch::Sender<u64>,
}

impl Default for Changes {
    fn default() -> Self {
        Changes { pairs: Mutex::default(), bell: watch::Sender::new(0) }
    }
}

impl Changes {
    /// Notes pairs whose usage is new in the database.
    pub(super) fn note(&self, pairs: impl IntoIterator<Item = (TenantId, String)>) {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner).extend(pairs);
        self.bell.send_modify(|count| *count += 1);
    }

    /// Takes all pairs noted since the last call.
    pub fn take(&self) -> HashSet<(TenantId, String)> {
        std::mem::take(&mut *self.pairs.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes whenever something is noted.
    pub fn bell(&self) -> watch::Receiver<u64> {
        self.bell.subscribe()
    }
}
