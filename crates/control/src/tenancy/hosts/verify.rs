//! Asking DNS for the proof of a name, and what follows from the answer.

use rowhouse_domain::access::{Permit, Principal};
use rowhouse_domain::id::HostId;
use rowhouse_domain::messages::template;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::tenancy::hosts::{HostState, Proof};
use rowhouse_store::{Change, Notice, Transaction};
use serde_json::json;

use super::claim::held;
use super::record::HostRow;
use super::resolvers::{self, Said};
use super::{proof, queries};
use crate::Control;
use crate::messages::{self, NewMessage, To};

/// What DNS says of `host`, and in words what is wrong.
pub(super) async fn ask(control: &Control, host: &HostRow) -> (Vec<Said>, Proof, Option<String>) {
    let record: proof::Record = host.proof(control);
    let said = resolvers::texts(&control.settings.hosts.resolvers, control.entropy(), &record.name).await;
    let (proof, problem) = resolvers::judge(&said, &record.value);
    (said, proof, problem)
}

/// Looks for the proof of `id` and does what follows. No transaction is open while DNS is asked.
///
/// # Errors
/// 404 if there is none within the permit; 409 `tenancy.host_taken` if another tenant's proof was first.
pub(super) async fn verify(
    control: &Control,
    permit: &Permit,
    id: HostId,
    request: Option<rowhouse_domain::id::RequestId>,
) -> Result<HostRow, Refusal> {
    let transaction = control.store.read(permit).await?;
    let host = queries::find(&transaction, id).await?.ok_or_else(no_such_host)?;
    transaction.finish().await?;
    let (_, proof, problem) = ask(control, &host).await;
    let transaction = control.store.write(permit).await?;
    // It may have changed meanwhile.
    let before = queries::lock(&transaction, id).await?.ok_or_else(no_such_host)?;
    let now = control.clock().now();
    let standing = before.standing.after(proof, control.clock().now_us());
    let asks = matches!(before.standing.state, HostState::Pending | HostState::Verified | HostState::Failing);
    let after = HostRow {
        standing,
        checked_at: if asks { Some(now) } else { before.checked_at },
        verified_at: if asks && proof == Proof::Shown { Some(now) } else { before.verified_at },
        last_problem: if asks { problem } else { before.last_problem.clone() },
        ..before.clone()
    };
    queries::put(&transaction, &after).await.map_err(|error| held(error, &after.name))?;
    if after.standing.state == before.standing.state {
        // When it was looked at is no change of the tenant's; what became of it is.
        transaction.commit_telemetry().await?;
    } else {
        let mut change = turned(&after, before.standing.state, permit.principal());
        if let Some(request) = request {
            change = change.request(request);
        }
        if after.standing.state == HostState::Failing {
            tell(control, &transaction, &after).await?;
        }
        transaction.commit(change).await?;
    }
    Ok(after)
}

/// The tenant's administrators, once each time that it begins to fail.
async fn tell(control: &Control, transaction: &Transaction, host: &HostRow) -> Result<(), Refusal> {
    let key = format!("{}/{}", host.id, host.standing.since_us);
    let message = NewMessage::new(&template::HOST_FAILING, host.tenant, To::Administrators, key)
        .value("host", &host.name)
        .value("problem", host.last_problem.as_deref().unwrap_or("the proof is gone"));
    messages::queue(control, transaction, message).await.map(drop)
}

/// The change of a host's state, for the audit log and the directory. Names are taken out of the directory only when
/// all of it is made anew.
pub(super) fn turned(host: &HostRow, before: HostState, by: Principal) -> Change {
    let state = host.standing.state;
    let leaves = before.is_served() && !state.is_served();
    Change::new(host.tenant, "tenancy.host_changed", "update", by)
        .on("host", host.id)
        .details(json!({ "name": host.name, "before": before.as_str(), "state": state.as_str() }))
        .notify(if leaves { Notice::catalog() } else { Notice::tenant(host.tenant) })
}

pub(super) fn no_such_host() -> Refusal {
    Refusal::new(&kind::NOT_FOUND, "There is no such host.")
}
