//! The worker: enters the day's backups, takes what is due, and removes what has expired.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rowhouse_domain::access::{Permit, Principal};
use rowhouse_domain::id::{BackupId, OPERATOR_TENANT};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, StoreError, Topic};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::begin::{Wanted, enter, is_backed_up, last_due_us};
use super::folder::Folder;
use super::held::{single, whole};
use super::queries::{self, BackupRow};
use super::take::{TakeError, Taken, take};
use crate::audit::holds;
use crate::tenancy::{self, TenantKeyError, residency};
use crate::{Control, Shared};

/// How often what is due is looked for when nothing in this process says that there is something.
const BACKSTOP: Duration = Duration::from_secs(1);
/// How long a claim lasts without being renewed.
const LEASE: SignedDuration = SignedDuration::from_secs(30);
const RENEW: Duration = Duration::from_secs(10);
/// Tries before a backup has failed.
const ATTEMPTS_MAX: i32 = 4;

/// Works until `shutdown`.
pub async fn run(control: Shared, mut shutdown: watch::Receiver<bool>) {
    tokio::select! {
        () = work(&control) => {}
        _ = shutdown.wait_for(|wanted| *wanted) => {}
    }
}

async fn work(control: &Control) {
    let mut committed = control.store.touched(Topic::Backups);
    let mut backstop = interval(BACKSTOP);
    backstop.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut scheduled_us = None;
    // What this node had claimed before it was started again.
    let mut is_dropped = true;
    loop {
        let due_us = last_due_us(control.clock().now_us(), control.settings.backups.at_minute);
        if scheduled_us != Some(due_us) {
            match schedule(control, due_us).await {
                Ok(_) => scheduled_us = Some(due_us),
                Err(error) => tracing::error!(%error, "the day's backups could not be entered"),
            }
        }
        // Nobody works on them here any more: they need not wait until the claims have run out.
        if is_dropped && take_over(control).await.is_ok() {
            is_dropped = false;
        }
        match take_one(control).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => {
                tracing::error!(%error, "a backup could not be taken further");
                is_dropped = true;
            }
        }
        if let Err(error) = expire(control).await {
            tracing::error!(%error, "what has expired could not be removed");
        }
        tokio::select! {
            _ = committed.changed() => {}
            _ = backstop.tick() => {}
        }
    }
}

fn system() -> Principal {
    Permit::for_system(None, "backups").principal()
}

/// Enters a backup of the day that was due at `due_us` for every tenant that was there then. How many were new.
///
/// # Errors
/// If the control database is away.
pub async fn schedule(control: &Control, due_us: i64) -> Result<usize, Refusal> {
    let due = Timestamp::from_microsecond(due_us).map_err(|_| StoreError::Stored { what: "a time" })?;
    let transaction = control.store.read(&Permit::for_system(None, "the day's backups")).await?;
    let tenants = tenancy::load_tenants(&transaction, None).await?;
    transaction.finish().await?;
    let mut entered = 0;
    let customers = tenants.iter().filter(|tenant| tenant.id != OPERATOR_TENANT);
    for tenant in customers.filter(|tenant| is_backed_up(tenant.status)) {
        let permit = Permit::for_system(Some(tenant.id), "the day's backup");
        let transaction = control.store.write(&permit).await?;
        let record = tenancy::get(&transaction, tenant.id).await?;
        let was_there = record.and_then(|record| record.activated_at).is_some_and(|at| at <= due);
        let wanted = Wanted { cause: "schedule", day: Some(due), note: "", by: system() };
        let id = match was_there {
            true => enter(control, &transaction, tenant, &wanted).await?,
            false => None,
        };
        match id {
            Some(id) => {
                entered += 1;
                let change = Change::new(tenant.id, "lifecycle.backup_requested", "create", system());
                transaction.commit(change.on("backup", id).details(json!({ "kind": "snapshot" }))).await?;
            }
            None => transaction.rollback().await?,
        }
    }
    Ok(entered)
}

/// Frees what this node had claimed before it ended: it is begun anew at once. How many.
///
/// # Errors
/// If the control database is away.
pub async fn take_over(control: &Control) -> Result<u64, StoreError> {
    let transaction = control.store.write(&Permit::for_system(None, "backups")).await?;
    let freed = queries::free(&transaction, &control.settings.node).await?;
    transaction.commit_telemetry().await?;
    Ok(freed)
}

/// Takes the backup that has been due longest; whether there was one.
///
/// # Errors
/// If the control database is away; the backup is begun anew when the claim has run out.
pub async fn take_one(control: &Control) -> Result<bool, StoreError> {
    let transaction = control.store.write(&Permit::for_system(None, "backups")).await?;
    let until = control.clock().now() + LEASE;
    let Some(row) = queries::claim(&transaction, &control.settings.node, until).await? else {
        transaction.finish().await?;
        return Ok(false);
    };
    transaction.commit_telemetry().await?;
    let file = format!("{}-{}.rhseal", row.id, row.attempts);
    let outcome = tokio::select! {
        outcome = into_file(control, &row, &file) => outcome,
        () = renewing(control, &row) => {
            remove(control, &row, &file).await;
            return Ok(true);
        }
    };
    let is_wanted = match outcome {
        Ok(taken) => succeed(control, &row, &file, &taken).await?,
        Err(error) => {
            fail(control, &row, &error).await?;
            false
        }
    };
    if !is_wanted {
        remove(control, &row, &file).await;
    }
    Ok(true)
}

/// Removes the file of a try that came to nothing, or that nobody wants any more, and its folder if it was the only one.
async fn remove(control: &Control, row: &BackupRow, file: &str) {
    let removed = async {
        for folder in Folder::everywhere(&control.settings.backups, row.tenant).await? {
            folder.remove(file).await?;
            folder.remove_if_empty().await?;
        }
        Ok::<(), std::io::Error>(())
    };
    if let Err(error) = removed.await {
        tracing::error!(%error, backup = %row.id, "the file of a backup that failed could not be removed");
    }
}

/// Whatever an earlier try has left goes first; one that still writes finds its file gone.
async fn into_file(control: &Control, row: &BackupRow, file: &str) -> Result<Taken, TakeError> {
    let permit = Permit::for_system(Some(row.tenant), "a backup");
    let transaction = control.store.read(&permit).await?;
    let resident = residency::resident(control, &transaction, row.tenant, &row.region).await;
    transaction.finish().await?;
    let resident = resident.map_err(|refusal| std::io::Error::other(refusal.detail().to_owned()))?;
    let folder = Folder::open(&control.settings.backups, &resident).await?;
    folder.remove(&format!("{}-", row.id)).await?;
    take(control, row.tenant, row.id, &folder.file(file)).await
}

/// Returns when the claim is lost.
async fn renewing(control: &Control, row: &BackupRow) {
    let mut renewals = interval(RENEW);
    renewals.tick().await;
    loop {
        renewals.tick().await;
        let renewed = async {
            let transaction = control.store.write(&Permit::for_system(None, "backups")).await?;
            let held = queries::renew(&transaction, row, control.clock().now() + LEASE).await?;
            transaction.commit_telemetry().await?;
            Ok::<bool, StoreError>(held)
        };
        if !renewed.await.unwrap_or(false) {
            return;
        }
    }
}

/// Whether it was still wanted.
async fn succeed(control: &Control, row: &BackupRow, file: &str, taken: &Taken) -> Result<bool, StoreError> {
    let permit = Permit::for_system(Some(row.tenant), "a backup");
    let transaction = control.store.write(&permit).await?;
    if !queries::succeed(&transaction, row, file, taken).await? {
        transaction.rollback().await?;
        return Ok(false);
    }
    let rows: i64 = taken.manifest.tables.iter().map(|line| line.sum.rows).sum();
    let change = Change::new(row.tenant, "lifecycle.backup_taken", "create", transaction.principal())
        .on("backup", row.id)
        .details(
            json!({ "rows": rows, "tables": taken.manifest.tables.len(), "bytes": taken.written.bytes }),
        );
    transaction.commit(change).await?;
    Ok(true)
}

async fn fail(control: &Control, row: &BackupRow, error: &TakeError) -> Result<(), StoreError> {
    let problem = with_causes(error);
    tracing::warn!(backup = %row.id, tenant = %row.tenant, problem, attempt = row.attempts, "a backup failed");
    let is_final = row.attempts >= ATTEMPTS_MAX || matches!(error, TakeError::Key(TenantKeyError::Destroyed));
    let wait = SignedDuration::from_secs(5_i64.pow(u32::try_from(row.attempts).unwrap_or(1).min(4)));
    let again = (!is_final).then(|| control.clock().now() + wait);
    let permit = Permit::for_system(Some(row.tenant), "a backup");
    let transaction = control.store.write(&permit).await?;
    let counts = queries::fail(&transaction, row, &problem, again).await?;
    match (counts, again) {
        (false, _) => transaction.rollback().await,
        (true, Some(_)) => transaction.commit_telemetry().await,
        (true, None) => {
            let change =
                Change::new(row.tenant, "lifecycle.backup_failed", "create", transaction.principal())
                    .on("backup", row.id)
                    .details(json!({ "attempts": row.attempts }));
            transaction.commit(change).await
        }
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) if !error.to_string().ends_with(&cause.to_string()) => {
            format!("{error}: {}", with_causes(cause))
        }
        Some(cause) => with_causes(cause),
        None => error.to_string(),
    }
}

/// Removes backups, restored copies and exports whose time is over and which no legal hold keeps. How many there were.
///
/// # Errors
/// With the first that could not be removed; the others wait for the next call.
pub async fn expire(control: &Control) -> Result<usize, Refusal> {
    let transaction = control.store.read(&Permit::for_system(None, "expiry")).await?;
    let held = holds::in_force(&transaction).await?;
    let over =
        queries::expiring(&transaction, (&whole(&held), &single(&held, "backup", |id: BackupId| id.0)))
            .await?;
    transaction.finish().await?;
    for row in &over {
        expire_one(control, row).await?;
    }
    let copies = super::super::restore::expire(control).await?;
    let exports = super::super::export::expire(control).await?;
    Ok(over.len() + copies + exports)
}

async fn expire_one(control: &Control, row: &BackupRow) -> Result<(), Refusal> {
    let permit = Permit::for_system(Some(row.tenant), "expiry");
    let transaction = control.store.write(&permit).await?;
    let resident = residency::resident(control, &transaction, row.tenant, &row.region).await?;
    let removed = Folder::of(&control.settings.backups, &resident).remove(&format!("{}-", row.id)).await;
    removed.map_err(unremovable)?;
    if !queries::expire(&transaction, row.id).await? {
        return Ok(transaction.rollback().await?);
    }
    let change = Change::new(row.tenant, "lifecycle.backup_expired", "delete", transaction.principal());
    Ok(transaction.commit(change.on("backup", row.id)).await?)
}

/// A file stands where it should be gone.
pub(in crate::lifecycle) fn unremovable(error: std::io::Error) -> Refusal {
    Refusal::new(&kind::UNAVAILABLE, "A file could not be removed.").private(error.to_string())
}
