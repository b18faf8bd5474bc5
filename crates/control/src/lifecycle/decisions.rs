//! What a person decides about an operation: to try again, to go on, to give up, to take it back.

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{OPERATOR_TENANT, OperationId, RequestId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::tenancy::Status;
use rowhouse_store::sagas::{self, OrderError, Reason};
use rowhouse_store::{Change, Notice, StoreError, Transaction};
use serde_json::json;

use super::operations::{self, Operation, check_reason, no_such_operation};
use super::queries::{self, SagaRow};
use crate::tenancy;

/// What a person decides about an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// What failed is tried again.
    Resume,
    /// It was done by hand.
    Skip,
    /// Nothing more is done.
    Abandon,
    /// It is not wanted any more.
    Cancel,
}

impl Decision {
    fn event(self) -> &'static str {
        match self {
            Decision::Resume => "lifecycle.operation_resumed",
            Decision::Skip => "lifecycle.operation_skipped",
            Decision::Abandon => "lifecycle.operation_abandoned",
            Decision::Cancel => "lifecycle.operation_cancelled",
        }
    }
}

/// Carries a decision out in `transaction`, which is to be committed with the change that comes back.
///
/// # Errors
/// 404, 409 if the operation is not stuck (there) or cannot be cancelled any more, 422 without a reason.
pub async fn decide(
    transaction: &Transaction,
    permit: &Permit,
    id: OperationId,
    (decision, step, reason): (Decision, Option<&str>, &str),
    request_id: RequestId,
) -> Result<(Operation, Change), Refusal> {
    check_reason(reason)?;
    let by = permit.principal().to_string();
    let reason = Reason { words: reason, by: &by };
    let decided = match decision {
        Decision::Resume => sagas::resume(transaction, id.0, step, reason).await,
        Decision::Skip => sagas::skip(transaction, id.0, step, reason).await,
        Decision::Abandon => sagas::abandon(transaction, id.0, step, reason).await,
        Decision::Cancel => {
            refuse_too_late(transaction, id).await?;
            sagas::cancel(transaction, id.0, reason).await.map(|state| state.as_str().to_owned())
        }
    };
    let step = decided.map_err(order_refusal)?;
    let saga = queries::get(transaction, id).await?.ok_or_else(no_such_operation)?;
    if decision == Decision::Abandon {
        give_tenant_up(transaction, &saga).await?;
    }
    let mut change =
        Change::new(saga.tenant.unwrap_or(OPERATOR_TENANT), decision.event(), "update", permit.principal())
            .on("operation", id)
            .details(json!({ "step": step, "reason": reason.words }))
            .request(request_id);
    if let Some(tenant) = saga.tenant {
        change = change.notify(Notice::tenant(tenant));
    }
    let shown = operations::views(transaction, vec![saga], true).await?.remove(0);
    Ok((shown, change))
}

/// A tenant whose provisioning was given up has failed.
async fn give_tenant_up(transaction: &Transaction, saga: &SagaRow) -> Result<(), StoreError> {
    let Some(tenant) = saga.tenant else { return Ok(()) };
    match tenancy::lock(transaction, tenant).await? {
        Some(record) if record.tenant.status == Status::Provisioning => {
            tenancy::set_status(transaction, tenant, Status::Failed, None).await
        }
        _ => Ok(()),
    }
}

/// What has nothing left that could be undone is not cancelled; neither is a tenant's leaving, which has a name of its own.
async fn refuse_too_late(transaction: &Transaction, id: OperationId) -> Result<(), Refusal> {
    let saga = queries::get(transaction, id).await?.ok_or_else(no_such_operation)?;
    let log = queries::steps(transaction, &[id.0]).await?;
    match super::explain::may_be_cancelled(&saga, &log) {
        true => Ok(()),
        false => Err(Refusal::new(&kind::WRONG_STATUS, "The operation cannot be cancelled any more.")
            .next("Wait for its end; for a tenant that is leaving, reinstate it.")),
    }
}

fn order_refusal(error: OrderError) -> Refusal {
    match error {
        OrderError::Unknown => no_such_operation(),
        OrderError::Store(error) => error.into(),
        other => Refusal::new(&kind::WRONG_STATUS, format!("{other}.")).next("Read the operation again."),
    }
}
