//! Jobs of what all faces share, and the worker that runs jobs of every feature.
//!
//! `api.sweep` removes what has outlived its use: idempotency keys after 24 hours, notices after a day, jobs that were
//! done a day ago. Each sweep leaves the next one; the id of a sweep is made from its hour, so that two processes make
//! one.

use std::time::Duration;

use rowhouse_domain::access::Permit;
use rowhouse_store::jobs::{self, Claimed};
use rowhouse_store::{StoreError, Transaction};
use serde_json::json;
use tokio::sync::watch;
use uuid::Uuid;

use crate::{Control, Shared, identity};

/// The kind of the sweep.
const SWEEP: &str = "api.sweep";
/// How often things are swept.
const EVERY_S: i64 = 3600;
/// What is kept at least.
const KEPT: &str = "24 hours";
/// How often the worker looks when nothing wakes it.
const BACKSTOP: Duration = Duration::from_secs(5);

/// Runs jobs that are due, one at a time, until `shutdown`.
pub async fn run(control: Shared, mut shutdown: watch::Receiver<bool>) {
    let mut beat = tokio::time::interval(BACKSTOP);
    while !*shutdown.borrow() {
        match turn(&control).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "jobs wait"),
        }
        tokio::select! {
            _ = beat.tick() => {}
            _ = shutdown.wait_for(|wanted| *wanted) => {}
        }
    }
}

/// Runs the job that has been due longest; whether there was one. The sweep of this hour is put in first.
pub async fn turn(control: &Control) -> Result<bool, StoreError> {
    plan_sweep(control).await?;
    let Some(job) = jobs::claim(&control.store).await? else { return Ok(false) };
    let outcome = perform(control, &job).await;
    if let Err(problem) = &outcome {
        tracing::warn!(
            kind = job.kind,
            attempt = job.attempt,
            problem,
            left = jobs::ATTEMPTS_MAX - job.attempt,
            "a job failed; it is tried again while tries are left, then left for a person"
        );
    }
    jobs::settle(&control.store, &job, outcome).await?;
    Ok(true)
}

async fn perform(control: &Control, job: &Claimed) -> Result<(), String> {
    match job.kind.as_str() {
        SWEEP => sweep(control).await.map_err(|error| error.to_string()),
        other => Err(format!("this binary knows no job of kind `{other}`")),
    }
}

async fn plan_sweep(control: &Control) -> Result<(), StoreError> {
    let hour = control.clock().now_s().div_euclid(EVERY_S);
    let run_at =
        jiff::Timestamp::from_second(hour * EVERY_S).expect("clocks stay within the years 0 to 9999");
    let id = Uuid::from_u128(u128::from_be_bytes(*b"rowhouse-sweep\0\0") ^ hour.unsigned_abs() as u128);
    let transaction = begin(control).await?;
    jobs::enqueue(&transaction, id, SWEEP, &json!({}), run_at).await?;
    transaction.commit_telemetry().await
}

async fn begin(control: &Control) -> Result<Transaction, StoreError> {
    control.store.write(&Permit::for_system(None, "sweep of what is over")).await
}

async fn sweep(control: &Control) -> Result<(), StoreError> {
    let transaction = begin(control).await?;
    let now = control.clock().now();
    for statement in [
        "DELETE FROM api.idempotency WHERE created_at < $1::timestamptz - ($2::text)::interval",
        // The newest stays: the directory's version is made of its id.
        "DELETE FROM api.notices WHERE at < $1::timestamptz - ($2::text)::interval AND id < (SELECT max(id) FROM api.notices)",
        "DELETE FROM api.jobs WHERE done_at < $1::timestamptz - ($2::text)::interval",
    ] {
        transaction.execute(statement, &[&now, &KEPT]).await?;
    }
    identity::sweep(&transaction).await?;
    transaction.commit_telemetry().await
}
