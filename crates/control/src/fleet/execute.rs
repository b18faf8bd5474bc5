//! Carrying rollouts out: wave by wave, four schemas at once in each cell.

use std::time::Duration;

use jiff::SignedDuration;
use rowhouse_domain::access::Permit;
use rowhouse_store::{StoreError, Topic};
use rowhouse_tenantdb::tables::ServiceTables;
use tokio::sync::watch;
use tokio::time::interval;

use super::queries::{self, Counts, RolloutRow, Target};
use super::together::together;
use crate::tenancy::service_tables::{BringError, bring, of_service};
use crate::{Control, Shared};

/// Schemas at once in a cell.
const PARALLEL: usize = 4;
/// Waits before the second and later tries of what may pass, in seconds; then it has failed.
const RETRIES_S: [i64; 5] = [1, 2, 4, 8, 16];
/// After so long a schema is taken again, should its process have died; two at one are harmless, one waits for the other.
const LEASE: SignedDuration = SignedDuration::from_secs(60);
/// How often due retries are looked for.
const PACE: Duration = Duration::from_millis(500);

const REASON: &str = "a rollout";

/// Carries rollouts out until `shutdown`. What a dead process of this node's name had begun is begun again at once.
pub async fn run(control: Shared, mut shutdown: watch::Receiver<bool>) {
    let mut pace = interval(PACE);
    let mut committed = control.store.touched(Topic::Rollouts);
    let mut is_free = false;
    loop {
        let worked = async {
            if !is_free {
                free_own(&control).await?;
                is_free = true;
            }
            round(&control).await
        };
        match worked.await {
            Ok(true) if !*shutdown.borrow() => continue,
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "rollouts stand still; trying again"),
        }
        tokio::select! {
            _ = pace.tick() => {}
            changed = committed.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            _ = shutdown.wait_for(|wanted| *wanted) => return,
        }
    }
}

async fn free_own(control: &Control) -> Result<(), StoreError> {
    let transaction = control.store.write(&Permit::for_system(None, REASON)).await?;
    queries::free_own(&transaction, &control.settings.node, control.clock().now()).await?;
    transaction.commit_telemetry().await
}

/// Does what is due of every running rollout; whether there was anything.
///
/// # Errors
/// If the control database is away.
pub async fn round(control: &Control) -> Result<bool, StoreError> {
    let transaction = control.store.read(&Permit::for_system(None, REASON)).await?;
    let rollouts = queries::running(&transaction).await?;
    let mut due = Vec::new();
    for rollout in rollouts {
        let cells = queries::cells_due(&transaction, &rollout, control.clock().now()).await?;
        let tables = of_service(&transaction, &rollout.service).await?;
        due.push((rollout, cells, tables));
    }
    transaction.finish().await?;
    let mut worked = false;
    for (rollout, cells, tables) in due {
        if let Some(tables) = tables.filter(|tables| tables.version() >= rollout.version) {
            let tables = up_to(tables, rollout.version);
            let workers = cells.iter().flat_map(|cell| (0..PARALLEL).map(move |_| cell));
            together(workers.map(|cell| Box::pin(work(control, &rollout, cell, &tables)) as _).collect())
                .await;
            worked |= !cells.is_empty();
        }
        worked |= judge(control, &rollout).await?;
    }
    Ok(worked)
}

/// The migrations of a later version wait for their own rollout.
fn up_to(mut tables: ServiceTables, version: i32) -> ServiceTables {
    tables.migrations.retain(|migration| migration.number <= version);
    tables
}

/// One of the workers of a cell: takes what is due until nothing is.
async fn work(control: &Control, rollout: &RolloutRow, cell: &str, tables: &ServiceTables) {
    loop {
        match one(control, rollout, cell, tables).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(%error, cell, "a schema's migration could not be recorded; it is looked at again");
                return;
            }
        }
    }
}

async fn one(
    control: &Control,
    rollout: &RolloutRow,
    cell: &str,
    tables: &ServiceTables,
) -> Result<bool, StoreError> {
    let permit = Permit::for_system(None, REASON);
    let transaction = control.store.write(&permit).await?;
    let now = control.clock().now();
    let node = control.settings.node.as_str();
    let claimed = queries::claim(&transaction, rollout, (cell, node), (now, now + LEASE)).await?;
    transaction.commit_telemetry().await?;
    let Some(target) = claimed else { return Ok(false) };
    let place = (target.cell.as_str(), target.database.as_str(), target.schema.as_str());
    let brought = bring(control, place, target.tenant, tables).await;
    let now = control.clock().now();
    let (state, problem, run_at) = match outcome(brought, &target) {
        Outcome::Is(state, problem) => (state, problem, now),
        Outcome::Later(wait_s, problem) => {
            ("waiting", Some(problem), now + SignedDuration::from_secs(wait_s))
        }
    };
    if let Some(problem) = &problem {
        tracing::warn!(rollout = %rollout.id, schema = target.schema, state, problem, "a migration of a schema");
    }
    let transaction = control.store.write(&permit).await?;
    queries::settle(&transaction, rollout.id, &target, (state, problem.as_deref()), (now, run_at)).await?;
    transaction.commit_telemetry().await?;
    Ok(true)
}

enum Outcome {
    Is(&'static str, Option<String>),
    /// Again after so many seconds.
    Later(i64, String),
}

fn outcome(brought: Result<i32, BringError>, target: &Target) -> Outcome {
    let tries = usize::try_from(target.attempts - 1).unwrap_or(0);
    match brought {
        Ok(_) => Outcome::Is("done", None),
        Err(BringError::Gone) => Outcome::Is("skipped", Some(BringError::Gone.to_string())),
        Err(error) => {
            let passing = match &error {
                BringError::Install(problem) => problem.is_passing(),
                BringError::Store(_) | BringError::Gone => true,
            };
            match RETRIES_S.get(tries).filter(|_| passing) {
                Some(wait_s) => Outcome::Later(*wait_s, error.to_string()),
                None => Outcome::Is("failed", Some(error.to_string())),
            }
        }
    }
}

/// Ends the wave, stops the rollout or ends it; whether anything changed.
async fn judge(control: &Control, before: &RolloutRow) -> Result<bool, StoreError> {
    let transaction = control.store.write(&Permit::for_system(None, REASON)).await?;
    // Somebody may have stopped it meanwhile.
    let row = queries::lock(&transaction, before.id).await?.filter(|row| row.state == "running");
    let Some(row) = row else {
        transaction.finish().await?;
        return Ok(false);
    };
    let counts = queries::counts(&transaction, row.id).await?;
    let of_wave =
        counts.iter().find(|(wave, _)| *wave == row.wave).map_or(Counts::default(), |(_, counts)| *counts);
    let now = control.clock().now();
    if let Some(reason) = reason_to_stop(&row, of_wave) {
        tracing::error!(rollout = %row.id, service = row.service, reason, "a rollout has stopped");
        queries::set(&transaction, row.id, ("stopped", row.wave, Some(&reason)), None).await?;
    } else if of_wave.open() > 0 {
        transaction.finish().await?;
        return Ok(false);
    } else if row.wave + 1 < i32::try_from(row.waves.len()).expect("waves are few") {
        queries::set(&transaction, row.id, ("running", row.wave + 1, None), None).await?;
    } else {
        let failed: i64 = counts.iter().map(|(_, counts)| counts.failed).sum();
        let state = if failed == 0 { "done" } else { "incomplete" };
        queries::set(&transaction, row.id, (state, row.wave, None), Some(now)).await?;
    }
    transaction.commit_telemetry().await?;
    Ok(true)
}

/// One failure in the wave of the canaries; later five, or one in a hundred.
fn reason_to_stop(row: &RolloutRow, of_wave: Counts) -> Option<String> {
    if row.on_failure == "continue" || of_wave.failed == 0 {
        return None;
    }
    let name = &row.waves[usize::try_from(row.wave).unwrap_or(0)];
    let too_many = name == "canary" || of_wave.failed >= 5 || of_wave.failed * 100 >= of_wave.all();
    too_many.then(|| format!("{} of {} failed in wave {name}", of_wave.failed, of_wave.all()))
}
