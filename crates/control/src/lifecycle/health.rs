//! How a tenant is: each check is `ok`, `warn` or `bad`, and the worst wins. Checks are made when they are asked for, from
//! what can be measured now; since when a check says what it says is kept.

use std::time::Duration;

use jiff::Timestamp;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::resources::QuotaState;
use rowhouse_domain::tenancy::{Isolation, Status};
use rowhouse_store::Transaction;
use rowhouse_tenantdb::{Cell, cell};
use serde::Serialize;
use tokio::time::{Instant, timeout};
use utoipa::ToSchema;

use super::queries::{self, Filter};
use crate::deploy::{self, Phase};
use crate::tenancy::places::PlaceRow;
use crate::tenancy::{self, TenantRecord, cells, places, service_tables};
use crate::{Control, resources};

/// A database that takes longer to answer is slow, and one that takes much longer is taken as away.
const DATABASE_SLOW: Duration = Duration::from_millis(250);
const DATABASE_MAX: Duration = Duration::from_secs(2);

/// How good it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    /// As it should be.
    Ok,
    /// Somebody should look.
    Warn,
    /// Somebody must look.
    Bad,
}

impl HealthState {
    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            HealthState::Ok => "ok",
            HealthState::Warn => "warn",
            HealthState::Bad => "bad",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = HealthCheck)]
pub struct Check {
    /// Which.
    pub name: &'static str,
    /// How good it is.
    pub state: HealthState,
    /// What was found.
    pub value: String,
    /// What it should be.
    pub limit: String,
    /// Since when it is so; RFC 3339.
    #[schema(value_type = Option<String>)]
    pub since: Option<Timestamp>,
}

/// How a tenant is.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Health {
    /// The worst of the checks.
    pub state: HealthState,
    /// Each of them.
    pub checks: Vec<Check>,
}

fn check(name: &'static str, state: HealthState, value: impl ToString, limit: &str) -> Check {
    Check { name, state, value: value.to_string(), limit: limit.to_owned(), since: None }
}

/// Looks at everything about a tenant that can be measured.
///
/// # Errors
/// 404; and if the control database is away.
pub async fn health(control: &Control, permit: &Permit, tenant: TenantId) -> Result<Health, Refusal> {
    let transaction = control.store.read(permit).await?;
    let record = tenancy::get(&transaction, tenant).await?;
    let record = record.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such tenant."))?;
    let place = places::get(&transaction, tenant).await?;
    let cell = match &place {
        Some(place) => cells::get(&transaction, &place.cell).await?,
        None => None,
    };
    let mut checks = vec![status(&record), operation(&transaction, tenant).await?];
    checks.push(quota(control, &transaction, &record).await?);
    if let Some(place) = &place {
        checks.push(tables(&transaction, place).await?);
        if record.tenant.isolation == Isolation::Instance {
            checks.push(instance(&transaction, tenant).await?);
        }
    }
    transaction.finish().await?;
    if let Some(place) = &place {
        checks.extend(database(cell.as_ref(), place).await);
    }
    checks.push(directory(control, &record));
    keep(control, tenant, &mut checks).await?;
    let state = checks.iter().map(|check| check.state).max().unwrap_or(HealthState::Ok);
    Ok(Health { state, checks })
}

fn status(record: &TenantRecord) -> Check {
    let status = record.tenant.status;
    let state = match status {
        Status::Active => HealthState::Ok,
        Status::Failed => HealthState::Bad,
        _ => HealthState::Warn,
    };
    check("status", state, status.as_str(), "active")
}

async fn operation(transaction: &Transaction, tenant: TenantId) -> Result<Check, Refusal> {
    let states = Some(["stuck", "unwinding"].map(str::to_owned).to_vec());
    let filter = Filter { tenant: Some(tenant), states, kinds: None };
    let found = queries::list(transaction, &filter, None, 1).await?;
    Ok(match found.first() {
        None => check("operation", HealthState::Ok, "none stuck", "none stuck"),
        Some(saga) => {
            let state = match saga.state {
                rowhouse_store::sagas::State::Stuck => HealthState::Bad,
                _ => HealthState::Warn,
            };
            check("operation", state, format!("{} is {}", saga.id, saga.state.as_str()), "none stuck")
        }
    })
}

/// The meter that is nearest to its quota, or beyond.
async fn quota(
    control: &Control,
    transaction: &Transaction,
    record: &TenantRecord,
) -> Result<Check, Refusal> {
    let quotas = resources::quotas_of(transaction, &record.tenant, control.clock().now()).await?;
    let states = quotas.iter().map(|quota| (quota.rule.state(quota.used, quota.limit), &*quota.meter));
    Ok(match states.max() {
        None | Some((QuotaState::Ok, _)) => {
            check("quota", HealthState::Ok, "below the warning", "none reached")
        }
        Some((QuotaState::Enforced, meter)) => {
            check("quota", HealthState::Bad, format!("{meter} is used up"), "none reached")
        }
        Some((_, meter)) => {
            check("quota", HealthState::Warn, format!("{meter} is nearly used up"), "none reached")
        }
    })
}

/// Every service's tables are at the version that is declared.
async fn tables(transaction: &Transaction, place: &PlaceRow) -> Result<Check, Refusal> {
    let wanted = service_tables::all(transaction).await?;
    let installed = service_tables::installed(transaction, &place.cell, &place.place).await?;
    let behind: Vec<&str> = wanted
        .iter()
        .filter(|tables| {
            !installed.iter().any(|own| own.service == tables.service && own.version == tables.version())
        })
        .map(|tables| tables.service.as_str())
        .collect();
    Ok(match behind.is_empty() {
        true => check("tables", HealthState::Ok, "current", "current"),
        false => check("tables", HealthState::Bad, format!("behind: {}", behind.join(", ")), "current"),
    })
}

async fn instance(transaction: &Transaction, tenant: TenantId) -> Result<Check, Refusal> {
    let row = deploy::get(transaction, tenant).await?;
    let observed = row.map(|row| row.observed).unwrap_or_default();
    let state = match observed.phase {
        Phase::Running => HealthState::Ok,
        Phase::Starting => HealthState::Warn,
        Phase::Failed | Phase::Gone => HealthState::Bad,
    };
    let value = match observed.problem {
        Some(problem) => format!("{}: {problem}", observed.phase.as_str()),
        None => observed.phase.as_str().to_owned(),
    };
    Ok(check("instance", state, value, "running"))
}

async fn database(cell: Option<&Cell>, place: &PlaceRow) -> Vec<Check> {
    let limit = format!("{} ms", DATABASE_SLOW.as_millis());
    let Some(cell) = cell else {
        return vec![check("database", HealthState::Bad, "its server has no address", &limit)];
    };
    let begun = Instant::now();
    match timeout(DATABASE_MAX, cell::rights_of(cell, &place.place)).await {
        Ok(Ok(rights)) => {
            let took = begun.elapsed();
            let state = if took > DATABASE_SLOW { HealthState::Warn } else { HealthState::Ok };
            vec![
                check("database", state, format!("{} ms", took.as_millis()), &limit),
                rights_check(rights, place),
            ]
        }
        Ok(Err(error)) => vec![check("database", HealthState::Bad, error, &limit)],
        Err(_) => vec![check("database", HealthState::Bad, "no answer in 2 s", &limit)],
    }
}

fn rights_check(found: Option<String>, place: &PlaceRow) -> Check {
    let wanted = place.rights.letters();
    match found {
        Some(found) if found == wanted => check("rights", HealthState::Ok, found, wanted),
        Some(found) => check("rights", HealthState::Warn, found, wanted),
        None => check("rights", HealthState::Bad, "the place is not there", wanted),
    }
}

/// The gateway decides by what the record says.
fn directory(control: &Control, record: &TenantRecord) -> Check {
    let directory = control.directory.current();
    let known = directory.tenants.get(&record.tenant.id).map(|entry| entry.status);
    let value = known.map_or("unknown", Status::as_str);
    let wanted = record.tenant.status;
    let state = match known {
        Some(status) if status == wanted => HealthState::Ok,
        None if wanted == Status::Terminated => HealthState::Ok,
        _ => HealthState::Warn,
    };
    check("directory", state, value, wanted.as_str())
}

/// Notes since when each check says what it says.
async fn keep(control: &Control, tenant: TenantId, checks: &mut [Check]) -> Result<(), Refusal> {
    let transaction = control.store.write(&Permit::for_system(Some(tenant), "health")).await?;
    for check in checks.iter_mut() {
        check.since =
            Some(queries::health_since(&transaction, tenant, check.name, check.state.as_str()).await?);
    }
    transaction.commit_telemetry().await?;
    Ok(())
}
