//! Making what a tenant lies in: its own server where it has one, roles, schema or database, tables, its own processes.

use std::collections::BTreeMap;
use std::time::Duration;

use rowhouse_domain::access::Permit;
use rowhouse_domain::tenancy::Isolation;
use rowhouse_store::Transaction;
use rowhouse_store::sagas::{Done, InventoryKind, Run, StepError, StepResult};
use rowhouse_tenantdb::place::{self, PlaceError};
use rowhouse_tenantdb::{Cell, DatabaseKey, cell};
use serde::Serialize;
use serde_json::json;

use super::place::Placed;
use super::{failure, tenant_of};
use crate::Shared;
use crate::deploy::{self, Desired, Phase};
use crate::tenancy::{cells, service_tables};

/// A server is made in about a second; what takes longer is tried again.
const SERVER_MAX: Duration = Duration::from_secs(60);
const PROCESS_MAX: Duration = Duration::from_secs(30);

/// What a place of this level consists of, by the names that the saga has chosen.
pub(in crate::lifecycle) fn parts(placed: &Placed) -> Vec<(InventoryKind, String)> {
    let Placed { place, directory, .. } = placed;
    let (login, database) = (place.login.clone(), place.database.clone());
    match place.isolation {
        Isolation::Shared => vec![(InventoryKind::Rows, database)],
        Isolation::Schema => vec![(InventoryKind::Role, login.clone()), (InventoryKind::Schema, login)],
        Isolation::Database => vec![(InventoryKind::Role, login), (InventoryKind::Database, database)],
        Isolation::Instance => directory.iter().map(|own| (InventoryKind::Server, own.clone())).collect(),
    }
}

/// Makes what `place` has named, in the inventory too.
pub async fn make(run: &Run<'_, Shared>) -> StepResult {
    let placed: Placed = run.expect_output("place")?;
    make_named(run, &placed).await
}

/// Makes what `placed` names, and names it in the inventory before. Twice is once.
pub(in crate::lifecycle) async fn make_at(run: &Run<'_, Shared>, placed: &Placed) -> StepResult {
    for (kind, name) in parts(placed) {
        run.intend(kind, &name).await?;
    }
    make_named(run, placed).await
}

async fn make_named(run: &Run<'_, Shared>, placed: &Placed) -> StepResult {
    if let Some(directory) = &placed.directory {
        make_server(run, placed, directory).await?;
    }
    let (cell, key) = with_key(run, &placed.cell, &placed.place.database).await?;
    if placed.directory.is_some() {
        cell::prepare(&cell).await.map_err(StepError::again)?;
    }
    place::create(&cell, &placed.place, &key).await.map_err(place_failure)?;
    if placed.place.isolation == Isolation::Database {
        run.context.stock.used(&placed.cell);
    }
    let done = Done::with(&json!({ "cell": placed.cell, "database": placed.place.database }));
    Ok(parts(placed).iter().fold(done, |done, (kind, name)| done.observed(*kind, name)))
}

async fn make_server(run: &Run<'_, Shared>, placed: &Placed, directory: &str) -> Result<(), StepError> {
    let tenant = tenant_of(run);
    let transaction = run.write().await?;
    if deploy::get(&transaction, tenant).await?.is_none() {
        let (directory, ids) = (directory.to_owned(), placed.ids);
        let desired = Desired { present: true, directory, applications: Vec::new(), ids };
        deploy::desire(&transaction, tenant, &placed.cell, &desired).await?;
    }
    transaction.commit_telemetry().await?;
    let answers = run.context.fleet.wait_until(tenant, SERVER_MAX, |found| found.server.is_some()).await;
    answers.map(drop).map_err(StepError::again)
}

pub(in crate::lifecycle) async fn reachable(run: &Run<'_, Shared>, name: &str) -> Result<Cell, StepError> {
    let permit = Permit::for_system(run.saga.tenant, "a cell");
    let transaction = run.context.store.read(&permit).await?;
    let cell = cells::get(&transaction, name).await?;
    transaction.finish().await?;
    cell.ok_or_else(|| StepError::Again(format!("cell {name} has no address yet")))
}

/// A cell, and the key of one of its databases, which is made when it is first asked for.
pub(in crate::lifecycle) async fn with_key(
    run: &Run<'_, Shared>,
    name: &str,
    database: &str,
) -> Result<(Cell, DatabaseKey), StepError> {
    let transaction = run.context.store.read(&Permit::for_system(None, "a cell and a key")).await?;
    let found = cell_and_key(run, &transaction, name, database).await?;
    transaction.finish().await?;
    or_new_key(run, found, (name, database)).await
}

/// A cell, and the key of one of its databases, if it has one already.
pub(in crate::lifecycle) async fn cell_and_key(
    run: &Run<'_, Shared>,
    transaction: &Transaction,
    name: &str,
    database: &str,
) -> Result<(Cell, Option<DatabaseKey>), StepError> {
    let (cell, key) = tokio::join!(
        cells::get_for_provisioning(transaction, name),
        cells::newest_key(transaction, run.context, name, database),
    );
    let cell = cell?.ok_or_else(|| StepError::Again(format!("cell {name} has no address yet")))?;
    Ok((cell, key.map_err(StepError::again)?))
}

/// The same with a key that is made now if there was none.
pub(in crate::lifecycle) async fn or_new_key(
    run: &Run<'_, Shared>,
    (cell, key): (Cell, Option<DatabaseKey>),
    (name, database): (&str, &str),
) -> Result<(Cell, DatabaseKey), StepError> {
    let key = match key {
        Some(key) => key,
        None => cells::context_key(run.context, name, database).await.map_err(StepError::again)?,
    };
    Ok((cell, key))
}

pub(in crate::lifecycle) fn place_failure(error: PlaceError) -> StepError {
    match error {
        PlaceError::Malformed(_) => StepError::never("api.internal", error.to_string()),
        other => StepError::again(other),
    }
}

/// Only what the inventory says this saga made, or was about to make.
pub async fn take_away(run: &Run<'_, Shared>) -> StepResult {
    let Some(placed) = run.output::<Placed>("place")? else { return Ok(Done::plainly()) };
    let mut made = false;
    for (kind, name) in parts(&placed) {
        made |= run.made(kind).await?.contains(&name);
    }
    match made {
        true => take_away_at(run, &placed).await,
        false => Ok(Done::plainly()),
    }
}

/// Removes what `placed` names, whoever made it. Twice is once.
pub(in crate::lifecycle) async fn take_away_at(run: &Run<'_, Shared>, placed: &Placed) -> StepResult {
    match &placed.directory {
        Some(directory) => take_server_away(run, placed, directory).await?,
        None => {
            let cell = reachable(run, &placed.cell).await?;
            place::drop(&cell, &placed.place).await.map_err(place_failure)?;
        }
    }
    for (kind, name) in parts(placed) {
        run.gone(kind, &name).await?;
    }
    Ok(Done::plainly())
}

async fn take_server_away(run: &Run<'_, Shared>, placed: &Placed, directory: &str) -> Result<(), StepError> {
    let tenant = tenant_of(run);
    let transaction = run.write().await?;
    // Never made, or taken away before a crash: nobody keeps it who could tell.
    let row = deploy::get(&transaction, tenant).await?;
    if row.is_none_or(|row| !row.desired.present && row.observed.phase == Phase::Gone) {
        return Ok(transaction.rollback().await?);
    }
    let (directory, ids) = (directory.to_owned(), placed.ids);
    let desired = Desired { present: false, directory, applications: Vec::new(), ids };
    deploy::desire(&transaction, tenant, &placed.cell, &desired).await?;
    transaction.commit_telemetry().await?;
    let gone = run.context.fleet.wait_until(tenant, SERVER_MAX, |found| found.phase == Phase::Gone).await;
    gone.map(drop).map_err(StepError::again)
}

/// Each service's recorded tables: installed in a place of its own, there already on `shared`.
pub async fn install_tables(run: &Run<'_, Shared>) -> StepResult {
    let placed: Placed = run.expect_output("place")?;
    install_at(run, &placed).await
}

/// The same in any place.
pub(in crate::lifecycle) async fn install_at(run: &Run<'_, Shared>, placed: &Placed) -> StepResult {
    let permit = Permit::for_system(run.saga.tenant, "tables of a place");
    let transaction = run.context.store.read(&permit).await?;
    let (wanted, there) = tokio::try_join!(
        service_tables::versions(&transaction),
        service_tables::installed(&transaction, &placed.cell, &placed.place),
    )?;
    if service_tables::are_current(&wanted, &there) {
        transaction.finish().await?;
        return Ok(installed_versions(wanted));
    }
    let recorded = service_tables::all(&transaction).await?;
    transaction.finish().await?;
    for tables in &recorded {
        let current =
            there.iter().any(|own| own.service == tables.service && own.version == tables.version());
        match placed.place.isolation {
            _ if current => {}
            Isolation::Shared => {
                let behind = format!(
                    "the shared tables of {} are not at version {}",
                    tables.service,
                    tables.version()
                );
                return Err(StepError::Again(behind));
            }
            _ => service_tables::install_in_place(run.context, &placed.cell, &placed.place, tables)
                .await
                .map_err(failure)?,
        }
    }
    Ok(installed_versions(recorded.iter().map(|tables| (tables.service.as_str(), tables.version()))))
}

fn installed_versions<S: Serialize + Ord>(versions: impl IntoIterator<Item = (S, i32)>) -> Done {
    Done::with(&versions.into_iter().collect::<BTreeMap<_, _>>())
}

/// Whether the place has all recorded tables already, as on `shared`.
pub async fn tables_there(
    run: &Run<'_, Shared>,
    transaction: &Transaction,
) -> Result<Option<Done>, StepError> {
    let placed: Placed = run.expect_output("place")?;
    let (wanted, there) = tokio::try_join!(
        service_tables::versions(transaction),
        service_tables::installed(transaction, &placed.cell, &placed.place),
    )?;
    Ok(service_tables::are_current(&wanted, &there).then(|| installed_versions(wanted)))
}

/// Whether the place has no processes of its own.
pub async fn without_processes(run: &Run<'_, Shared>) -> Result<Option<Done>, StepError> {
    let placed: Placed = run.expect_output("place")?;
    Ok(has_no_processes(run, &placed).then(Done::plainly))
}

fn has_no_processes(run: &Run<'_, Shared>, placed: &Placed) -> bool {
    placed.directory.is_none() || run.context.settings.deploy.applications.is_empty()
}

/// The tenant's own process of each service that has a program set, on level `instance`.
pub async fn deploy(run: &Run<'_, Shared>) -> StepResult {
    let placed: Placed = run.expect_output("place")?;
    deploy_at(run, &placed).await
}

/// The same for any place.
pub(in crate::lifecycle) async fn deploy_at(run: &Run<'_, Shared>, placed: &Placed) -> StepResult {
    if has_no_processes(run, placed) {
        return Ok(Done::plainly());
    }
    let services: Vec<&str> = run.context.settings.deploy.applications.keys().map(String::as_str).collect();
    let tenant = tenant_of(run);
    let ports = run.context.settings.deploy.ports.clone();
    // Ports of all instances are seen here, so the transaction is not the tenant's.
    let transaction = run.context.store.write(&Permit::for_system(None, "ports of instances")).await?;
    let desired = deploy::reserve_applications(&transaction, tenant, &services, ports).await?;
    let desired = desired.ok_or_else(|| StepError::never("api.internal", "the instance is gone"))?;
    for application in &desired.applications {
        run.intend(InventoryKind::Port, &application.port.to_string()).await?;
        run.intend(InventoryKind::Process, &application.service).await?;
    }
    transaction.commit_telemetry().await?;
    let all_serve = |found: &deploy::Observed| services.iter().all(|service| found.serves(service));
    run.context.fleet.wait_until(tenant, PROCESS_MAX, all_serve).await.map_err(StepError::again)?;
    for application in &desired.applications {
        run.observed(InventoryKind::Port, &application.port.to_string()).await?;
        run.observed(InventoryKind::Process, &application.service).await?;
    }
    Ok(Done::with(&desired.applications))
}

pub async fn take_processes_away(run: &Run<'_, Shared>) -> StepResult {
    stop_processes(run).await?;
    for kind in [InventoryKind::Process, InventoryKind::Port] {
        for name in run.made(kind).await? {
            run.gone(kind, &name).await?;
        }
    }
    Ok(Done::plainly())
}

/// Ends the tenant's own processes, if it has any. Twice is once.
pub(in crate::lifecycle) async fn stop_processes(run: &Run<'_, Shared>) -> Result<(), StepError> {
    let tenant = tenant_of(run);
    let transaction = run.write().await?;
    let row = deploy::get(&transaction, tenant).await?;
    if let Some(row) = row.filter(|row| row.desired.present || row.observed.phase != Phase::Gone) {
        let desired = Desired { applications: Vec::new(), ..row.desired };
        deploy::desire(&transaction, tenant, &row.cell, &desired).await?;
        transaction.commit_telemetry().await?;
        let none = |found: &deploy::Observed| found.applications.is_empty();
        run.context.fleet.wait_until(tenant, PROCESS_MAX, none).await.map_err(StepError::again)?;
    } else {
        transaction.rollback().await?;
    }
    Ok(())
}
