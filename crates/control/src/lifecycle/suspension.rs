//! Stopping a tenant for a reason, and letting it go on. The gateway refuses with its next version of the directory; the
//! tenant's database is told at once, and by a reconciler if that fails.

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{RequestId, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::tenancy::{Status, SuspensionMode};
use rowhouse_store::{Change, Notice, Transaction};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::operations::check_reason;
use crate::Control;
use crate::tenancy::{self, Suspension, TenantRecord, places};

const CAUSES: [&str; 4] = ["operator", "billing", "security", "tenant"];

/// A suspension that is wanted.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Suspend {
    /// `blocked` (nothing) or `read_only`.
    #[schema(value_type = String)]
    pub mode: SuspensionMode,
    /// 1 to 500 characters.
    pub reason: String,
    /// `operator`, `billing`, `security` or `tenant`.
    #[serde(default = "operator")]
    pub cause: String,
}

fn operator() -> String {
    CAUSES[0].to_owned()
}

/// Suspends `tenant` within `transaction`, which is to be committed with the change that comes back; then
/// [`bring_rights`].
///
/// # Errors
/// 404; 409 `lifecycle.wrong_status` if it is not active; 422 for a wrong field.
pub async fn suspend(
    transaction: &Transaction,
    permit: &Permit,
    tenant: TenantId,
    wanted: Suspend,
    request_id: RequestId,
) -> Result<Change, Refusal> {
    check_reason(&wanted.reason)?;
    if !CAUSES.contains(&wanted.cause.as_str()) {
        let refusal = Refusal::new(&kind::INVALID, "The cause is not known.");
        return Err(refusal.field("/cause", "unknown", format!("one of: {}", CAUSES.join(", "))));
    }
    let record = locked(transaction, tenant, Status::Suspended).await?;
    let suspension = Suspension {
        mode: wanted.mode,
        reason: wanted.reason,
        cause: wanted.cause,
        by: permit.principal().to_string(),
        at: transaction.store().clock().now(),
    };
    tenancy::set_status(transaction, tenant, Status::Suspended, Some(&suspension)).await?;
    let rights = places::rights_of(Status::Suspended, Some(suspension.mode), record.tenant.status_before);
    places::set_rights(transaction, tenant, rights).await?;
    let details = json!({ "mode": suspension.mode, "cause": suspension.cause });
    Ok(changed(tenant, "lifecycle.tenant_suspended", permit, request_id).details(details))
}

/// The reverse of [`suspend`].
///
/// # Errors
/// 404; 409 `lifecycle.wrong_status` if it is not suspended; 422 without a reason.
pub async fn resume(
    transaction: &Transaction,
    permit: &Permit,
    tenant: TenantId,
    reason: &str,
    request_id: RequestId,
) -> Result<Change, Refusal> {
    check_reason(reason)?;
    let record = locked(transaction, tenant, Status::Active).await?;
    if record.tenant.status != Status::Suspended {
        return Err(wrong_status(record.tenant.status));
    }
    tenancy::set_status(transaction, tenant, Status::Active, None).await?;
    places::set_rights(transaction, tenant, places::rights_of(Status::Active, None, None)).await?;
    Ok(changed(tenant, "lifecycle.tenant_resumed", permit, request_id))
}

async fn locked(transaction: &Transaction, tenant: TenantId, next: Status) -> Result<TenantRecord, Refusal> {
    let record = tenancy::lock(transaction, tenant).await?;
    let record = record.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such tenant."))?;
    match record.tenant.status.may_become(next) {
        true => Ok(record),
        false => Err(wrong_status(record.tenant.status)),
    }
}

fn wrong_status(status: Status) -> Refusal {
    Refusal::new(&kind::WRONG_STATUS, format!("The tenant is {}.", status.as_str()))
}

/// Reasons are words of people and may be personal: they stay in the tenant's row.
fn changed(tenant: TenantId, event: &str, permit: &Permit, request_id: RequestId) -> Change {
    Change::new(tenant, event, "update", permit.principal())
        .on("tenant", tenant)
        .request(request_id)
        .notify(Notice::tenant(tenant))
}

/// Tells the tenant's database what was committed. If it is away, the reconciler goes on trying.
pub async fn bring_rights(control: &Control, tenant: TenantId) {
    if let Err(error) = places::apply_rights(control, Some(tenant)).await {
        tracing::warn!(%tenant, %error, "a tenant's database does not know its rights yet");
    }
}
