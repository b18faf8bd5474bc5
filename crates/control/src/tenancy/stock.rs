//! Databases in stock: after a tenant was given one of its own, the next one's is copied while nobody waits for it. At the start,
//! what a crash has left of such a copy is cleared away.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rowhouse_domain::access::Permit;
use rowhouse_tenantdb::cell::CellError;
use rowhouse_tenantdb::cell::stock::{self, Filled};
use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::cells;
use crate::Shared;

/// How soon a cell is looked at again where that was not done.
const AGAIN: Duration = Duration::from_secs(1);

/// Cells whose stock was used.
#[derive(Debug, Default)]
pub struct Stock {
    used: Mutex<BTreeSet<String>>,
    told: Notify,
}

impl Stock {
    /// A database was made in `cell`.
    pub fn used(&self, cell: &str) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(cell.to_owned());
        self.told.notify_one();
    }

    /// To be looked at again later.
    fn put_back(&self, cell: String) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(cell);
    }

    fn take(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_whole(&self) -> bool {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// Nothing was laid in stock. Nobody is worse off than without it.
#[derive(Debug, thiserror::Error)]
enum FillError {
    #[error(transparent)]
    Store(#[from] rowhouse_store::StoreError),
    #[error(transparent)]
    Cell(#[from] CellError),
}

/// Fills what was used, until `shutdown`.
pub async fn run(control: Shared, mut shutdown: watch::Receiver<bool>) {
    let mut again = interval(AGAIN);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut knows_cells = false;
    loop {
        tokio::select! {
            () = control.stock.told.notified() => {}
            _ = again.tick(), if !knows_cells || !control.stock.is_whole() => {}
            _ = shutdown.wait_for(|wanted| *wanted) => return,
        }
        if !knows_cells {
            knows_cells = look_at_all(&control).await.is_ok();
        }
        for name in control.stock.take() {
            match fill(&control, &name).await {
                Ok(Filled::Busy) => control.stock.put_back(name),
                Ok(_) => {}
                Err(error) => {
                    tracing::info!(cell = name, %error, "no database could be laid in stock yet");
                    control.stock.put_back(name);
                }
            }
        }
    }
}

async fn look_at_all(control: &Shared) -> Result<(), FillError> {
    let transaction = control.store.read(&Permit::for_system(None, "cells")).await?;
    for name in cells::with_shared_tables(&transaction).await? {
        control.stock.put_back(name);
    }
    Ok(transaction.finish().await?)
}

async fn fill(control: &Shared, name: &str) -> Result<Filled, FillError> {
    let transaction = control.store.read(&Permit::for_system(None, "a cell")).await?;
    let cell = cells::get(&transaction, name).await?;
    transaction.finish().await?;
    match cell {
        Some(cell) => Ok(stock::fill(&cell).await?),
        None => Ok(Filled::Whole),
    }
}
