//! The fence and the copy: writers wait, rows go over in one consistent snapshot, both sides are summed up.

use std::time::Duration;

use rowhouse_store::sagas::{Done, Run, StepError, StepResult};
use rowhouse_tenantdb::copy::{self, CopyError, Loading, ServiceShape, Snapshot, Table};
use rowhouse_tenantdb::place;
use rowhouse_tenantdb::{Cell, Rights};
use serde::{Deserialize, Serialize};

use super::super::provision::{store, tenant_of};
use super::plan::{OnLongTransactions, Plan, is_decided, plan};
use crate::Shared;
use crate::tenancy::{self, places};

/// How long writers may take to end before they are let go on.
const PATIENCE: Duration = Duration::from_millis(250);
/// How often that is tried in a row.
const TRIES: usize = 5;
const PAUSE: Duration = Duration::from_millis(100);

/// What was copied.
#[derive(Debug, Serialize, Deserialize)]
pub struct Copied {
    /// Of all tables.
    pub rows: i64,
    /// How many.
    pub tables: usize,
    /// What the target was given: what the tenant may do.
    pub rights: Rights,
}

/// Fences, copies, proves. A failure opens the source again before anything else is tried.
pub async fn copy(run: &Run<'_, Shared>) -> StepResult {
    let Some(plan) = plan(run)? else { return Ok(Done::plainly()) };
    match copy_fenced(run, &plan).await {
        Ok(copied) => Ok(Done::with(&copied)),
        Err(StepError::Lost) => Err(StepError::Lost),
        Err(error) => {
            unfence(run, &plan, plan.source.place.epoch).await?;
            Err(error)
        }
    }
}

/// Opens the source again, unless the tenant lies elsewhere by now.
pub async fn undo(run: &Run<'_, Shared>) -> StepResult {
    let Some(plan) = plan(run)? else { return Ok(Done::plainly()) };
    if !is_decided(run, &plan).await? {
        unfence(run, &plan, plan.source.place.epoch).await?;
    }
    Ok(Done::plainly())
}

async fn copy_fenced(run: &Run<'_, Shared>, plan: &Plan) -> Result<Copied, StepError> {
    let source = store::reachable(run, &plan.source.cell).await?;
    let target = store::reachable(run, &plan.target.cell).await?;
    refuse_other_shapes(&source, &target, plan).await?;
    let rights = fence(run, plan, &source).await?;
    let snapshot = Snapshot::open(&source, &plan.source.place).await.map_err(copy_failure)?;
    let shapes = copy::shapes(&target, &plan.target.place).await.map_err(copy_failure)?;
    let pairs = pairs(snapshot.services(), &shapes)?;
    let loading = Loading::begin(&target, &plan.target.place).await.map_err(copy_failure)?;
    let mut rows = 0;
    for (from, to) in &pairs {
        rows += copy_table(&snapshot, &loading, from, to).await?;
    }
    loading.commit().await.map_err(copy_failure)?;
    snapshot.close().await;
    place::set_rights(&target, &plan.target.place, rights).await.map_err(store::place_failure)?;
    Ok(Copied { rows, tables: pairs.len(), rights })
}

/// Before anybody has to wait.
async fn refuse_other_shapes(source: &Cell, target: &Cell, plan: &Plan) -> Result<(), StepError> {
    let there = copy::shapes(source, &plan.source.place).await.map_err(copy_failure)?;
    let here = copy::shapes(target, &plan.target.place).await.map_err(copy_failure)?;
    pairs(&there, &here).map(drop)
}

async fn copy_table(
    snapshot: &Snapshot,
    loading: &Loading,
    from: &Table,
    to: &Table,
) -> Result<i64, StepError> {
    loading.clear(to).await.map_err(copy_failure)?;
    let rows = snapshot.rows(from).await.map_err(copy_failure)?;
    loading.load(to, rows).await.map_err(copy_failure)?;
    let (sent, arrived) = tokio::join!(snapshot.sum(from), loading.sum(to));
    let (sent, arrived) = (sent.map_err(copy_failure)?, arrived.map_err(copy_failure)?);
    if sent != arrived {
        let words = format!(
            "table {}.{}: {} rows with the sum {} became {} with {}",
            from.service, from.name, sent.rows, sent.hash, arrived.rows, arrived.hash
        );
        return Err(StepError::never("lifecycle.copy_differs", words));
    }
    loading.advance_counters(to).await.map_err(copy_failure)?;
    Ok(sent.rows)
}

/// Each table with the same one of the other place. Versions that differ may be the same in a moment: a new version of a
/// service's tables reaches one place after the other.
fn pairs(from: &[ServiceShape], to: &[ServiceShape]) -> Result<Vec<(Table, Table)>, StepError> {
    let mut pairs = Vec::new();
    for shape in from {
        let other = to.iter().find(|other| other.service == shape.service);
        let version = other.map_or(0, |other| other.version);
        let other = other.filter(|other| other.version == shape.version).ok_or_else(|| {
            StepError::Again(format!(
                "the tables of {} are at version {} at the source and at {version} at the target",
                shape.service, shape.version
            ))
        })?;
        for table in &shape.tables {
            let same = other.tables.iter().find(|other| other.name == table.name);
            let same = same.filter(|same| columns(same) == columns(table)).ok_or_else(|| {
                let words = format!("table {}.{} differs at the target", table.service, table.name);
                StepError::never("tenancy.tables_invalid", words)
            })?;
            // The order of columns may differ; the names say which is which, and one order is summed up.
            pairs.push((table.clone(), Table { columns: table.columns.clone(), ..same.clone() }));
        }
    }
    Ok(pairs)
}

fn columns(table: &Table) -> std::collections::BTreeSet<&str> {
    table.columns.iter().map(String::as_str).collect()
}

/// Keeps writers out; what the tenant may do otherwise. On record first, so that nobody gives rights back meanwhile.
async fn fence(run: &Run<'_, Shared>, plan: &Plan, source: &Cell) -> Result<Rights, StepError> {
    let tenant = tenant_of(run);
    for attempt in 1..=TRIES {
        let transaction = run.write().await?;
        let row = places::get(&transaction, tenant).await?;
        let row = row.ok_or_else(|| StepError::never("lifecycle.wrong_status", "the place is gone"))?;
        places::mark_fenced(&transaction, tenant).await?;
        transaction.commit_telemetry().await?;
        let place = &plan.source.place;
        let reading = row.rights.can_read();
        if place::fence(source, place, reading, PATIENCE).await.map_err(store::place_failure)? {
            return Ok(row.rights);
        }
        match plan.on_long_transactions {
            OnLongTransactions::Cancel => {
                place::end_writers(source, place).await.map_err(store::place_failure)?;
            }
            _ if attempt == TRIES => break,
            _ => {
                unfence(run, plan, place.epoch).await?;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    let words = "a transaction of the tenant that writes does not end";
    match plan.on_long_transactions {
        OnLongTransactions::Abort => Err(StepError::never("lifecycle.long_transaction", words)),
        _ => Err(StepError::Again(words.to_owned())),
    }
}

/// Gives the source back what the tenant may do, at `epoch`.
pub async fn unfence(run: &Run<'_, Shared>, plan: &Plan, epoch: u64) -> Result<(), StepError> {
    let tenant = tenant_of(run);
    let transaction = run.write().await?;
    // Whoever suspends or resumes the tenant waits.
    tenancy::lock(&transaction, tenant).await?;
    let row = places::fenced(&transaction, tenant).await?;
    let Some(row) = row else { return Ok(transaction.rollback().await?) };
    let source = store::reachable(run, &plan.source.cell).await?;
    let epoch = epoch.max(row.place.epoch);
    let place = &plan.source.place;
    place::set_epoch(&source, place, epoch).await.map_err(store::place_failure)?;
    place::set_rights(&source, place, row.rights).await.map_err(store::place_failure)?;
    places::unfence(&transaction, tenant, row.rights, epoch).await?;
    transaction.commit_telemetry().await?;
    Ok(())
}

pub fn copy_failure(error: CopyError) -> StepError {
    StepError::again(error)
}
