//! Ends sessions of tenants' logins that stop others, in every cell, each second: what the server lets anybody do (locks,
//! idling in a transaction) and no privilege takes away.

use std::collections::BTreeMap;
use std::time::Duration;

use rowhouse_domain::access::Permit;
use rowhouse_store::StoreError;
use rowhouse_tenantdb::Cell;
use rowhouse_tenantdb::doctor::Watchdog;
use tokio::sync::watch;
use tokio::time::interval;

use super::queries;
use crate::{Control, Shared, tenancy};

/// Between two looks: less than the time that a transaction waits for a lock.
const PACE: Duration = Duration::from_millis(500);
/// Looks between two readings of which cells there are.
const READ_EVERY: u32 = 10;

/// Looks until `shutdown`.
pub async fn run(control: Shared, mut shutdown: watch::Receiver<bool>) {
    let mut pace = interval(PACE);
    let mut dogs: BTreeMap<String, Watchdog> = BTreeMap::new();
    let mut looks = 0u32;
    loop {
        tokio::select! {
            _ = pace.tick() => {}
            _ = shutdown.wait_for(|wanted| *wanted) => return,
        }
        if looks.is_multiple_of(READ_EVERY) {
            match cells(&control).await {
                Ok(cells) => keep(&mut dogs, cells),
                Err(error) => {
                    tracing::warn!(%error, "the cells to watch cannot be read; watching those that are known")
                }
            }
        }
        looks = looks.wrapping_add(1);
        for (cell, dog) in &mut dogs {
            match dog.look().await {
                Ok(ended) => {
                    for session in ended {
                        tracing::warn!(
                            cell,
                            login = session.login,
                            pid = session.pid,
                            reason = session.reason,
                            "a tenant's session was ended"
                        );
                    }
                }
                Err(error) => tracing::debug!(cell, %error, "a cell cannot be watched now"),
            }
        }
    }
}

fn keep(dogs: &mut BTreeMap<String, Watchdog>, cells: Vec<Cell>) {
    dogs.retain(|name, dog| cells.iter().any(|cell| cell.name == *name && cell == dog.cell()));
    for cell in cells {
        dogs.entry(cell.name.clone()).or_insert_with(|| Watchdog::new(cell));
    }
}

async fn cells(control: &Control) -> Result<Vec<Cell>, StoreError> {
    let transaction = control.store.read(&Permit::for_system(None, "the watchdog")).await?;
    let mut cells = Vec::new();
    for name in queries::cells(&transaction, None).await? {
        cells.extend(tenancy::cells::get(&transaction, &name).await?);
    }
    transaction.finish().await?;
    Ok(cells)
}
