//! What the handlers of this feature share: a change is opened, done and closed in one transaction.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{OperationId, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Transaction};

use crate::Control;
use crate::api::idempotency::{Idempotency, Kept};
use crate::api::{Answer, Caller};
use crate::lifecycle::operations::{self, Operation};
use crate::tenancy::named;

/// A transaction for a change, or the answer of the same call before.
pub enum Opened {
    New(Transaction),
    Kept(Kept),
}

/// Begins the transaction of a change and claims its idempotency key there.
pub async fn open(
    control: &Control,
    permit: &Permit,
    idempotency: &Idempotency,
    body: &[u8],
) -> Result<Opened, Refusal> {
    let transaction = control.store.write(permit).await?;
    Ok(match idempotency.begin(&transaction, body).await? {
        Some(kept) => {
            // The call before may have been seen and not be on disk yet.
            transaction.wait_for_disk().await?;
            Opened::Kept(kept)
        }
        None => Opened::New(transaction),
    })
}

/// Keeps the answer with the change and commits both.
pub async fn close(
    transaction: Transaction,
    idempotency: &Idempotency,
    answer: Kept,
    change: Change,
) -> Answer<Response> {
    idempotency.keep(&transaction, &answer).await?;
    transaction.commit(change).await?;
    Ok(answer.into_response())
}

/// The same for an operation that is begun at once: its saga does not wait for the disk, its caller does.
pub async fn close_begun(
    transaction: Transaction,
    idempotency: &Idempotency,
    answer: Kept,
    change: Change,
) -> Answer<Response> {
    idempotency.keep(&transaction, &answer).await?;
    transaction.commit_seen_first(change).await?;
    Ok(answer.into_response())
}

/// 202 with an operation that was started in `transaction`.
pub async fn shown(transaction: &Transaction, id: OperationId) -> Result<Kept, Refusal> {
    let operation: Operation = operations::view_of(transaction, id, true).await?;
    Ok(Kept::new(StatusCode::ACCEPTED, &operation).location(format!("/v1/operations/{id}")))
}

/// For what nobody does to his own tenant.
pub async fn operators(
    control: &Control,
    caller: &Caller,
    permission: &str,
    name: &str,
) -> Result<(Permit, TenantId), Refusal> {
    let (permit, tenant) = named(control, caller, permission, name).await?;
    match caller.is_operator() {
        true => Ok((permit, tenant)),
        false => Err(Refusal::new(&kind::ACCESS_DENIED, "Only the operator does this to a tenant.")),
    }
}
