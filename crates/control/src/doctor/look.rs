//! Looking: at named cells or all, on demand, at start, and every night.

use std::time::Duration;

use rowhouse_domain::access::Permit;
use rowhouse_domain::refusal::Refusal;
use rowhouse_store::StoreError;
use rowhouse_tenantdb::doctor::{Examination, Finding, Severity, examine};
use tokio::sync::watch;
use tokio::time::interval;

use super::queries;
use crate::{Control, Shared, tenancy};

/// How often it is looked whether there is a cell that nobody has examined, or a new day.
const PACE: Duration = Duration::from_secs(2);
/// When the nightly look is due, in seconds after the last one.
const NIGHTLY_S: i64 = 24 * 60 * 60;

/// What was found in the cells that were looked at.
#[derive(Debug, Clone)]
pub struct Report {
    /// Cell, database (empty for the server) and finding; the gravest first.
    pub findings: Vec<(String, String, Finding)>,
    /// Servers, databases, schemas and logins that were looked at.
    pub checked: usize,
    /// Cells that could not be reached, and why.
    pub unreachable: Vec<(String, String)>,
}

impl Report {
    /// Whether anything grave was found.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|(_, _, finding)| finding.severity).max()
    }
}

/// Examines cells and records what was found. A server whose holes are open, or that is below the floor, is strict from then
/// on; services are told.
///
/// # Errors
/// If the control database is away. A cell that is away is in the report.
pub async fn look(control: &Control, names: Option<&[String]>, probe: bool) -> Result<Report, Refusal> {
    let transaction = control.store.read(&Permit::for_system(None, "the doctor")).await?;
    let mut cells = Vec::new();
    for name in queries::cells(&transaction, names).await? {
        if let Some(cell) = tenancy::cells::get(&transaction, &name).await? {
            cells.push(cell);
        }
    }
    transaction.finish().await?;
    let mut report = Report { findings: Vec::new(), checked: 0, unreachable: Vec::new() };
    for cell in &cells {
        match examine(cell, probe).await {
            Ok(examination) => {
                record(control, &cell.name, &examination, probe).await?;
                report.checked += examination.checked;
                let of_cell = examination.findings.into_iter();
                report
                    .findings
                    .extend(of_cell.map(|(database, finding)| (cell.name.clone(), database, finding)));
            }
            Err(error) => {
                tracing::error!(cell = cell.name, %error, "a cell cannot be examined");
                report.unreachable.push((cell.name.clone(), error.to_string()));
            }
        }
    }
    report.findings.sort_by(|(a_cell, a_database, a), (b_cell, b_database, b)| {
        (b.severity, a.code, a_cell, a_database, &a.object)
            .cmp(&(a.severity, b.code, b_cell, b_database, &b.object))
    });
    Ok(report)
}

async fn record(control: &Control, cell: &str, found: &Examination, probed: bool) -> Result<(), StoreError> {
    let strict = found.below_floor();
    let transaction = control.store.write(&Permit::for_system(None, "the doctor")).await?;
    // Without probes only the version speaks; it may make a server strict, but not clear one whose holes were seen open.
    let cleared_by_version = !probed && !strict;
    let stays = cleared_by_version && queries::was_strict(&transaction, cell, &found.version).await?;
    let strict = strict || stays;
    let now = control.clock().now();
    let changed = queries::record(&transaction, cell, (&found.version, strict), &found.findings, now).await?;
    if changed {
        tenancy::plane::raise(&transaction).await?;
        tracing::warn!(cell, version = found.version, strict, "statements in this cell are judged anew");
    }
    transaction.commit_telemetry().await
}

/// Looks with probes at every cell at start and once a day, and at new ones at once, until `shutdown`.
pub async fn run(control: Shared, mut shutdown: watch::Receiver<bool>) {
    let mut pace = interval(PACE);
    let mut last_s = None;
    loop {
        tokio::select! {
            _ = pace.tick() => {}
            _ = shutdown.wait_for(|wanted| *wanted) => return,
        }
        let now_s = control.clock().now_s();
        let nightly = last_s.is_none_or(|last: i64| now_s - last >= NIGHTLY_S);
        let looked = if nightly {
            last_s = Some(now_s);
            look(&control, None, true).await
        } else {
            look_at_new(&control).await
        };
        match looked {
            Ok(report) => say(&report),
            Err(refusal) => tracing::warn!(%refusal, "the doctor cannot look now; trying again"),
        }
    }
}

async fn look_at_new(control: &Control) -> Result<Report, Refusal> {
    let transaction = control.store.read(&Permit::for_system(None, "the doctor")).await?;
    let new = queries::unexamined(&transaction).await?;
    transaction.finish().await?;
    if new.is_empty() {
        return Ok(Report { findings: Vec::new(), checked: 0, unreachable: Vec::new() });
    }
    look(control, Some(&new), true).await
}

fn say(report: &Report) {
    for (cell, database, finding) in &report.findings {
        if finding.severity > Severity::Low {
            tracing::error!(
                cell,
                database,
                code = finding.code,
                object = finding.object,
                "{}",
                finding.detail
            );
        }
    }
}
