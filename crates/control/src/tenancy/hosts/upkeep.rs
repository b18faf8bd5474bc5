//! What happens to names without anybody asking: proofs are looked at daily, lost names leave, quarantines end.

use std::time::Duration;

use rowhouse_domain::access::Permit;
use rowhouse_domain::refusal::Refusal;
use rowhouse_domain::tenancy::hosts::{CHECK_EVERY_US, HostState};
use rowhouse_store::Change;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::interval;

use super::{queries, verify};
use crate::{Control, Shared};

/// How often it is looked whether anything is due.
const LOOK: Duration = Duration::from_secs(60);
/// Names that are looked at in one go.
const AT_ONCE: i64 = 100;

/// Keeps up until `shutdown`. More processes than one do no harm: each check is one transaction on a locked row.
pub async fn run(control: Shared, mut shutdown: watch::Receiver<bool>) {
    let mut look = interval(LOOK);
    loop {
        tokio::select! {
            _ = look.tick() => {}
            _ = shutdown.wait_for(|wanted| *wanted) => return,
        }
        tokio::select! {
            done = keep_up(&control) => if let Err(refusal) = done {
                tracing::warn!(%refusal, cause = refusal.private_detail().unwrap_or(""), "tenants' domains were not looked at");
            },
            _ = shutdown.wait_for(|wanted| *wanted) => return,
        }
    }
}

/// Does all that is due now; how many names were looked at or let go.
///
/// # Errors
/// If the control database is away.
pub async fn keep_up(control: &Control) -> Result<usize, Refusal> {
    let mut done = let_go(control).await?;
    loop {
        let permit = Permit::for_system(None, "domains that are due");
        let transaction = control.store.read(&permit).await?;
        let before_us = control.clock().now_us().saturating_sub(CHECK_EVERY_US);
        let due = queries::due(&transaction, before_us, AT_ONCE).await?;
        transaction.finish().await?;
        if due.is_empty() {
            return Ok(done);
        }
        for host in &due {
            let permit = Permit::for_system(Some(host.tenant), "the daily look at a domain");
            let after = verify::verify(control, &permit, host.id, None).await?;
            if after.standing.state == HostState::Failing && host.standing.state != HostState::Failing {
                tracing::warn!(host = host.name, tenant = %host.tenant, "a tenant's domain is failing");
            }
        }
        done += due.len();
    }
}

/// Ends quarantines that are over: anybody may claim the name then.
async fn let_go(control: &Control) -> Result<usize, Refusal> {
    let before_us = control.clock().now_us().saturating_sub(control.settings.hosts.quarantine_us());
    let permit = Permit::for_system(None, "quarantines that are over");
    let transaction = control.store.read(&permit).await?;
    let over = queries::released(&transaction, before_us).await?;
    transaction.finish().await?;
    for host in &over {
        let permit = Permit::for_system(Some(host.tenant), "the end of a quarantine");
        let transaction = control.store.write(&permit).await?;
        let still = queries::lock(&transaction, host.id).await?;
        if still.is_some_and(|still| still.standing == host.standing) {
            queries::delete(&transaction, host.id).await?;
            let change = Change::new(host.tenant, "tenancy.host_changed", "delete", permit.principal());
            let details = json!({ "name": host.name, "before": "quarantined" });
            transaction.commit(change.on("host", host.id).details(details)).await?;
        } else {
            transaction.rollback().await?;
        }
    }
    Ok(over.len())
}
