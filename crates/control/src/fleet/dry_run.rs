//! What a rollout would do: its migrations run and are rolled back, in a shared database and at the first canary.

use rowhouse_domain::access::Permit;
use rowhouse_domain::refusal::Refusal;
use rowhouse_firewall::statements;

use super::queries::Behind;
use super::rollout::{Plan, Wanted, plan};
use crate::{Control, tenancy};

/// What would happen.
#[derive(Debug, Clone)]
pub(super) struct Would {
    /// Number of the migration and name of the statement, in order.
    pub statements: Vec<(i32, String)>,
    /// Table and mode of locks that keep others out.
    pub locks: Vec<(String, String)>,
    /// How long they were held where it was tried, in milliseconds: the longest.
    pub held_ms: u64,
    /// Number of the migration, what about, and words.
    pub advice: Vec<(i32, &'static str, String)>,
    /// Wave and schemas in it.
    pub waves: Vec<(String, usize)>,
    /// Where it was tried out.
    pub tried: Vec<String>,
}

/// Tries a rollout out. Nothing of it stays.
///
/// # Errors
/// As for a rollout, and 422 with the findings if the migrations fail where they are tried.
pub(super) async fn dry_run(control: &Control, permit: &Permit, wanted: &Wanted) -> Result<Would, Refusal> {
    let transaction = control.store.read(permit).await?;
    let plan = plan(&transaction, wanted).await?;
    let mut trials = Vec::new();
    for behind in trials_of(&plan) {
        let cell = tenancy::cells::get(&transaction, &behind.cell).await?;
        let place = match behind.tenant {
            Some(tenant) => tenancy::places::get(&transaction, tenant).await?.map(|row| row.place),
            None => None,
        };
        if let Some(cell) = cell {
            trials.push((cell, place, behind.clone()));
        }
    }
    transaction.finish().await?;
    let mut would = outline(&plan);
    for (cell, place, behind) in trials {
        let tried = match (&place, behind.tenant) {
            (Some(place), _) => {
                tenancy::service_tables::try_place(&cell, place, &behind.schema, &plan.tables).await?
            }
            (None, None) => tenancy::service_tables::try_shared_tables(&cell, &plan.tables).await?,
            (None, Some(_)) => continue,
        };
        would.held_ms = would.held_ms.max(tried.held_ms);
        would
            .locks
            .extend(tried.locks.into_iter().filter(|lock| !would.locks.contains(lock)).collect::<Vec<_>>());
        would.tried.push(format!("{}/{}/{}", behind.cell, behind.database, behind.schema));
    }
    Ok(would)
}

/// One shared schema, and the first of the first wave.
fn trials_of(plan: &Plan) -> Vec<&Behind> {
    let shared = plan.targets.iter().find(|(_, behind)| behind.tenant.is_none());
    let first =
        plan.targets.iter().filter(|(_, behind)| behind.tenant.is_some()).min_by_key(|(wave, _)| *wave);
    shared.into_iter().chain(first).map(|(_, behind)| behind).collect()
}

fn outline(plan: &Plan) -> Would {
    let lowest = plan.targets.iter().map(|(_, behind)| behind.version).min().unwrap_or(plan.tables.version());
    let newer = plan.tables.migrations.iter().filter(|migration| migration.number > lowest);
    let names = newer.flat_map(|migration| {
        let read = statements(&migration.sql).unwrap_or_default();
        read.into_iter().map(move |(name, _)| (migration.number, name))
    });
    let concerns = tenancy::service_tables::concerns(&plan.tables).into_iter();
    let count = |wave: usize| plan.targets.iter().filter(|(of, _)| *of == wave).count();
    Would {
        statements: names.collect(),
        locks: Vec::new(),
        held_ms: 0,
        advice: concerns
            .filter(|(number, ..)| *number > lowest)
            .map(|(number, concern, detail)| (number, concern.as_str(), detail))
            .collect(),
        waves: plan.waves.iter().enumerate().map(|(at, wave)| (wave.to_string(), count(at))).collect(),
        tried: Vec::new(),
    }
}
