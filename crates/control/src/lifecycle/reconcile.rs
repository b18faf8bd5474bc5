//! Compares the inventory with what is found, both ways: what nobody has on record is an orphan, what is on record and not
//! there is lost, what was begun by an operation that is over is unfinished. Findings are told, never removed.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::OPERATOR_TENANT;
use rowhouse_store::{Change, StoreError};
use rowhouse_tenantdb::cell::{self, CellError};
use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use utoipa::ToSchema;
use uuid::Uuid;

use super::queries::{self, InventoryRow};
use crate::tenancy::cells;
use crate::{Control, Shared};

/// How often everything is compared, and how long after the start for the first time.
const EVERY: Duration = Duration::from_secs(24 * 3600);
const FIRST: Duration = Duration::from_secs(60);

/// The comparison could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The control database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A cell failed.
    #[error(transparent)]
    Cell(#[from] CellError),
    /// The directory of instances cannot be read.
    #[error("the directory of instances cannot be read")]
    Directory(#[from] std::io::Error),
}

/// Something that inventory and reality disagree about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
pub struct Finding {
    /// `orphan`: there, and on nobody's record. `lost`: on record, and not there. `unfinished`: begun by an operation that is
    /// over.
    pub problem: String,
    /// As in `database`.
    pub kind: String,
    /// Its name there.
    pub id: String,
    /// Where.
    pub cell: String,
    /// Whose, if that is known.
    pub tenant: Option<String>,
    /// In words.
    pub detail: String,
}

/// A thing that was found: kind, name, where; for rows, whose they are.
type Thing = (&'static str, String, String);

/// Compares every day until `shutdown`.
pub async fn run(control: &Shared, mut shutdown: watch::Receiver<bool>) {
    let mut beat = interval_at(Instant::now() + FIRST, EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            _ = shutdown.wait_for(|wanted| *wanted) => return,
        }
        match reconcile(control).await {
            Ok(findings) if findings.is_empty() => {}
            Ok(findings) => {
                tracing::warn!(
                    count = findings.len(),
                    "inventory and reality disagree; see `rowhouse inventory findings`"
                );
            }
            Err(error) => tracing::error!(%error, "inventory and reality could not be compared"),
        }
    }
}

/// Compares everything now and keeps what was found. Tenants with an operation under way are left out of what is lost.
///
/// # Errors
/// If a part of reality cannot be seen: then nothing is said about any.
pub async fn reconcile(control: &Control) -> Result<Vec<Finding>, ReconcileError> {
    let permit = Permit::for_system(None, "inventory and reality");
    // On record before the look and after it: what is made or removed meanwhile is no finding.
    let before = inventory(control).await?;
    let real = reality(control).await?;
    let after = inventory(control).await?;
    let apart = on_servers_apart(control).await?;
    let mut findings = orphans(&real, &after);
    findings.extend(lost((&real, &apart), &before, &after));
    findings.extend(
        after.iter().filter(|row| row.is_unfinished()).map(|row| row.finding("unfinished", UNFINISHED)),
    );
    findings.sort();
    let transaction = control.store.write(&permit).await?;
    let news = queries::keep_findings(&transaction, &findings, control.clock().now()).await?;
    if news == 0 {
        transaction.commit_telemetry().await?;
    } else {
        let change =
            Change::new(OPERATOR_TENANT, "lifecycle.inventory_differs", "create", permit.principal());
        let details = json!({ "findings": findings.len(), "new": news });
        transaction.commit(change.on("inventory", "all").details(details)).await?;
    }
    Ok(findings)
}

const UNFINISHED: &str = "an operation that is over began to make it and never said that it was there";

async fn inventory(control: &Control) -> Result<Vec<InventoryRow>, StoreError> {
    let transaction = control.store.read(&Permit::for_system(None, "inventory")).await?;
    let rows = queries::inventory(&transaction).await?;
    transaction.finish().await?;
    Ok(rows)
}

/// Everything that is there and bears a tenant's name.
async fn reality(control: &Control) -> Result<BTreeSet<Thing>, ReconcileError> {
    let transaction = control.store.read(&Permit::for_system(None, "cells")).await?;
    let mut all = Vec::new();
    for name in cells::with_shared_tables(&transaction).await? {
        all.extend(cells::get(&transaction, &name).await?);
    }
    transaction.finish().await?;
    let mut real = BTreeSet::new();
    for at in &all {
        let found = cell::found(at).await?;
        let named = |kind: &'static str, names: Vec<String>| {
            names.into_iter().map(move |name| (kind, name, at.name.clone()))
        };
        real.extend(named("database", found.databases));
        real.extend(named("role", found.logins));
        real.extend(named("schema", found.schemas));
        real.extend(named("rows", found.shared.iter().map(Uuid::to_string).collect()));
    }
    let folder = &control.settings.deploy.directory;
    if folder.exists() {
        for entry in std::fs::read_dir(folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            real.insert(("server", name, MACHINE.to_owned()));
        }
    }
    Ok(real)
}

/// What lies on servers of tenants' own: a restored copy is on record by its own name there. What else is on such a server
/// goes with it and is on nobody's record.
#[derive(Default)]
struct Apart {
    there: BTreeSet<(&'static str, String)>,
    /// One of the servers did not answer: nothing is said to be lost that may lie there.
    is_partial: bool,
}

async fn on_servers_apart(control: &Control) -> Result<Apart, StoreError> {
    let transaction = control.store.read(&Permit::for_system(None, "cells")).await?;
    let mut all = Vec::new();
    for name in cells::of_instances(&transaction).await? {
        all.extend(cells::get(&transaction, &name).await?);
    }
    transaction.finish().await?;
    let mut apart = Apart::default();
    for at in &all {
        match cell::found_of_server(at).await {
            Ok(found) => {
                apart.there.extend(found.databases.into_iter().map(|name| ("database", name)));
                apart.there.extend(found.logins.into_iter().map(|name| ("role", name)));
            }
            Err(error) => {
                tracing::info!(cell = at.name, %error, "a server was not looked at for the inventory");
                apart.is_partial = true;
            }
        }
    }
    Ok(apart)
}

/// Where servers of tenants' own are.
const MACHINE: &str = "this machine";

impl InventoryRow {
    /// As the same thing is named where it is found; `None` for what is not looked for: processes and ports are started and
    /// stopped with their server.
    fn thing(&self) -> Option<(&'static str, String)> {
        Some(match self.kind.as_str() {
            "database" => ("database", self.id.clone()),
            "role" => ("role", self.id.clone()),
            "schema" => ("schema", self.id.clone()),
            "server" => ("server", self.id.clone()),
            "rows" => ("rows", self.tenant.0.to_string()),
            _ => return None,
        })
    }

    fn is_unfinished(&self) -> bool {
        self.state == "intent" && self.saga_is_over && !self.is_busy
    }

    fn finding(&self, problem: &str, detail: &str) -> Finding {
        Finding {
            problem: problem.to_owned(),
            kind: self.kind.clone(),
            id: self.id.clone(),
            cell: self.cell.clone().unwrap_or_default(),
            tenant: Some(self.tenant.to_string()),
            detail: detail.to_owned(),
        }
    }
}

fn orphans(real: &BTreeSet<Thing>, inventory: &[InventoryRow]) -> Vec<Finding> {
    let known: BTreeSet<_> = inventory.iter().filter_map(InventoryRow::thing).collect();
    let unknown = real.iter().filter(|(kind, name, _)| !known.contains(&(*kind, name.clone())));
    unknown
        .map(|(kind, name, cell)| Finding {
            problem: "orphan".to_owned(),
            kind: (*kind).to_owned(),
            id: name.clone(),
            cell: cell.clone(),
            tenant: None,
            detail: "it is there, and no operation has it on record".to_owned(),
        })
        .collect()
}

fn lost(
    (real, apart): (&BTreeSet<Thing>, &Apart),
    before: &[InventoryRow],
    after: &[InventoryRow],
) -> Vec<Finding> {
    let mut there: BTreeSet<_> = real.iter().map(|(kind, name, _)| (*kind, name.clone())).collect();
    there.extend(apart.there.iter().cloned());
    let unseen = |kind: &str| apart.is_partial && matches!(kind, "database" | "role");
    let still = |row: &&InventoryRow| {
        after.iter().any(|now| {
            now.state == "observed"
                && !now.is_busy
                && (&now.kind, &now.id, now.tenant) == (&row.kind, &row.id, row.tenant)
        })
    };
    let missing =
        |row: &&InventoryRow| row.thing().is_some_and(|thing| !there.contains(&thing) && !unseen(thing.0));
    let lost = before.iter().filter(|row| row.state == "observed").filter(still).filter(missing);
    lost.map(|row| row.finding("lost", "it is on record, and not there")).collect()
}

/// A finding as it was kept.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct KeptFinding {
    /// What.
    #[serde(flatten)]
    pub finding: Finding,
    /// When it was first seen.
    #[schema(value_type = String)]
    pub first_seen_at: Timestamp,
    /// When it was last seen.
    #[schema(value_type = String)]
    pub last_seen_at: Timestamp,
}
