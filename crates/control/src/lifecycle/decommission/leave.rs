//! Asking a tenant to leave, and taking it back while its data is kept.

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{OperationId, RequestId, TenantId};
use rowhouse_domain::lifecycle::retention;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::tenancy::Status;
use rowhouse_store::sagas::{self, Reason, Start, State};
use rowhouse_store::{Change, Notice, Transaction};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{KIND, Params, VERSION};
use crate::lifecycle::operations::check_reason;
use crate::lifecycle::queries::{self, Filter, SagaRow};
use crate::lifecycle::suspension::{ASKED_MAX, wrong_status};
use crate::lifecycle::tell;
use crate::tenancy::{self, TenantRecord, places};
use crate::{Control, audit, billing, catalog};

/// Fewest days that a tenant is kept while a second person may confirm its erasure at once: as long as [`ASKED_MAX`].
const ASKED_DAYS: u16 = 3;

/// A tenant is to leave.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecommissionBody {
    /// Days that its data is kept: 0 to 3,650; the tier's if absent, or 30. Where `lifecycle.erase_now_by_two` is set, 0 waits for a
    /// second principal who asks for the same within 72 hours; until then the tenant has left, and is kept for its tier's days.
    #[serde(default)]
    pub retention_days: Option<u16>,
    /// 1 to 500 characters.
    pub reason: String,
}

/// A tenant that is leaving.
#[derive(Debug)]
pub struct Left {
    /// The operation that erases it when its time has come.
    pub operation: OperationId,
    /// To be committed.
    pub change: Change,
}

/// Lets `tenant` leave within `transaction`: it is refused from the commit on. Then
/// [`bring_rights`](super::super::suspension::bring_rights).
///
/// # Errors
/// 404; 409 if it is neither active nor suspended, or another operation runs; 422 for a wrong field.
pub async fn leave(
    control: &Control,
    transaction: &Transaction,
    permit: &Permit,
    tenant: TenantId,
    (wanted, request_id): (DecommissionBody, RequestId),
) -> Result<Left, Refusal> {
    check_reason(&wanted.reason)?;
    let record = locked(transaction, tenant).await?;
    if let Some(left) = confirm(control, transaction, permit, (&record, &wanted), request_id).await? {
        return Ok(left);
    }
    let status = record.tenant.status;
    if !status.may_become(Status::Leaving) && !is_forsaken(transaction, &record).await? {
        return Err(wrong_status(status));
    }
    refuse_busy(transaction, tenant).await?;
    let days = days(transaction, &record, wanted.retention_days).await?;
    if days == 0 {
        refuse_held(transaction, tenant).await?;
    }
    let by_two = days == 0 && control.settings.erase_now_by_two;
    let days = if by_two { self::days(transaction, &record, None).await?.max(ASKED_DAYS) } else { days };
    withdraw_scheduled(transaction, permit, tenant).await?;
    let now = control.clock().now();
    let ends_at = retention::end(now, days);
    let plan = billing::end(transaction, tenant, now).await?;
    tenancy::set_status(transaction, tenant, Status::Leaving, record.suspension.as_ref()).await?;
    places::set_rights(transaction, tenant, places::rights_of(Status::Leaving, None, None)).await?;
    let params = Params {
        requested_at: now,
        retention_ends_at: ends_at,
        plan,
        reason: wanted.reason,
        erase_asked_at: by_two.then_some(now),
    };
    let operation = OperationId(control.entropy().uuid_v7(control.clock().now_us()));
    let start = Start {
        id: operation.0,
        kind: KIND,
        kind_version: VERSION,
        tenant: Some(tenant),
        params: serde_json::to_value(params).expect("text keys"),
        created_by: permit.principal().to_string(),
    };
    if !sagas::schedule(transaction, &start, ends_at).await? {
        return Err(Refusal::new(&kind::LIFECYCLE_BUSY, "The tenant is leaving already."));
    }
    if days == 0 {
        sagas::begin(transaction, operation.0).await?;
    }
    tell::leaving(control, transaction, tenant, (operation.to_string(), ends_at)).await?;
    let change = Change::new(tenant, "lifecycle.tenant_leaving", "update", permit.principal())
        .on("tenant", tenant)
        .details(json!({ "operation": operation, "retention_days": days, "retention_ends_at": ends_at.to_string() }))
        .request(request_id)
        .notify(Notice::tenant(tenant));
    Ok(Left { operation, change })
}

/// The second person's word: begins at once the erasure that another one has asked for within [`ASKED_MAX`]. `None`: there is none to
/// confirm, and the tenant is asked to leave.
async fn confirm(
    control: &Control,
    transaction: &Transaction,
    permit: &Permit,
    (record, wanted): (&TenantRecord, &DecommissionBody),
    request_id: RequestId,
) -> Result<Option<Left>, Refusal> {
    let tenant = record.tenant.id;
    if !control.settings.erase_now_by_two || wanted.retention_days != Some(0) {
        return Ok(None);
    }
    let saga = scheduled(transaction, tenant).await?.into_iter().find(|saga| saga.kind == KIND);
    let Some(saga) = saga.filter(|_| record.tenant.status == Status::Leaving) else { return Ok(None) };
    let params: Option<Params> = serde_json::from_value(saga.params).ok();
    let asked_at = params.and_then(|params| params.erase_asked_at);
    let now = control.clock().now();
    let refused =
        |words: &str, next: &'static str| Refusal::new(&kind::WRONG_STATUS, words.to_owned()).next(next);
    let Some(_) = asked_at.filter(|at| now.duration_since(*at).as_secs() < ASKED_MAX) else {
        return Err(refused(
            "The tenant is leaving, and nobody has asked for its erasure at once within 72 hours.",
            "Reinstate it and let one person ask anew, or let its retention pass.",
        ));
    };
    if saga.created_by == permit.principal().to_string() {
        return Err(refused(
            "You have asked already; another principal must ask, too, before it is erased at once.",
            "Let a second person ask for the same within 72 hours.",
        ));
    }
    refuse_held(transaction, tenant).await?;
    if !sagas::begin(transaction, saga.id.0).await? {
        return Err(Refusal::new(&kind::LIFECYCLE_BUSY, "Another change of the tenant runs."));
    }
    let change = Change::new(tenant, "lifecycle.tenant_erasure_confirmed", "update", permit.principal())
        .on("tenant", tenant)
        .details(json!({ "operation": saga.id }))
        .request(request_id)
        .notify(Notice::tenant(tenant));
    Ok(Some(Left { operation: saga.id, change }))
}

async fn refuse_held(transaction: &Transaction, tenant: TenantId) -> Result<(), Refusal> {
    let holds = audit::holds::of(transaction, tenant).await?;
    if holds.is_empty() {
        return Ok(());
    }
    let refusal = audit::holds::refused(&holds, "The tenant cannot be erased at once");
    Err(refusal.next("Give it days of retention: it leaves now, and its erasure waits for the release."))
}

/// Whether a tenant is leaving and its erasure was given up by a person: then it may be asked to leave again.
async fn is_forsaken(transaction: &Transaction, record: &TenantRecord) -> Result<bool, Refusal> {
    if record.tenant.status != Status::Leaving {
        return Ok(false);
    }
    let open = ["scheduled", "running", "unwinding", "stuck"];
    Ok(!with_states(transaction, record.tenant.id, &open).await?.iter().any(|saga| saga.kind == KIND))
}

/// Whether the erasure of a tenant has begun, and was not undone. The caller has locked the tenant.
///
/// # Errors
/// If the control database failed.
pub async fn has_begun(transaction: &Transaction, tenant: TenantId) -> Result<bool, Refusal> {
    let under_way = with_states(transaction, tenant, &["running", "unwinding", "stuck"]).await?;
    Ok(under_way.iter().any(|saga| saga.kind == KIND))
}

/// Takes a leaving tenant back: it is what it was before, with its plan. Only until its erasure begins.
///
/// # Errors
/// 404; 409 if it is not leaving, or its erasure has begun.
pub async fn reinstate(
    control: &Control,
    transaction: &Transaction,
    permit: &Permit,
    tenant: TenantId,
    (reason, request_id): (&str, RequestId),
) -> Result<Change, Refusal> {
    check_reason(reason)?;
    let record = locked(transaction, tenant).await?;
    if record.tenant.status != Status::Leaving {
        return Err(wrong_status(record.tenant.status));
    }
    let erased = || {
        Refusal::new(&kind::WRONG_STATUS, "The erasure of the tenant has begun; it cannot come back.")
            .next("Restore it to a new tenant from a backup, if there is one.")
    };
    let saga = scheduled(transaction, tenant).await?.into_iter().find(|saga| saga.kind == KIND);
    let saga = saga.ok_or_else(erased)?;
    let by = permit.principal().to_string();
    let cancelled = sagas::cancel(transaction, saga.id.0, Reason { words: reason, by: &by }).await;
    if !matches!(cancelled, Ok(State::Scheduled)) {
        return Err(erased());
    }
    let status = if record.suspension.is_some() { Status::Suspended } else { Status::Active };
    let mode = record.suspension.as_ref().map(|suspension| suspension.mode);
    tenancy::set_status(transaction, tenant, status, record.suspension.as_ref()).await?;
    places::set_rights(transaction, tenant, places::rights_of(status, mode, None)).await?;
    let params: Option<Params> = serde_json::from_value(saga.params).ok();
    if let Some(plan) = params.and_then(|params| params.plan) {
        billing::subscribe(transaction, tenant, &plan, control.clock().now()).await?;
    }
    Ok(Change::new(tenant, "lifecycle.tenant_reinstated", "update", permit.principal())
        .on("tenant", tenant)
        .details(json!({ "operation": saga.id }))
        .request(request_id)
        .notify(Notice::tenant(tenant)))
}

async fn locked(transaction: &Transaction, tenant: TenantId) -> Result<TenantRecord, Refusal> {
    let record = tenancy::lock(transaction, tenant).await?;
    record.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such tenant."))
}

async fn days(
    transaction: &Transaction,
    record: &TenantRecord,
    ordered: Option<u16>,
) -> Result<u16, Refusal> {
    let tier = catalog::load_tier(transaction, &record.tenant.tier).await?;
    retention::days(ordered, tier.and_then(|tier| tier.retention_days)).ok_or_else(|| {
        let bounds = format!("0 to {}", retention::DAYS_MAX);
        Refusal::new(&kind::INVALID, "The retention is out of bounds.").field(
            "/retention_days",
            "out_of_bounds",
            bounds,
        )
    })
}

/// What waits for its time is not wanted any more by a tenant that leaves.
async fn withdraw_scheduled(
    transaction: &Transaction,
    permit: &Permit,
    tenant: TenantId,
) -> Result<(), Refusal> {
    let by = permit.principal().to_string();
    for saga in scheduled(transaction, tenant).await? {
        let reason = Reason { words: "the tenant leaves", by: &by };
        sagas::cancel(transaction, saga.id.0, reason)
            .await
            .map_err(|error| Refusal::new(&kind::LIFECYCLE_BUSY, format!("{error}.")))?;
    }
    Ok(())
}

async fn scheduled(transaction: &Transaction, tenant: TenantId) -> Result<Vec<SagaRow>, Refusal> {
    with_states(transaction, tenant, &["scheduled"]).await
}

/// A tenant whose operation is not over does not begin another.
pub async fn refuse_busy(transaction: &Transaction, tenant: TenantId) -> Result<(), Refusal> {
    let running = with_states(transaction, tenant, &["running", "unwinding", "stuck"]).await?;
    match running.first() {
        None => Ok(()),
        Some(other) => Err(Refusal::new(&kind::LIFECYCLE_BUSY, format!("`{}` is not over.", other.id))),
    }
}

async fn with_states(
    transaction: &Transaction,
    tenant: TenantId,
    states: &[&str],
) -> Result<Vec<SagaRow>, Refusal> {
    let states = Some(states.iter().map(|state| (*state).to_owned()).collect());
    let filter = Filter { tenant: Some(tenant), states, kinds: None };
    Ok(queries::list(transaction, &filter, None, 100).await?)
}
