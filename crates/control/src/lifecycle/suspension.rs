//! Stopping a tenant for a reason, and letting it go on. The gateway refuses with its next version of the directory; the
//! tenant's database is told at once, and by a reconciler if that fails.
//!
//! A suspended tenant may be suspended in the other mode without being let go in between. A suspension for `security` ends
//! only when two principals ask for it within [`ASKED_MAX`]; its cause stays what it is until then.

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{RequestId, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::tenancy::{Status, SuspensionMode};
use rowhouse_store::{Change, Notice, Transaction};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::operations::check_reason;
use super::tell;
use crate::Control;
use crate::tenancy::{self, ResumeAsked, Suspension, TenantRecord, places};

/// How long the first person's wish to end a suspension for security waits for the second's, in seconds: 72 h.
pub(super) const ASKED_MAX: i64 = 72 * 3600;
const SECURITY: &str = "security";
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
/// 404; 409 `lifecycle.wrong_status` if it is neither active nor suspended in the other mode; 422 for a wrong field.
pub async fn suspend(
    control: &Control,
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
    let record = existing(transaction, tenant).await?;
    let (status, before) = (record.tenant.status, record.suspension);
    match &before {
        Some(running) if status == Status::Suspended && running.mode != wanted.mode => {}
        _ if status.may_become(Status::Suspended) && status != Status::Leaving => {}
        _ => return Err(wrong_status(status)),
    }
    let stays = before.filter(|running| running.cause == SECURITY);
    let suspension = Suspension {
        mode: wanted.mode,
        reason: wanted.reason,
        cause: if stays.is_some() { SECURITY.to_owned() } else { wanted.cause },
        by: permit.principal().to_string(),
        at: transaction.store().clock().now(),
        resume_asked: None,
    };
    tenancy::set_status(transaction, tenant, Status::Suspended, Some(&suspension)).await?;
    let rights = places::rights_of(Status::Suspended, Some(suspension.mode), record.tenant.status_before);
    places::set_rights(transaction, tenant, rights).await?;
    tell::suspended(control, transaction, tenant, (&suspension.reason, suspension.at)).await?;
    let details = json!({ "mode": suspension.mode, "cause": suspension.cause });
    Ok(changed(tenant, "lifecycle.tenant_suspended", permit, request_id).details(details))
}

/// What came of asking for a tenant to be resumed.
#[derive(Debug)]
pub enum Resumption {
    /// It goes on.
    Done(Change),
    /// A second principal must ask, too.
    Asked(Change),
}

/// The reverse of [`suspend`].
///
/// # Errors
/// 404; 409 `lifecycle.wrong_status` if it is not suspended, or the same principal asks again for what needs two; 422 without
/// a reason.
pub async fn resume(
    control: &Control,
    transaction: &Transaction,
    permit: &Permit,
    tenant: TenantId,
    reason: &str,
    request_id: RequestId,
) -> Result<Resumption, Refusal> {
    check_reason(reason)?;
    let record = existing(transaction, tenant).await?;
    let status = record.tenant.status;
    let suspension = record.suspension.filter(|_| status == Status::Suspended);
    let suspension = suspension.ok_or_else(|| wrong_status(status))?;
    if suspension.cause == SECURITY && !is_second(transaction, permit, &suspension)? {
        return ask(transaction, permit, tenant, (suspension, reason), request_id).await;
    }
    tenancy::set_status(transaction, tenant, Status::Active, None).await?;
    places::set_rights(transaction, tenant, places::rights_of(Status::Active, None, None)).await?;
    tell::resumed(control, transaction, tenant).await?;
    Ok(Resumption::Done(changed(tenant, "lifecycle.tenant_resumed", permit, request_id)))
}

/// Whether somebody else has asked before, and not too long ago.
fn is_second(transaction: &Transaction, permit: &Permit, suspension: &Suspension) -> Result<bool, Refusal> {
    let now = transaction.store().clock().now();
    let asked = suspension.resume_asked.as_ref();
    let asked = asked.filter(|asked| now.duration_since(asked.at).as_secs() < ASKED_MAX);
    match asked {
        Some(asked) if asked.by == permit.principal().to_string() => {
            let words = "You have asked already; this suspension is for security, and another principal must ask, too.";
            Err(Refusal::new(&kind::WRONG_STATUS, words)
                .next("Let a second person resume it within 72 hours."))
        }
        Some(_) => Ok(true),
        None => Ok(false),
    }
}

async fn ask(
    transaction: &Transaction,
    permit: &Permit,
    tenant: TenantId,
    (suspension, reason): (Suspension, &str),
    request_id: RequestId,
) -> Result<Resumption, Refusal> {
    let asked = ResumeAsked {
        by: permit.principal().to_string(),
        reason: reason.to_owned(),
        at: transaction.store().clock().now(),
    };
    let suspension = Suspension { resume_asked: Some(asked), ..suspension };
    tenancy::set_status(transaction, tenant, Status::Suspended, Some(&suspension)).await?;
    Ok(Resumption::Asked(changed(tenant, "lifecycle.tenant_resume_asked", permit, request_id)))
}

async fn existing(transaction: &Transaction, tenant: TenantId) -> Result<TenantRecord, Refusal> {
    let record = tenancy::lock(transaction, tenant).await?;
    record.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such tenant."))
}

pub(super) fn wrong_status(status: Status) -> Refusal {
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
