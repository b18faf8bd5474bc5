//! Beginning, stopping and going on with a rollout.

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{OPERATOR_TENANT, RequestId, RolloutId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Transaction};
use rowhouse_tenantdb::tables::ServiceTables;
use serde_json::json;

use super::queries::{self, Behind, RolloutRow};
use super::waves::{self, Candidate, Wave};
use crate::{Control, tenancy};

/// What is wanted of a rollout.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub service: String,
    /// The version that is recorded, or nothing for just that.
    pub to: Option<i32>,
    pub waves: Vec<String>,
    pub goes_on_after_failures: bool,
}

/// A rollout as it would be: the tables, who is behind, and the number of each one's wave.
pub(super) struct Plan {
    pub tables: ServiceTables,
    pub waves: Vec<Wave>,
    pub targets: Vec<(usize, Behind)>,
}

/// Reads what is recorded and who is behind it.
///
/// # Errors
/// 404 for a service without tables; 422 for waves or a version that are none.
pub(super) async fn plan(transaction: &Transaction, wanted: &Wanted) -> Result<Plan, Refusal> {
    let invalid = |pointer: &str, words: String| {
        Refusal::new(&kind::INVALID, words.clone()).field(pointer.to_owned(), "invalid", words)
    };
    let waves = waves::parse(&wanted.waves).ok_or_else(|| {
        invalid("/waves", "Waves are `canary` first, if at all, and rising shares up to `100%`.".to_owned())
    })?;
    let tables = tenancy::service_tables::of_service(transaction, &wanted.service).await?;
    let tables = tables
        .ok_or_else(|| Refusal::new(&kind::NOT_FOUND, format!("`{}` has no tables.", wanted.service)))?;
    if wanted.to.is_some_and(|to| to != tables.version()) {
        let words = format!("The tables of {} are recorded at version {}.", wanted.service, tables.version());
        return Err(invalid("/to", words));
    }
    let behind = queries::behind(transaction, &wanted.service, tables.version()).await?;
    let candidates: Vec<Candidate> =
        behind.iter().map(|one| Candidate { own: one.tenant.is_some(), canary: one.canary }).collect();
    let planned = waves::plan(&candidates, &waves);
    Ok(Plan { tables, waves, targets: planned.into_iter().zip(behind).collect() })
}

/// Begins a rollout to all who are behind.
///
/// # Errors
/// As [`plan`], and 409 while another one of the service runs.
pub(super) async fn begin(
    control: &Control,
    permit: &Permit,
    wanted: &Wanted,
    request_id: RequestId,
) -> Result<RolloutRow, Refusal> {
    let transaction = control.store.write(permit).await?;
    let plan = plan(&transaction, wanted).await?;
    let now = control.clock().now();
    let row = RolloutRow {
        id: RolloutId(control.entropy().uuid_v7(control.clock().now_us())),
        service: wanted.service.clone(),
        version: plan.tables.version(),
        waves: wanted.waves.clone(),
        on_failure: if wanted.goes_on_after_failures { "continue" } else { "stop" }.to_owned(),
        state: "running".to_owned(),
        wave: 0,
        reason: None,
        created_at: now,
        finished_at: None,
    };
    if !queries::insert(&transaction, &row, &permit.principal().to_string()).await? {
        return Err(running(&wanted.service));
    }
    for (wave, behind) in &plan.targets {
        let wave = i32::try_from(*wave).expect("waves are few");
        queries::insert_target(&transaction, row.id, behind, (wave, now)).await?;
    }
    let details = json!({ "service": row.service, "version": row.version, "schemas": plan.targets.len() });
    transaction.commit(change(permit, row.id, "create", details, request_id)).await?;
    Ok(row)
}

fn running(service: &str) -> Refusal {
    Refusal::new(&kind::ROLLOUT_RUNNING, format!("A rollout of {service} runs already."))
}

fn change(
    permit: &Permit,
    id: RolloutId,
    action: &'static str,
    details: serde_json::Value,
    request_id: RequestId,
) -> Change {
    Change::new(OPERATOR_TENANT, "tenancy.rollout_changed", action, permit.principal())
        .on("rollout", id)
        .details(details)
        .request(request_id)
}

/// What a person tells a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Go on, whatever fails from now on.
    Continue,
    /// Begin nothing more.
    Stop,
    /// Try what failed again.
    Retry,
}

impl Order {
    fn as_str(self) -> &'static str {
        match self {
            Order::Continue => "continue",
            Order::Stop => "stop",
            Order::Retry => "retry",
        }
    }
}

/// Carries out an order. Said twice it is done once.
///
/// # Errors
/// 404 for no rollout; 409 in a state that does not permit it.
pub(super) async fn order(
    control: &Control,
    permit: &Permit,
    (id, order): (RolloutId, Order),
    request_id: RequestId,
) -> Result<RolloutRow, Refusal> {
    let transaction = control.store.write(permit).await?;
    let none = || Refusal::new(&kind::NOT_FOUND, "There is no such rollout.");
    let row = queries::lock(&transaction, id).await?.ok_or_else(none)?;
    let now = control.clock().now();
    let refuse = || {
        let words = format!("A rollout that is {} does not {}.", row.state, order.as_str());
        Refusal::new(&kind::ROLLOUT_STATE, words)
    };
    let runs_again = matches!(order, Order::Continue | Order::Retry) && row.state != "running";
    if runs_again && queries::another_runs(&transaction, &row.service, id).await? {
        return Err(running(&row.service));
    }
    match (order, row.state.as_str()) {
        (Order::Stop, "stopped") => {}
        (Order::Stop, "running") => {
            queries::set(&transaction, id, ("stopped", row.wave, Some("stopped by hand")), None).await?;
        }
        (Order::Continue, "running" | "stopped") => {
            queries::go_on_after_failures(&transaction, id).await?;
            queries::set(&transaction, id, ("running", row.wave, None), None).await?;
        }
        (Order::Retry, "stopped" | "incomplete") => {
            let wave = queries::retry_failed(&transaction, id, now).await?.unwrap_or(row.wave);
            queries::set(&transaction, id, ("running", wave.min(row.wave), None), None).await?;
        }
        _ => return Err(refuse()),
    }
    transaction.commit(change(permit, id, "update", json!({ "order": order.as_str() }), request_id)).await?;
    let transaction = control.store.read(permit).await?;
    let row = queries::get(&transaction, id).await?.ok_or_else(none)?;
    transaction.finish().await?;
    Ok(row)
}
