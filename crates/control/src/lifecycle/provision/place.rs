//! Choosing where a tenant will lie. Names are random and on record before anything bears them.

use rowhouse_domain::access::Permit;
use rowhouse_domain::tenancy::Isolation;
use rowhouse_domain::tenancy::residency::Resident;
use rowhouse_store::Transaction;
use rowhouse_store::sagas::{Done, Run, StepError, StepResult};
use rowhouse_tenantdb::Place;
use serde::{Deserialize, Serialize};

use super::{failure, store, tenant_of};
use crate::Shared;
use crate::deploy::{self, Ids};
use crate::tenancy::cells::{self, CellAddress};
use crate::tenancy::{self, places, residency};

/// Where the tenant will lie.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Placed {
    /// The cell.
    pub cell: String,
    /// Names within it.
    pub place: Place,
    /// Directory of the tenant's own server, on level `instance`.
    pub directory: Option<String>,
    /// User ids of that server and of the tenant's processes, where root runs Rowhouse.
    #[serde(default)]
    pub ids: Option<Ids>,
}

/// Chooses a cell, or the name of one that will be the tenant's own, and reserves the place.
pub async fn choose(run: &Run<'_, Shared>, transaction: &Transaction) -> StepResult {
    let tenant = tenant_of(run);
    let record = tenancy::get(transaction, tenant).await?;
    let record = record.ok_or_else(|| StepError::never("api.not_found", "the tenant is gone"))?;
    let place = Place::new(tenant, record.tenant.isolation, run.context.entropy().bytes());
    let resident = residency::at_home(run.context, transaction, tenant).await.map_err(failure)?;
    let placed = match record.tenant.isolation {
        Isolation::Instance => own_cell(run, transaction, place, &resident).await?,
        _ => {
            let cell = cells::choose(transaction, &resident).await?;
            let full = || StepError::never("tenancy.no_capacity", "no cell of the region is open");
            let cell = cell.ok_or_else(full)?;
            if place.isolation == Isolation::Shared {
                refuse_below_floor(run, transaction, &cell).await?;
            }
            Placed { cell, place, directory: None, ids: None }
        }
    };
    places::reserve(transaction, &placed.cell, &placed.place).await?;
    let named = store::parts(&placed);
    let done = named.iter().fold(Done::with(&placed), |done, (kind, name)| done.intends(*kind, name));
    // Files of a server of the tenant's own, and what is on another server, would be there although a crash took the names.
    let is_near = placed.directory.is_none() && cells::shares_server(transaction, &placed.cell).await?;
    Ok(if is_near { done.repeatable().precedes_next() } else { done })
}

/// Where the operator wants it so, a server with known holes takes no shared tenant (`tenantdb.below_floor`).
pub(in crate::lifecycle) async fn refuse_below_floor(
    run: &Run<'_, Shared>,
    transaction: &Transaction,
    cell: &str,
) -> Result<(), StepError> {
    if cells::takes_shared(run.context, transaction, cell).await? {
        return Ok(());
    }
    Err(StepError::never(
        "tenancy.no_capacity",
        "the server of the cell is below the floor of known holes, or not examined yet",
    ))
}

/// Reserves the name of a cell that will be the tenant's own.
pub(in crate::lifecycle) async fn own_cell(
    run: &Run<'_, Shared>,
    transaction: &Transaction,
    place: Place,
    resident: &Resident,
) -> Result<Placed, StepError> {
    let ids = reserve_ids(run).await?;
    let directory = format!("{:016x}", u64::from_be_bytes(run.context.entropy().bytes()));
    let cell = format!("instance-{directory}");
    // Its address is not known before its server runs.
    let address = CellAddress { name: &cell, host: "", port: 5432 };
    cells::put(transaction, &address, "instance", "full", resident.region()).await?;
    Ok(Placed { cell, place, directory: Some(directory), ids })
}

/// Other tenants' instances are not seen in the saga's own transaction. Two at once may pass: the bound is for the machine's
/// sake, not exact.
async fn reserve_ids(run: &Run<'_, Shared>) -> Result<Option<Ids>, StepError> {
    let settings = &run.context.settings.deploy;
    let transaction = run.context.store.write(&Permit::for_system(None, "ids of instances")).await?;
    let fits = deploy::count(&transaction).await? < i64::from(settings.instances_max);
    let ids = match &settings.ids {
        Some(range) if fits => Some(deploy::choose_ids(&transaction, range).await?),
        _ => None,
    };
    transaction.commit_telemetry().await?;
    match fits {
        true => Ok(ids),
        false => {
            Err(StepError::never("tenancy.no_capacity", "this machine has its full number of instances"))
        }
    }
}

/// Gives the place back; `store` has removed what lay there.
pub async fn free(run: &Run<'_, Shared>, transaction: &Transaction) -> StepResult {
    let tenant = tenant_of(run);
    places::forget(transaction, tenant).await?;
    deploy::forget(transaction, tenant).await?;
    let Some(placed) = run.output::<Placed>("place")? else { return Ok(Done::plainly()) };
    if placed.directory.is_some() {
        cells::remove(transaction, &placed.cell).await?;
    }
    Ok(store::parts(&placed).iter().fold(Done::plainly(), |done, (kind, name)| done.gone(*kind, name)))
}
