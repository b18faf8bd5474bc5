//! What is wanted, and the two places between which the rows will go.

use rowhouse_domain::access::Permit;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::tenancy::residency::Resident;
use rowhouse_domain::tenancy::{Isolation, Status, Tier};
use rowhouse_store::Transaction;
use rowhouse_store::sagas::{Done, Run, StepError, StepResult};
use rowhouse_tenantdb::Place;
use serde::{Deserialize, Serialize};

use super::super::provision::place::{Placed, own_cell, refuse_below_floor};
use super::super::provision::tenant_of;
use crate::tenancy::cells;
use crate::tenancy::{self, places, residency};
use crate::{Shared, deploy};

/// Where a tenant is to lie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The level.
    pub isolation: Isolation,
    /// The cell; the emptiest of the region if none is named. Not for level `instance`.
    #[serde(default)]
    pub cell: Option<String>,
    /// What becomes of writers that do not end.
    #[serde(default)]
    pub on_long_transactions: OnLongTransactions,
}

/// What becomes of a move that waits for a tenant's writer in vain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnLongTransactions {
    /// It lets writers in again, and tries later.
    #[default]
    Wait,
    /// It ends them.
    Cancel,
    /// It is given up.
    Abort,
}

/// The parameters of any saga that moves.
#[derive(Debug, Deserialize)]
struct Params {
    #[serde(default)]
    relocation: Option<Wanted>,
}

/// From where to where.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// Where the tenant lies.
    pub source: Placed,
    /// Where it will.
    pub target: Placed,
    /// What becomes of writers that do not end.
    pub on_long_transactions: OnLongTransactions,
}

/// The plan of this saga; `None` if nothing moves.
pub fn plan(run: &Run<'_, Shared>) -> Result<Option<Plan>, StepError> {
    Ok(run.output::<Option<Plan>>(super::STEPS[0])?.flatten())
}

/// Whether the tenant lies at the target by now: what the decision has done.
pub async fn is_decided(run: &Run<'_, Shared>, plan: &Plan) -> Result<bool, StepError> {
    let permit = Permit::for_system(run.saga.tenant, "where a move stands");
    let transaction = run.context.store.read(&permit).await?;
    let row = places::get(&transaction, tenant_of(run)).await?;
    transaction.finish().await?;
    Ok(row.is_some_and(|row| is_target(&row, plan)))
}

pub fn is_target(row: &places::PlaceRow, plan: &Plan) -> bool {
    row.cell == plan.target.cell && row.place == plan.target.place
}

/// Whether a tier lets its tenants lie on `level`.
///
/// # Errors
/// 422 `tenancy.isolation_not_allowed`, with the levels that it allows.
pub fn check_level(tier: &Tier, level: Isolation) -> Result<(), Refusal> {
    if tier.allows(level) {
        return Ok(());
    }
    let levels: Vec<&str> =
        Isolation::ALL.into_iter().filter(|level| tier.allows(*level)).map(Isolation::as_str).collect();
    let words = format!("The tier `{}` does not allow the isolation `{}`.", tier.name, level.as_str());
    let detail = format!("one of: {}", levels.join(", "));
    Err(Refusal::new(&kind::ISOLATION_NOT_ALLOWED, words).field("/isolation", "not_allowed", detail))
}

/// Chooses the target; its names are random and on record before anything bears them.
pub async fn check(run: &Run<'_, Shared>, transaction: &Transaction) -> StepResult {
    let Some(wanted) = run.params::<Params>()?.relocation else { return Ok(Done::plainly()) };
    let tenant = tenant_of(run);
    let record = tenancy::lock(transaction, tenant).await?;
    let record = record.ok_or_else(|| StepError::never("api.not_found", "the tenant is gone"))?;
    if !matches!(record.tenant.status, Status::Active | Status::Suspended | Status::Migrating) {
        let words = format!("the tenant is {}", record.tenant.status.as_str());
        return Err(StepError::never("lifecycle.wrong_status", words));
    }
    let row = places::get(transaction, tenant).await?;
    let row = row.ok_or_else(|| StepError::never("lifecycle.wrong_status", "the tenant lies nowhere yet"))?;
    if row.place.isolation == wanted.isolation {
        return Ok(Done::plainly());
    }
    let own = deploy::get(transaction, tenant).await?.map(|instance| instance.desired);
    let own = own.filter(|_| row.place.isolation == Isolation::Instance);
    let (directory, ids) = own.map_or((None, None), |own| (Some(own.directory), own.ids));
    let epoch = row.place.epoch + 1;
    let source = Placed { cell: row.cell, place: row.place, directory, ids };
    let target = Place { epoch, ..Place::new(tenant, wanted.isolation, run.context.entropy().bytes()) };
    let resident = residency::at_home(run.context, transaction, tenant).await;
    let resident = resident.map_err(super::super::provision::failure)?;
    let target = match wanted.isolation {
        Isolation::Instance => own_cell(run, transaction, target, &resident).await?,
        _ => Placed {
            cell: choose(run, transaction, &wanted, &resident).await?,
            place: target,
            directory: None,
            ids: None,
        },
    };
    Ok(Done::with(&Plan { source, target, on_long_transactions: wanted.on_long_transactions }))
}

/// Forgets the cell that an instance would have had, unless the tenant lies there by now.
pub async fn forget(run: &Run<'_, Shared>, transaction: &Transaction) -> StepResult {
    let Some(plan) = plan(run)? else { return Ok(Done::plainly()) };
    let row = places::get(transaction, tenant_of(run)).await?;
    let is_there = row.is_some_and(|row| is_target(&row, &plan));
    if plan.target.place.isolation == Isolation::Instance && !is_there {
        cells::remove(transaction, &plan.target.cell).await?;
    }
    Ok(Done::plainly())
}

async fn choose(
    run: &Run<'_, Shared>,
    transaction: &Transaction,
    wanted: &Wanted,
    resident: &Resident,
) -> Result<String, StepError> {
    let cell = match &wanted.cell {
        Some(name) => cells::named(transaction, name, resident).await?,
        None => cells::choose(transaction, resident).await?,
    };
    let cell =
        cell.ok_or_else(|| StepError::never("tenancy.no_capacity", "no such cell of the region is open"))?;
    if wanted.isolation == Isolation::Shared {
        refuse_below_floor(run, transaction, &cell).await?;
    }
    Ok(cell)
}
