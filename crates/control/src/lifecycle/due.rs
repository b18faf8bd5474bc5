//! Begins what was scheduled when its time has come, and tells people of what is stuck.

use std::time::Duration;

use rowhouse_domain::access::Permit;
use rowhouse_store::{StoreError, Transaction, sagas};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::{decommission, tell};
use crate::{Shared, audit, tenancy};

/// How often it looks.
const LOOK: Duration = Duration::from_secs(1);
/// In how many looks tenants that leave are reminded once.
const REMIND_EVERY: u64 = 60;
/// Sagas begun in one look.
const BATCH: i64 = 100;

/// Looks every second until `shutdown`.
pub async fn run(control: &Shared, mut shutdown: watch::Receiver<bool>) {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = 0_u64;
    loop {
        tokio::select! {
            _ = look.tick() => {}
            _ = shutdown.wait_for(|wanted| *wanted) => return,
        }
        if let Err(error) = begin_due(control).await {
            tracing::error!(%error, "what is due could not be begun");
        }
        if let Err(error) = tell::stuck(control).await {
            tracing::error!(problem = error.private_detail(), "nobody could be told of a stuck operation");
        }
        if looks.is_multiple_of(REMIND_EVERY)
            && let Err(error) = tell::remind_leaving(control).await
        {
            tracing::error!(problem = error.private_detail(), "leaving tenants could not be reminded");
        }
        looks = looks.wrapping_add(1);
    }
}

/// Begins every scheduled saga whose time has come, whose tenant is not busy, and which no legal hold stands against. How
/// many.
///
/// # Errors
/// With the first that failed; the others wait for the next look.
pub async fn begin_due(control: &Shared) -> Result<usize, StoreError> {
    let permit = Permit::for_system(None, "what is due");
    let transaction = control.store.read(&permit).await?;
    // What is held stays due; it must not fill the batch.
    let held = audit::holds::in_force(&transaction).await?.len() as i64;
    let due = sagas::due(&transaction, BATCH + held).await?;
    transaction.finish().await?;
    let mut begun = 0;
    for saga in due {
        let transaction = control.store.write(&permit).await?;
        if !is_held(&transaction, &saga).await? && sagas::begin(&transaction, saga.id).await? {
            begun += 1;
        }
        transaction.commit_telemetry().await?;
    }
    Ok(begun)
}

/// Whether a legal hold keeps what the saga would erase. Who places one takes the same lock: one of the two is first.
async fn is_held(transaction: &Transaction, saga: &sagas::Due) -> Result<bool, StoreError> {
    let Some(tenant) = saga.tenant.filter(|_| saga.kind == decommission::KIND) else { return Ok(false) };
    tenancy::lock(transaction, tenant).await?;
    Ok(!audit::holds::of(transaction, tenant).await?.is_empty())
}
