//! The steps of leaving for good, but for the certificate.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use rowhouse_domain::access::Permit;
use rowhouse_domain::tenancy::Status;
use rowhouse_store::sagas::{Done, InventoryKind, Run, StepError, StepResult};
use rowhouse_store::{Change, Notice, Transaction};
use rowhouse_tenantdb::place::erase::{self, Held, Searched};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::Sha256;

use super::{KEPT, Params};
use crate::lifecycle::provision::place::Placed;
use crate::lifecycle::provision::store::{place_failure, reachable, stop_processes, take_away_at};
use crate::lifecycle::provision::{failure, tenant_of};
use crate::lifecycle::{backup, queries, tell};
use crate::tenancy::{self, cells, places, tombstones};
use crate::{Shared, audit, deploy, identity, metering};

/// What was there when the erasure began; later steps have nobody else to ask.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Beginning {
    /// Where it lay, if it lay anywhere.
    pub placed: Option<Placed>,
    /// On which level.
    pub isolation: String,
    /// When it began.
    pub at: Timestamp,
}

/// Notes where everything lies. A tenant that was taken back meanwhile is left alone.
pub async fn begin(run: &Run<'_, Shared>, transaction: &Transaction) -> StepResult {
    let tenant = tenant_of(run);
    let record = tenancy::lock(transaction, tenant).await?;
    let record = record.ok_or_else(|| StepError::never("api.not_found", "the tenant is gone"))?;
    if record.tenant.status != Status::Leaving {
        let words = format!("the tenant is {}", record.tenant.status.as_str());
        return Err(StepError::never("lifecycle.wrong_status", words));
    }
    tell::remember_leaver(run.context, transaction, tenant).await?;
    let instance = deploy::get(transaction, tenant).await?;
    let placed = places::get(transaction, tenant).await?.map(|row| Placed {
        cell: row.cell,
        place: row.place,
        directory: instance.as_ref().map(|row| row.desired.directory.clone()),
        ids: instance.as_ref().and_then(|row| row.desired.ids),
    });
    let isolation = record.tenant.isolation.as_str().to_owned();
    Ok(Done::with(&Beginning { placed, isolation, at: run.context.clock().now() }))
}

/// 32 hexadecimal digits that only this installation can know, and that stand nowhere but where they are written.
fn marker(run: &Run<'_, Shared>) -> String {
    let key = &run.context.settings.sealing_key;
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(b"rowhouse erasure marker v1");
    mac.update(run.saga.id.as_bytes());
    mac.finalize().into_bytes().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn beginning(run: &Run<'_, Shared>) -> Result<Beginning, StepError> {
    run.expect_output("begin")
}

/// Counts what the place holds and writes the marker there.
pub async fn mark(run: &Run<'_, Shared>) -> StepResult {
    let Some(placed) = beginning(run)?.placed else { return Ok(Done::with(&Held::default())) };
    let cell = reachable(run, &placed.cell).await?;
    let held = erase::mark(&cell, &placed.place, &marker(run)).await.map_err(place_failure)?;
    Ok(Done::with(&held))
}

/// Processes, database, server with its files: all that the inventory names is removed.
pub async fn erase(run: &Run<'_, Shared>) -> StepResult {
    // Restored copies lie in the same cell: they go before a server of the tenant's own does.
    let copies = backup::erase_all(run.context, tenant_of(run)).await.map_err(failure)?;
    if let Some(placed) = beginning(run)?.placed {
        stop_processes(run).await?;
        take_away_at(run, &placed).await?;
    }
    for kind in [InventoryKind::Process, InventoryKind::Port] {
        for name in run.held(kind).await? {
            run.gone(kind, &name).await?;
        }
    }
    Ok(Done::with(&copies))
}

/// Writes anew what held its rows.
pub async fn scrub(run: &Run<'_, Shared>) -> StepResult {
    if let Some(placed) = beginning(run)?.placed.filter(|placed| placed.directory.is_none()) {
        let held: Held = run.output("mark")?.unwrap_or_default();
        let cell = reachable(run, &placed.cell).await?;
        erase::scrub(&cell, &placed.place, &held).await.map_err(place_failure)?;
    }
    Ok(Done::plainly())
}

/// What was removed from the control database.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Forgotten {
    /// Table and number of rows.
    pub rows: Vec<(String, i64)>,
    /// Reports of usage whose content was removed.
    pub reports: i64,
    /// Domains of its own that went into quarantine.
    #[serde(default)]
    pub hosts: u64,
    /// When the tenant's key was destroyed: what it sealed is erased wherever it lies.
    pub key_destroyed_at: Option<Timestamp>,
    /// When.
    pub at: Option<Timestamp>,
}

/// Keys, grants, configuration, hosts, its place: every row of it that is not kept for a reason.
pub async fn forget(run: &Run<'_, Shared>, transaction: &Transaction) -> StepResult {
    let tenant = tenant_of(run);
    tombstones::begin_erasure(transaction, tenant).await?;
    places::forget(transaction, tenant).await?;
    deploy::forget(transaction, tenant).await?;
    if let Some(Placed { cell, directory: Some(_), .. }) = beginning(run)?.placed {
        cells::remove(transaction, &cell).await?;
    }
    let key_destroyed_at = Some(tenancy::destroy_tenant_key(transaction, tenant).await?);
    identity::erase_tenant(transaction, tenant).await?;
    let hosts = tenancy::quarantine_hosts(transaction, tenant).await?;
    let reports = metering::forget_details(transaction, tenant).await?;
    let rows = queries::erase_rows(transaction, tenant, &KEPT).await?;
    let forgotten = Forgotten { rows, reports, hosts, key_destroyed_at, at: Some(run.context.clock().now()) };
    let change = Change::new(tenant, "lifecycle.tenant_erased", "delete", transaction.principal())
        .on("tenant", tenant)
        .details(json!({ "operation": run.saga.operation() }))
        .notify(Notice::tenant(tenant));
    Ok(Done::with(&forgotten).change(change))
}

/// What the search came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Swept {
    /// When.
    pub at: Timestamp,
    /// In the cell.
    pub cell: Searched,
    /// Tables of the control database that were asked.
    pub tables: u64,
}

/// What was under way when the rows and the files went, and has come to rest since: a backup that was being written, a row of
/// who had asked before.
async fn remove_what_came_late(run: &Run<'_, Shared>) -> Result<(), StepError> {
    let tenant = tenant_of(run);
    backup::remove_files(run.context, tenant).await.map_err(failure)?;
    let transaction = run.write().await?;
    let late = queries::erase_rows(&transaction, tenant, &KEPT).await?;
    transaction.commit_telemetry().await?;
    if !late.is_empty() {
        tracing::info!(%tenant, tables = ?late, "rows that came after the erasure are erased, too");
    }
    Ok(())
}

/// How often files are written anew in one try in which the search has found something, and how long who was at work then may take.
const SEARCHES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);

/// Searches the cell. Rows that are erased stay in a file while an older transaction may still see them, and who writes the
/// same table anew just then copies them: then its files are written anew once more, and searched again; and if somebody still sees
/// the rows (a backup of another tenant that takes long), the whole is tried again later.
async fn search_again_after_others(run: &Run<'_, Shared>, placed: &Placed) -> Result<Searched, StepError> {
    let held: Held = run.output("mark")?.unwrap_or_default();
    let cell = reachable(run, &placed.cell).await?;
    let marker = marker(run);
    let search = || erase::search(&cell, &placed.place, &marker);
    let mut searched = search().await.map_err(place_failure)?;
    let only_in_files =
        |found: &[String]| !found.is_empty() && found.iter().all(|found| found.starts_with("file "));
    for _ in 1..SEARCHES {
        if !only_in_files(&searched.found) {
            return Ok(searched);
        }
        tokio::time::sleep(PAUSE).await;
        erase::scrub(&cell, &placed.place, &held).await.map_err(place_failure)?;
        searched = search().await.map_err(place_failure)?;
    }
    match only_in_files(&searched.found) {
        true => Err(StepError::Again(format!(
            "somebody who began before the erasure may still see the rows: {}",
            searched.found.join("; ")
        ))),
        false => Ok(searched),
    }
}

/// Searches the cell, the control database and the directories. Whatever is found stops the saga: a person must look.
pub async fn sweep(run: &Run<'_, Shared>) -> StepResult {
    remove_what_came_late(run).await?;
    let mut searched = Searched::default();
    if let Some(placed) = beginning(run)?.placed {
        match &placed.directory {
            None => {
                searched = search_again_after_others(run, &placed).await?;
            }
            Some(directory) => {
                let path = run.context.settings.deploy.directory.join(directory);
                if path.exists() {
                    searched.found.push(format!("directory {}", path.display()));
                }
            }
        }
    }
    let files = backup::files_of(run.context, tenant_of(run)).await.map_err(failure)?;
    searched.found.extend(files.iter().map(|path| format!("file {}", path.display())));
    let permit = Permit::for_system(None, "search for an erased tenant");
    let transaction = run.context.store.read(&permit).await?;
    let left = queries::rows_left(&transaction, tenant_of(run), &KEPT).await?;
    transaction.finish().await?;
    let tables = left.len() as u64;
    let rows = left.into_iter().filter(|(_, rows)| *rows > 0);
    searched
        .found
        .extend(rows.map(|(table, rows)| format!("{rows} rows of {table} in the control database")));
    for kind in InventoryKind::ALL {
        let things = run.held(kind).await?;
        searched
            .found
            .extend(things.into_iter().map(|name| format!("{} {name} in the inventory", kind.as_str())));
    }
    if !searched.found.is_empty() {
        return Err(StepError::never("lifecycle.not_erased", searched.found.join("; ")));
    }
    Ok(Done::with(&Swept { at: run.context.clock().now(), cell: searched, tables }))
}

/// The tenant is a tombstone, and this is the last event of its log.
pub async fn close(run: &Run<'_, Shared>, transaction: &Transaction) -> StepResult {
    let tenant = tenant_of(run);
    let params: Params = run.params()?;
    let record = tenancy::lock(transaction, tenant).await?;
    let record = record.ok_or_else(|| StepError::never("api.not_found", "the tenant is gone"))?;
    let code_sha256 = rowhouse_domain::lifecycle::certificate::code_digest(&record.tenant.code);
    tombstones::bury(transaction, tenant, params.requested_at).await?;
    let change = Change::new(tenant, audit::CLOSING_EVENT, "delete", transaction.principal())
        .on("tenant", tenant)
        .details(json!({ "operation": run.saga.operation() }))
        .notify(Notice::tenant(tenant));
    Ok(Done::with(&json!({ "code_sha256": code_sha256, "at": run.context.clock().now() })).change(change))
}
