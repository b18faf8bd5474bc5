//! The daily probes: fifty attacks on each cell's shared database (`tenantdb::probes`), kept as evidence. One that gets through is an
//! event in the operator's log and a message to the operators.

use jiff::{SignedDuration, Timestamp};
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::OPERATOR_TENANT;
use rowhouse_domain::messages::template;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::Change;
use rowhouse_tenantdb::cell::SHARED_DATABASE;
use rowhouse_tenantdb::probes::{Outcome, probe};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::interval;
use uuid::Uuid;

use super::queries;
use crate::messages::{self, NewMessage, To};
use crate::{Control, Shared, tenancy};

/// How often the time is looked at.
const PACE: std::time::Duration = std::time::Duration::from_secs(1);
/// How often the database is asked whether a cell is due, in seconds of the clock.
const LOOK_S: i64 = 60;
/// Between two rounds of probes on one cell.
pub const EVERY: SignedDuration = SignedDuration::from_hours(24);
/// How long evidence is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 400);

/// One round of probes.
#[derive(Debug, Clone)]
pub struct Round {
    /// Its id in the evidence.
    pub id: Uuid,
    /// The cell.
    pub cell: String,
    /// What became of each; empty if no tenants share a database there.
    pub outcomes: Vec<Outcome>,
    /// When.
    pub at: Timestamp,
}

/// Tries all probes on the cells of these names, or on all. Cells without a shared database that holds a service's tables have none.
///
/// # Errors
/// If the control database or a cell is away.
pub async fn probe_cells(control: &Control, names: Option<&[String]>) -> Result<Vec<Round>, Refusal> {
    let permit = Permit::for_system(None, "probes");
    let transaction = control.store.read(&permit).await?;
    let names = queries::cells(&transaction, names).await?;
    transaction.finish().await?;
    let mut rounds = Vec::new();
    for name in names {
        if let Some(round) = probe_cell(control, &name).await? {
            rounds.push(round);
        }
    }
    Ok(rounds)
}

async fn probe_cell(control: &Control, name: &str) -> Result<Option<Round>, Refusal> {
    let permit = Permit::for_system(None, "probes");
    let transaction = control.store.read(&permit).await?;
    let cell = tenancy::cells::get(&transaction, name).await?;
    let key = tenancy::cells::newest_key(&transaction, control, name, SHARED_DATABASE).await;
    transaction.finish().await?;
    let (Some(cell), Some(key)) = (cell, key.map_err(broken)?) else { return Ok(None) };
    let at = control.clock().now();
    let id = control.entropy().uuid_v7(control.clock().now_us());
    let day = usize::try_from(at.as_second() / (24 * 60 * 60)).unwrap_or(0);
    let marker = format!("probe-{}", id.simple());
    let outcomes = probe(&cell, &key, &marker, day).await.map_err(broken)?;
    if outcomes.is_empty() {
        return Ok(None);
    }
    let round = Round { id, cell: name.to_owned(), outcomes, at };
    record(control, &round).await?;
    Ok(Some(round))
}

fn broken(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(&kind::UNAVAILABLE, "The cell cannot be probed now.").private(error.to_string())
}

/// Evidence, and in the same transaction the alarm, if there is a reason.
async fn record(control: &Control, round: &Round) -> Result<(), Refusal> {
    let permit = Permit::for_system(None, "probes");
    let transaction = control.store.write(&permit).await?;
    for (number, outcome) in (1..).zip(&round.outcomes) {
        queries::record_probe(
            &transaction,
            (round.id, number),
            (&round.cell, SHARED_DATABASE),
            outcome,
            round.at,
        )
        .await?;
    }
    queries::forget_probes(&transaction, round.at - KEPT).await?;
    let through: Vec<&Outcome> = round.outcomes.iter().filter(|outcome| !outcome.held).collect();
    if through.is_empty() {
        return Ok(transaction.commit_telemetry().await?);
    }
    let names: Vec<&str> = through.iter().map(|outcome| outcome.probe.name).collect();
    tracing::error!(cell = round.cell, probes = ?names, "a probe of tenants' isolation got through");
    let what =
        format!("probes of tenants' isolation got through in the cell {}: {}", round.cell, names.join(", "));
    let message =
        NewMessage::new(&template::SECURITY_ALERT, OPERATOR_TENANT, To::Operators, round.id.to_string())
            .value("what", what)
            .value("at", round.at);
    messages::queue(control, &transaction, message).await?;
    let change = Change::new(OPERATOR_TENANT, "tenancy.probe_succeeded", "update", permit.principal())
        .on("cell", &round.cell)
        .details(json!({ "run": round.id, "database": SHARED_DATABASE, "probes": names }));
    transaction.commit(change).await?;
    Ok(())
}

/// Probes every cell once a day, until `shutdown`.
pub async fn run(control: Shared, mut shutdown: watch::Receiver<bool>) {
    let mut pace = interval(PACE);
    let mut looked_s = None;
    loop {
        tokio::select! {
            _ = pace.tick() => {}
            _ = shutdown.wait_for(|wanted| *wanted) => return,
        }
        let now_s = control.clock().now_s();
        if looked_s.is_some_and(|last: i64| (last..last + LOOK_S).contains(&now_s)) {
            continue;
        }
        looked_s = Some(now_s);
        if let Err(refusal) = probe_due(&control).await {
            tracing::warn!(%refusal, "cells cannot be probed now; trying again");
        }
    }
}

async fn probe_due(control: &Control) -> Result<(), Refusal> {
    let transaction = control.store.read(&Permit::for_system(None, "probes")).await?;
    let due = queries::unprobed(&transaction, control.clock().now() - EVERY).await?;
    transaction.finish().await?;
    for name in due {
        probe_cell(control, &name).await?;
    }
    Ok(())
}
