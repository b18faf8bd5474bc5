//! The certificate: made from what the steps have left behind, once the tenant's audit log is closed and signed, and kept
//! for ever. That it was given is an event of the operator's log.

use std::time::Duration;

use jiff::Timestamp;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{OPERATOR_TENANT, TenantId};
use rowhouse_domain::lifecycle::certificate::{AuditEnd, Certificate, Outcome, StoreResult, Sweep, TYPE};
use rowhouse_domain::lifecycle::envelope::Envelope;
use rowhouse_domain::lifecycle::evidence::{self, Evidence, Inclusion, TreeHead};
use rowhouse_store::sagas::{Done, Run, StepError, StepResult};
use rowhouse_store::{Change, StoreError, Transaction};
use rowhouse_tenantdb::place::erase::Held;
use serde_json::{Value, json};
use tokio::time::{Instant, interval, timeout_at};

use super::Params;
use super::steps::{Beginning, Forgotten, Swept};
use crate::lifecycle::backup::Erased;
use crate::lifecycle::provision::{failure, tenant_of};
use crate::lifecycle::{export, queries, tell};
use crate::{Control, Shared, audit};

/// How long one try waits for the log to be closed and signed.
const CLOSED_MAX: Duration = Duration::from_secs(10);
const CLOSED_LOOK: Duration = Duration::from_millis(50);

/// A certificate as it was given.
#[derive(Debug, Clone)]
pub struct Issued {
    /// 1 for the first.
    pub number: i32,
    /// The signed envelope.
    pub envelope: Envelope,
    /// When.
    pub at: Timestamp,
}

/// The newest certificate of a tenant.
///
/// # Errors
/// If the control database failed.
pub async fn issued(transaction: &Transaction, tenant: TenantId) -> Result<Option<Issued>, StoreError> {
    queries::newest_certificate(transaction, tenant).await
}

/// What lets anybody check a tenant's certificate without us: what is signed by now. The event that gives it is in the
/// operator's log a moment later.
///
/// # Errors
/// If the control database failed.
pub async fn evidence_of(control: &Control, tenant: TenantId) -> Result<Evidence, StoreError> {
    let permit = Permit::for_system(None, "evidence of an erasure");
    let transaction = control.store.read(&permit).await?;
    let about = format!("tenant:{tenant}");
    let proven = audit::proven(control, &transaction, OPERATOR_TENANT, (evidence::EVENT, &about)).await?;
    let head = audit::signed_head(control, &transaction, tenant).await?;
    transaction.finish().await?;
    Ok(Evidence {
        inclusion: proven.map(|proven| Inclusion {
            origin: proven.origin,
            vkey: proven.vkey,
            leaf: proven.leaf,
            proof: proven.proof,
        }),
        tree_head: head.map(|(vkey, checkpoint)| TreeHead { vkey, checkpoint }),
    })
}

/// Writes and signs it. Twice is once: what was given stays.
pub async fn certify(run: &Run<'_, Shared>) -> StepResult {
    let tenant = tenant_of(run);
    let end = wait_until_closed(run).await?;
    let transaction = run.write().await?;
    if issued(&transaction, tenant).await?.is_some() {
        transaction.rollback().await?;
        return Ok(Done::with(&json!({ "tenant": tenant })));
    }
    let exported_at = export::last_ready(&transaction, tenant).await?;
    let certificate = certificate(run, end, exported_at)?;
    let key = run.context.audit.platform();
    let key = key.ok_or_else(|| StepError::never("api.internal", "the platform has no key"))?;
    let envelope = certificate.sign(&key);
    tell::left(run.context, &transaction, tenant, run.saga.operation()).await.map_err(failure)?;
    queries::keep_certificate(&transaction, tenant, 1, &envelope).await?;
    let digest = evidence::payload_digest(&envelope);
    let change = Change::new(OPERATOR_TENANT, evidence::EVENT, "create", transaction.principal())
        .on("tenant", tenant)
        .details(json!({ "operation": run.saga.operation(), "payload_sha256": digest }));
    transaction.commit(change).await?;
    Ok(Done::with(&json!({ "tenant": tenant })))
}

async fn wait_until_closed(run: &Run<'_, Shared>) -> Result<audit::LogState, StepError> {
    let tenant = tenant_of(run);
    let mut look = interval(CLOSED_LOOK);
    let closed = async {
        loop {
            look.tick().await;
            let permit = Permit::for_system(Some(tenant), "the end of an audit log");
            let transaction = run.context.store.read(&permit).await?;
            let end = audit::ended(&transaction, tenant).await?;
            transaction.finish().await?;
            if let Some(end) = end {
                return Ok(end);
            }
        }
    };
    match timeout_at(Instant::now() + CLOSED_MAX, closed).await {
        Ok(end) => end,
        Err(_) => Err(StepError::Again("the tenant's audit log is not signed to its end yet".to_owned())),
    }
}

fn certificate(
    run: &Run<'_, Shared>,
    end: audit::LogState,
    exported_at: Option<Timestamp>,
) -> Result<Certificate, StepError> {
    let params: Params = run.params()?;
    let beginning: Beginning = run.expect_output("begin")?;
    let held: Held = run.output("mark")?.unwrap_or_default();
    let forgotten: Forgotten = run.output("forget")?.unwrap_or_default();
    let copies: Erased = run.output("erase")?.unwrap_or_default();
    let closed: Value = run.expect_output("close")?;
    let text = |name: &str| closed[name].as_str().unwrap_or_default().to_owned();
    let erased_at = forgotten.at.unwrap_or(beginning.at);
    let swept: Option<Swept> = run.output("sweep")?;
    Ok(Certificate {
        document_type: TYPE.to_owned(),
        tenant: tenant_of(run).to_string(),
        code_sha256: text("code_sha256"),
        isolation: beginning.isolation.clone(),
        requested_at: params.requested_at,
        // Earlier than planned, if two people asked for it.
        retention_ended_at: params.retention_ends_at.min(beginning.at),
        erased_at,
        stores: stores(&beginning, &held, &forgotten, &copies),
        sweep: sweep(swept, &held, erased_at),
        exported_at,
        holds: Vec::new(),
        audit: AuditEnd { origin: end.origin, size: end.size, root: end.root.to_string() },
    })
}

/// A sweep that a person took as done by hand says that nothing was searched.
fn sweep(swept: Option<Swept>, held: &Held, erased_at: Timestamp) -> Sweep {
    let (at, cell, tables) = match swept {
        Some(swept) => (swept.at, swept.cell, swept.tables),
        None => (erased_at, Default::default(), 0),
    };
    Sweep {
        at,
        found: cell.found.len() as u64,
        tables: cell.tables + tables,
        files: cell.files,
        bytes: cell.bytes,
        marker_seen_before: held.marker_seen,
    }
}

fn store(name: &str, result: Outcome) -> StoreResult {
    StoreResult {
        store: name.to_owned(),
        cell: None,
        items: None,
        result,
        key_destroyed_at: None,
        last_expires_at: None,
        basis: None,
        note: None,
    }
}

fn stores(beginning: &Beginning, held: &Held, forgotten: &Forgotten, copies: &Erased) -> Vec<StoreResult> {
    let rows = held.tables.iter().map(|(_, rows)| rows.unsigned_abs()).sum();
    let of = |names: &[&str]| {
        let named =
            forgotten.rows.iter().filter(|(table, _)| names.iter().any(|name| table.starts_with(name)));
        let items: u64 = named.map(|(_, rows)| rows.unsigned_abs()).sum();
        let result = if items == 0 { Outcome::NothingFound } else { Outcome::Erased };
        (Some(items), result)
    };
    let database = match &beginning.placed {
        Some(placed) => StoreResult {
            cell: Some(placed.cell.clone()),
            items: Some(rows),
            ..store("database", Outcome::Erased)
        },
        None => store("database", Outcome::NothingFound),
    };
    let from = |name: &str, tables: &[&str]| {
        let (items, result) = of(tables);
        StoreResult { items, ..store(name, result) }
    };
    let copied = |name: &str, items: u64| {
        let result = if items == 0 { Outcome::NothingFound } else { Outcome::Erased };
        StoreResult { items: Some(items), ..store(name, result) }
    };
    let noted =
        |name: &str, note: &str| StoreResult { note: Some(note.to_owned()), ..store(name, Outcome::Expires) };
    let retained = |name: &str, basis: &str| StoreResult {
        basis: Some(basis.to_owned()),
        ..store(name, Outcome::Retained)
    };
    let total = forgotten.rows.iter().map(|(_, rows)| rows.unsigned_abs()).sum();
    vec![
        database,
        StoreResult {
            key_destroyed_at: forgotten.key_destroyed_at,
            ..store(
                "tenant_key",
                if forgotten.key_destroyed_at.is_some() { Outcome::Shredded } else { Outcome::NothingFound },
            )
        },
        copied("backups", copies.backups),
        copied("exports", copies.exports),
        copied("restored_copies", copies.restored_places),
        from("credentials", &["keys.", "identity."]),
        from("grants", &["access."]),
        from("configuration", &["tenancy.configuration", "tenancy.feature"]),
        StoreResult {
            items: Some(forgotten.hosts),
            note: Some(
                "in quarantine: the names lead nowhere and are nobody else's until it ends".to_owned(),
            ),
            ..store("hosts", if forgotten.hosts == 0 { Outcome::NothingFound } else { Outcome::Expires })
        },
        from("messages", &["messages."]),
        StoreResult { items: Some(total), ..store("control_database", Outcome::Erased) },
        noted("write_ahead_log", "overwritten as the database's log goes round"),
        noted("request_journal", "segments are removed when they are older than the setting `journal.keep`"),
        retained("invoices", "tax law"),
        retained("usage", "the figures that invoices are made of; without what services reported with them"),
        retained("audit_log", "closed; proves what was done and by whom"),
    ]
}
