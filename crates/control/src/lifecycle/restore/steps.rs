//! The steps of a restore.

use jiff::SignedDuration;
use rowhouse_domain::access::Permit;
use rowhouse_domain::tenancy::Isolation;
use rowhouse_store::sagas::{Done, InventoryKind, Run, StepError, StepResult};
use rowhouse_store::{Change, Transaction};
use rowhouse_tenantdb::place;
use rowhouse_tenantdb::{Place, Rights};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::backup::{self, Folder, names_of};
use super::super::provision::{failure, store, tenant_of};
use super::begin::{Mode, Params};
use super::load::{Loaded, load as load_file};
use super::login;
use super::queries::{self, NewRestore};
use crate::Shared;
use crate::tenancy::{TenantKeyError, cells, places, residency, service_tables, tenant_key};

/// How long a copy stays.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Where the copy will lie.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Chosen {
    /// The tenant's cell.
    pub cell: String,
    /// A database of its own.
    pub place: Place,
    /// The name of the backup's file.
    pub file: String,
    /// Where that lies.
    pub region: String,
}

/// Chooses names; they are on record before anything bears them.
pub async fn choose(run: &Run<'_, Shared>, transaction: &Transaction) -> StepResult {
    let (tenant, params): (_, Params) = (tenant_of(run), run.params()?);
    let row = backup::queries::get(transaction, params.backup).await?;
    let row = row.filter(|row| row.state == "ok" && row.tenant == tenant);
    let row = row.ok_or_else(|| StepError::never("lifecycle.expired", "the backup is not there any more"))?;
    let file = row.file.ok_or_else(|| StepError::never("lifecycle.expired", "the backup has no file"))?;
    let living = places::get(transaction, tenant).await?;
    let living =
        living.ok_or_else(|| StepError::never("lifecycle.wrong_status", "the tenant lies nowhere"))?;
    // The copy rests where the tenant does; the proof is asked for all the same.
    let resident = residency::at_home(run.context, transaction, tenant).await.map_err(failure)?;
    let cell = match cells::region_of(transaction, &living.cell).await? {
        Some(region) if region == resident.region() => living.cell,
        _ => return Err(StepError::never("tenancy.residency", "the tenant's cell is not in its region")),
    };
    let place = Place::new(tenant, Isolation::Database, run.context.entropy().bytes());
    let new = NewRestore {
        id: params.restore,
        backup: params.backup,
        operation: run.saga.id,
        mode: params.mode.as_str(),
        cell: &cell,
        place: &place,
        created_by: &run.saga.created_by,
        expires_at: run.context.clock().now() + KEPT,
    };
    queries::insert(transaction, &new).await?;
    Ok(Done::with(&Chosen { cell, place, file, region: row.region }))
}

/// The last thing that is undone.
pub async fn give_up(run: &Run<'_, Shared>, transaction: &Transaction) -> StepResult {
    let params: Params = run.params()?;
    queries::end(transaction, params.restore, "failed").await?;
    Ok(Done::plainly())
}

/// Makes the database anew (whatever a try before has left goes), loads and proves it, and lets its login in to read.
pub async fn load(run: &Run<'_, Shared>) -> StepResult {
    let (chosen, params): (Chosen, Params) = (run.expect_output("restore_place")?, run.params()?);
    let (control, tenant) = (run.context, tenant_of(run));
    run.intend(InventoryKind::Role, &chosen.place.login).await?;
    run.intend(InventoryKind::Database, &chosen.place.database).await?;
    let cell = store::reachable(run, &chosen.cell).await?;
    place::drop(&cell, &chosen.place).await.map_err(store::place_failure)?;
    let key = cells::context_key(control, &chosen.cell, &chosen.place.database).await;
    place::create(&cell, &chosen.place, &key.map_err(StepError::again)?)
        .await
        .map_err(store::place_failure)?;
    let permit = Permit::for_system(Some(tenant), "a restore");
    let transaction = control.store.read(&permit).await?;
    let current = service_tables::all(&transaction).await?;
    let resident =
        residency::resident(control, &transaction, tenant, &chosen.region).await.map_err(failure)?;
    transaction.finish().await?;
    let key = tenant_key(control, tenant).await.map_err(|error| match error {
        TenantKeyError::Destroyed => StepError::never("lifecycle.shredded", error.to_string()),
        other => StepError::again(other),
    })?;
    let path = Folder::of(&control.settings.backups, &resident).file(&chosen.file);
    let file = (path.as_path(), &*key.derive(backup::KEY_LABEL), names_of(tenant, params.backup));
    let loaded = load_file(file, &cell, &chosen.place, &current).await;
    let loaded = loaded.map_err(|error| match error.is_final() {
        true => StepError::never("lifecycle.backup_unusable", words(&error)),
        false => StepError::again(error),
    })?;
    place::set_rights(&cell, &chosen.place, Rights::ReadOnly).await.map_err(store::place_failure)?;
    if params.mode == Mode::Beside {
        let secret = login::give(control, &cell, &chosen.place, params.restore).await;
        let secret = secret.map_err(|error| StepError::Again(error.to_string()))?;
        let transaction = run.write().await?;
        queries::keep_secret(&transaction, params.restore, &secret).await?;
        transaction.commit_telemetry().await?;
    }
    run.observed(InventoryKind::Role, &chosen.place.login).await?;
    run.observed(InventoryKind::Database, &chosen.place.database).await?;
    Ok(Done::with(&loaded))
}

fn words(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) if !error.to_string().ends_with(&cause.to_string()) => {
            format!("{error}: {}", words(cause))
        }
        _ => error.to_string(),
    }
}

/// Removes the copy: an undo, and the end of a verification.
pub async fn take_away(run: &Run<'_, Shared>) -> StepResult {
    let Some(chosen) = run.output::<Chosen>("restore_place")? else { return Ok(Done::plainly()) };
    let cell = store::reachable(run, &chosen.cell).await?;
    place::drop(&cell, &chosen.place).await.map_err(store::place_failure)?;
    let transaction = run.write().await?;
    places::forget_other(&transaction, &chosen.cell, &chosen.place).await?;
    transaction.commit_telemetry().await?;
    run.gone(InventoryKind::Role, &chosen.place.login).await?;
    run.gone(InventoryKind::Database, &chosen.place.database).await?;
    Ok(Done::plainly())
}

/// From here on it is there for its readers.
pub async fn open(run: &Run<'_, Shared>, transaction: &Transaction) -> StepResult {
    let params: Params = run.params()?;
    let loaded: Loaded = run.expect_output("restore_load")?;
    let services = serde_json::to_value(&loaded.services).expect("plain data");
    queries::open(transaction, params.restore, loaded.rows, &services).await?;
    let change = Change::new(tenant_of(run), "lifecycle.restore_opened", "create", transaction.principal())
        .on("restore", params.restore)
        .on("backup", params.backup)
        .details(json!({ "rows": loaded.rows, "operation": run.saga.operation() }));
    let told = json!({ "restore": params.restore, "rows": loaded.rows, "tables": loaded.tables });
    Ok(Done::with(&told).change(change))
}

/// The evidence of a verification.
pub async fn record(run: &Run<'_, Shared>, transaction: &Transaction) -> StepResult {
    let params: Params = run.params()?;
    let loaded: Loaded = run.expect_output("restore_load")?;
    let evidence = json!({
        "rows": loaded.rows, "tables": loaded.tables, "manifest_sha256": loaded.manifest_sha256,
        "operation": run.saga.operation(),
    });
    queries::end(transaction, params.restore, "expired").await?;
    backup::queries::verified(transaction, params.backup, &evidence).await?;
    let change = Change::new(tenant_of(run), "lifecycle.backup_verified", "read", transaction.principal())
        .on("backup", params.backup)
        .details(json!({ "rows": loaded.rows, "tables": loaded.tables }));
    Ok(Done::with(&evidence).change(change))
}
