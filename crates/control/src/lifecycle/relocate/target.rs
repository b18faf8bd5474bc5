//! The target: made like a place that is provisioned, and taken away again unless the tenant lies there by now.

use rowhouse_domain::tenancy::Isolation;
use rowhouse_store::sagas::{Done, Run, StepResult};
use serde_json::json;

use super::super::provision::{proof, store};
use super::plan::{is_decided, plan};
use crate::tenancy::{cells, places};
use crate::{Shared, deploy};

/// Makes server, database, schema and login; nobody is told of them.
pub async fn make(run: &Run<'_, Shared>) -> StepResult {
    match plan(run)? {
        Some(plan) => store::make_at(run, &plan.target).await,
        None => Ok(Done::plainly()),
    }
}

/// Installs every service's tables, and tries the place out before anything is trusted to it.
pub async fn install(run: &Run<'_, Shared>) -> StepResult {
    let Some(plan) = plan(run)? else { return Ok(Done::plainly()) };
    let installed = store::install_at(run, &plan.target).await?;
    let proven = proof::verify_at(run, &plan.target).await?;
    Ok(Done::with(&json!({ "tables": installed.output, "proof": proven.output })))
}

/// Starts the tenant's own processes on level `instance`; the gateway is told of them by the decision.
pub async fn deploy(run: &Run<'_, Shared>) -> StepResult {
    match plan(run)? {
        Some(plan) => store::deploy_at(run, &plan.target).await,
        None => Ok(Done::plainly()),
    }
}

pub async fn take_processes_away(run: &Run<'_, Shared>) -> StepResult {
    match plan(run)? {
        Some(plan) if plan.target.directory.is_some() && !is_decided(run, &plan).await? => {
            store::take_processes_away(run).await
        }
        _ => Ok(Done::plainly()),
    }
}

/// Removes the target. Never what the tenant lies in: a move that was decided is not undone.
pub async fn take_away(run: &Run<'_, Shared>) -> StepResult {
    let Some(plan) = plan(run)? else { return Ok(Done::plainly()) };
    if is_decided(run, &plan).await? {
        return Ok(Done::plainly());
    }
    let was_made = plan.target.directory.is_none() || instance_is_there(run).await?;
    if was_made {
        store::take_away_at(run, &plan.target).await?;
    }
    let transaction = run.write().await?;
    places::forget_other(&transaction, &plan.target.cell, &plan.target.place).await?;
    if plan.target.place.isolation == Isolation::Instance {
        deploy::forget(&transaction, plan.target.place.tenant).await?;
        cells::remove(&transaction, &plan.target.cell).await?;
    }
    transaction.commit_telemetry().await?;
    Ok(Done::plainly())
}

/// A server that was never asked for has nobody who could take it away.
async fn instance_is_there(run: &Run<'_, Shared>) -> Result<bool, rowhouse_store::sagas::StepError> {
    let transaction = run.write().await?;
    let there = deploy::get(&transaction, super::super::provision::tenant_of(run)).await?.is_some();
    transaction.rollback().await?;
    Ok(there)
}
