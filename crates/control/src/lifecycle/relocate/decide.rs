//! The decision: one transaction of the control database, after which the tenant lies at the target.

use std::time::Duration;

use rowhouse_store::sagas::{Done, Run, StepError, StepResult};
use rowhouse_store::{Change, Notice, Transaction};
use rowhouse_tenantdb::place;
use serde_json::json;
use tokio::time::{Instant, interval, timeout_at};

use super::super::provision::{store, tenant_of};
use super::copy::{Copied, unfence};
use super::plan::{Plan, is_decided, is_target, plan};
use super::remove;
use crate::Shared;
use crate::tenancy::{self, places, service_tables};

/// How long the removal of the source waits for the gateway to know.
const IN_FORCE_MAX: Duration = Duration::from_secs(5);
const IN_FORCE_LOOK: Duration = Duration::from_millis(10);

/// Ends the source for good, then decides. Twice is once.
pub async fn decide(run: &Run<'_, Shared>) -> StepResult {
    let Some(plan) = plan(run)? else { return Ok(Done::plainly()) };
    if !is_decided(run, &plan).await? {
        // New versions of tables reach settled places only; the target has its rows already and takes them with it.
        store::install_at(run, &plan.target).await?;
        let source = store::reachable(run, &plan.source.cell).await?;
        let ended = place::set_epoch(&source, &plan.source.place, plan.target.place.epoch).await;
        ended.map_err(store::place_failure)?;
        record(run, &plan).await?;
    }
    let in_force = wait_until_in_force(run, &plan).await;
    Ok(Done::with(
        &json!({ "isolation": plan.target.place.isolation, "cell": plan.target.cell, "in_force": in_force }),
    ))
}

async fn record(run: &Run<'_, Shared>, plan: &Plan) -> Result<(), StepError> {
    let tenant = tenant_of(run);
    let copied: Copied = run.expect_output("move_copy")?;
    let transaction = run.write().await?;
    // Whoever changes the tenant waits; so does whoever changes services' tables.
    tenancy::lock(&transaction, tenant).await?;
    refuse_old_tables(&transaction, plan).await?;
    let row = places::get(&transaction, tenant).await?;
    if row.is_some_and(|row| is_target(&row, plan)) {
        transaction.rollback().await?;
        return Ok(());
    }
    places::decide(&transaction, &plan.target.cell, &plan.target.place, copied.rights).await?;
    let change = Change::new(tenant, "lifecycle.tenant_moved", "update", transaction.principal())
        .on("tenant", tenant)
        .details(json!({
            "from": plan.source.place.isolation, "to": plan.target.place.isolation,
            "cell": plan.target.cell, "epoch": plan.target.place.epoch, "rows": copied.rows,
            "operation": run.saga.operation(),
        }))
        .notify(Notice::tenant(tenant));
    Ok(transaction.commit(change).await?)
}

async fn refuse_old_tables(transaction: &Transaction, plan: &Plan) -> Result<(), StepError> {
    let wanted = service_tables::hold_versions(transaction).await?;
    let installed = service_tables::installed(transaction, &plan.target.cell, &plan.target.place).await?;
    let old = wanted.iter().find(|(service, version)| {
        !installed.iter().any(|own| own.service == *service && own.version == *version)
    });
    match old {
        Some((service, _)) => Err(StepError::Again(format!("the tables of {service} changed meanwhile"))),
        None => Ok(()),
    }
}

/// After the decision: forward, to the end. Before it: the source is opened again, at an epoch that nothing has had.
pub async fn undo(run: &Run<'_, Shared>) -> StepResult {
    let Some(plan) = plan(run)? else { return Ok(Done::plainly()) };
    if is_decided(run, &plan).await? {
        return remove::remove(run).await;
    }
    unfence(run, &plan, plan.target.place.epoch + 1).await?;
    Ok(Done::plainly())
}

/// The gateway sends requests to own processes by the level of its directory.
async fn wait_until_in_force(run: &Run<'_, Shared>, plan: &Plan) -> bool {
    let tenant = tenant_of(run);
    let mut look = interval(IN_FORCE_LOOK);
    let known = async {
        loop {
            let directory = run.context.directory.current();
            let level = directory.tenants.get(&tenant).map(|entry| entry.isolation);
            if level == Some(plan.target.place.isolation) {
                return;
            }
            look.tick().await;
        }
    };
    timeout_at(Instant::now() + IN_FORCE_MAX, known).await.is_ok()
}
