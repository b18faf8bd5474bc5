//! Events that the audit API itself leaves: logs that were read, and logs of others that were asked for.

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, StoreError};
use serde_json::Value;

use super::read;
use crate::Control;
use crate::api::Caller;

/// Leaves the event `event` that a log, or one event of it, was read. The answer leaves only after it.
pub async fn reading(
    control: &Control,
    caller: &Caller,
    permit: &Permit,
    log: TenantId,
    event: &str,
    details: Value,
) -> Result<(), StoreError> {
    let tx = control.store.write(permit).await?;
    let change = Change::new(log, event, "read", tx.principal()).on("audit_log", log).details(details);
    tx.commit(change.request(caller.request_id)).await
}

/// The refusal for a log that the caller may not know of. If it is another tenant's, both tenants' logs tell it.
pub async fn no_such_log(control: &Control, caller: &Caller, name: &str) -> Result<Refusal, StoreError> {
    let directory = caller.directory();
    let by_id = || name.parse::<TenantId>().ok().and_then(|id| directory.tenants.get(&id));
    if let Some(owner) = directory.tenant_by_code(name).or_else(by_id) {
        crossing(control, caller, owner.id, "audit_log", owner.id.to_string()).await?;
    }
    Ok(Refusal::new(&kind::NOT_FOUND, "There is no such log."))
}

/// The refusal for an event that the caller may not know of. If it is another tenant's, both tenants' logs tell it.
pub async fn no_such_event(control: &Control, caller: &Caller, id: &str) -> Result<Refusal, StoreError> {
    if !caller.is_operator() {
        let tx = control.store.read(&Permit::for_system(None, "whose event was asked for")).await?;
        let found = read::event(&tx, id).await?;
        tx.finish().await?;
        if let Some((owner, _)) = found.filter(|(owner, _)| *owner != caller.tenant()) {
            crossing(control, caller, owner, "event", id.to_owned()).await?;
        }
    }
    Ok(Refusal::new(&kind::NOT_FOUND, "There is no such event."))
}

/// One change in two logs. The owner is not told who asked: that is the other tenant's own matter.
async fn crossing(
    control: &Control,
    caller: &Caller,
    owner: TenantId,
    target: &str,
    id: String,
) -> Result<(), StoreError> {
    let tx = control.store.write(&Permit::for_system(None, "a refused crossing of tenants")).await?;
    let event = |log| {
        let mut change = Change::new(log, "access.tenant_crossing_refused", "read", caller.principal());
        change.result = "failure".to_owned();
        change.code = Some(kind::NOT_FOUND.code.to_owned());
        change
    };
    let own = event(caller.tenant()).on("audit_log", caller.tenant()).request(caller.request_id);
    let mut other = event(owner).on(target, id);
    (other.actor_kind, other.actor) = ("anonymous".to_owned(), "another tenant".to_owned());
    tx.commit_all(vec![own, other]).await
}
