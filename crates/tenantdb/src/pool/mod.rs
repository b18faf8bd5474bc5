//! Connections to one cell: pools by (database, login, schema) inside one budget, because a server has one number of
//! connections however many pools it is divided into.
//!
//! A connection is in exactly one of three hands: idle here, in a [`Slot`], or closed. A slot that is dropped without
//! [`Slot::give_back`] closes its connection: whoever was cancelled leaves nothing to the next.

mod backend;
mod ledger;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use backend::Backend;
use ledger::{Admitted, Ledger};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::DatabaseError;

/// How long a transaction waits for a connection.
const WAIT: Duration = Duration::from_secs(2);

/// Size of the pool of a login that all tenants share.
pub(crate) const SHARED_POOL: u32 = 100;

/// What a connection is good for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PoolKey {
    pub database: String,
    pub login: String,
    pub schema: String,
}

/// All connections of this process to one server.
pub(crate) struct CellPool {
    host: String,
    port: u16,
    ledger: Ledger<Backend, oneshot::Sender<Slot>>,
    /// To close connections from wherever a slot is dropped.
    runtime: Handle,
}

impl CellPool {
    pub fn new(host: String, port: u16, budget: u32) -> Arc<Self> {
        Arc::new(CellPool { host, port, ledger: Ledger::new(budget), runtime: Handle::current() })
    }

    /// Changes the number of connections; idle ones above it close now, others as they come back.
    pub fn set_budget(self: &Arc<Self>, budget: u32) {
        let (admitted, surplus) = self.ledger.set_budget(budget);
        for backend in surplus {
            self.runtime.spawn(backend.close());
        }
        for admitted in admitted {
            self.hand_over(admitted);
        }
    }

    /// A connection of `key`, whose pool may have `size` of them. Waits two seconds at most.
    pub async fn acquire(self: &Arc<Self>, key: &PoolKey, size: u32) -> Result<Slot, DatabaseError> {
        match tokio::time::timeout(WAIT, self.acquire_unbounded(key, size)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(DatabaseError::Busy),
        }
    }

    async fn acquire_unbounded(self: &Arc<Self>, key: &PoolKey, size: u32) -> Result<Slot, DatabaseError> {
        let (sender, receiver) = oneshot::channel();
        let mut slot = match self.ledger.ask(key, size, sender) {
            Some(grant) => self.slot(key.clone(), grant.connection, grant.evicted),
            None => receiver.await.map_err(|_queue_is_full| DatabaseError::Busy)?,
        };
        slot.open().await?;
        Ok(slot)
    }

    fn slot(self: &Arc<Self>, key: PoolKey, backend: Option<Backend>, evicted: Option<Backend>) -> Slot {
        Slot { pool: self.clone(), key, backend, evicted, given_back: false }
    }

    /// Frees the place of a `key`, with its connection if that is fit for another transaction.
    fn release(self: &Arc<Self>, key: &PoolKey, backend: Option<Backend>) {
        let (admitted, surplus) = self.ledger.release(key, backend);
        if let Some(surplus) = surplus {
            self.runtime.spawn(surplus.close());
        }
        if let Some(admitted) = admitted {
            self.hand_over(admitted);
        }
    }

    fn hand_over(self: &Arc<Self>, admitted: Admitted<Backend, oneshot::Sender<Slot>>) {
        let Admitted { waiter, key, grant } = admitted;
        if let Err(unwanted) = waiter.send(self.slot(key, grant.connection, grant.evicted)) {
            unwanted.give_back(); // the waiter's time was up just now
        }
    }

    /// Closes connections that were idle or open for too long.
    pub fn sweep(&self) {
        for backend in self.ledger.sweep() {
            self.runtime.spawn(backend.close());
        }
    }

    /// Connections open or being opened, for tests and telemetry.
    pub fn open_connections(&self) -> u32 {
        self.ledger.open()
    }
}

/// A place in the budget, on loan, with its connection.
pub(crate) struct Slot {
    pool: Arc<CellPool>,
    key: PoolKey,
    backend: Option<Backend>,
    /// An idle connection of another pool that must end before ours begins.
    evicted: Option<Backend>,
    given_back: bool,
}

impl Slot {
    pub fn backend(&mut self) -> &mut Backend {
        self.backend.as_mut().expect("`acquire` opens the connection, and only giving it back takes it away")
    }

    async fn open(&mut self) -> Result<(), DatabaseError> {
        if let Some(evicted) = self.evicted.take() {
            evicted.close().await;
        }
        if self.backend.is_none() {
            self.backend = Some(Backend::open(&self.key, &self.pool.host, self.pool.port).await?);
        }
        Ok(())
    }

    /// Returns the connection for others to use; only after ReadyForQuery "idle".
    pub fn give_back(mut self) {
        self.given_back = true;
        let backend = self.backend.take();
        self.pool.release(&self.key, backend);
    }
}

impl Slot {
    /// For a transaction that was left while no statement ran: the connection is fit again once the server has
    /// answered the rollback; until then, and if it does not, it is nobody's.
    pub fn give_back_after_rollback(mut self) {
        let runtime = self.pool.runtime.clone();
        runtime.spawn(async move {
            let rollback = self.backend().client().batch_execute("ROLLBACK");
            if matches!(tokio::time::timeout(WAIT, rollback).await, Ok(Ok(()))) {
                self.give_back();
            }
        });
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(evicted) = self.evicted.take() {
            self.pool.runtime.spawn(evicted.close());
        }
        if self.given_back {
            return;
        }
        let (pool, key) = (self.pool.clone(), self.key.clone());
        match self.backend.take() {
            // The place is free only when the connection has ended, or the server would see more than the budget.
            Some(backend) => drop(self.pool.runtime.spawn(async move {
                backend.destroy().await;
                pool.release(&key, None);
            })),
            None => pool.release(&key, None),
        }
    }
}
