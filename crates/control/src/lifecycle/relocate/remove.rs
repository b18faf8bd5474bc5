//! What was the tenant's place: its last readers end, then it goes, with everything that was made for it.

use std::time::Duration;

use rowhouse_domain::tenancy::Isolation;
use rowhouse_store::sagas::{Done, Run, StepResult};
use rowhouse_tenantdb::place;

use super::super::provision::store;
use super::super::{queries, restore};
use super::plan::plan;
use crate::tenancy::{cells, places};
use crate::{Shared, deploy};

/// Readers that began before the decision may end where they began; then they are ended.
const READERS_MAX: Duration = Duration::from_secs(60);

/// Removes the source. Only called once the tenant lies at the target. Twice is once.
pub async fn remove(run: &Run<'_, Shared>) -> StepResult {
    let Some(plan) = plan(run)? else { return Ok(Done::plainly()) };
    let (source, tenant) = (&plan.source, plan.source.place.tenant);
    if source.place.isolation == Isolation::Instance {
        let transaction = run.write().await?;
        let there = deploy::get(&transaction, tenant).await?.is_some();
        transaction.rollback().await?;
        if there {
            store::take_processes_away(run).await?;
            store::take_away_at(run, source).await?;
        }
    } else {
        let cell = store::reachable(run, &source.cell).await?;
        place::wait_for_readers(&cell, &source.place, READERS_MAX).await.map_err(store::place_failure)?;
        store::take_away_at(run, source).await?;
    }
    let transaction = run.write().await?;
    places::forget_other(&transaction, &source.cell, &source.place).await?;
    if source.place.isolation == Isolation::Instance {
        deploy::forget(&transaction, tenant).await?;
        cells::remove(&transaction, &source.cell).await?;
        queries::processes_are_gone(&transaction, tenant).await?;
        // Copies that were restored beside it went with its server.
        restore::forget_in_cell(&transaction, tenant, &source.cell).await?;
    }
    transaction.commit_telemetry().await?;
    Ok(Done::plainly())
}
