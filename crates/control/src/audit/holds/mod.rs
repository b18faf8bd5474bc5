//! Legal holds: reasons to keep what would be deleted. A hold on a tenant stops its erasure and the expiry of its backups and
//! exports; one on a single backup or export stops that one's expiry, and the tenant's erasure, which would take it along.
//!
//! Only the operator places holds and reads of them: a tenant is not told of a case by its own data. Each has an owner, a legal
//! basis and a day on which it must be looked at again, at most [`REVIEW_MAX`] days ahead; a hold whose day has passed holds on
//! and is shown as overdue. That it is placed, looked at again and released are events; a hold is never removed.

mod api;
mod queries;

pub use api::routes;
use jiff::{SignedDuration, Timestamp};
pub use queries::{HoldRow, in_force, of};
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{BackupId, ExportId, HoldId, RequestId, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::tenancy::Status;
use rowhouse_store::{Change, Notice, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::{Control, lifecycle, tenancy};

/// Days until a hold must be looked at again, at the most.
pub const REVIEW_MAX: i64 = 180;
/// Longest text of a field, in characters.
const TEXT_MAX: usize = 500;

/// One thing of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// `backup` or `export`.
    pub kind: String,
    /// Its id.
    pub id: String,
}

/// A hold that is wanted.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewHold {
    /// Id or code of the tenant.
    pub tenant: String,
    /// One thing of it; everything if absent.
    #[serde(default)]
    pub resource: Option<Held>,
    /// The case, as whoever leads it calls it.
    pub case_id: String,
    /// The law or order that demands it, as in `GDPR 17(3)(e)`.
    pub basis: String,
    /// Who answers for it.
    pub owner: String,
    /// When it must be looked at again: at most 180 days ahead, which it is if absent. RFC 3339.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub review_at: Option<Timestamp>,
}

/// Places a hold in `transaction`, which is to be committed with the change that comes back.
///
/// # Errors
/// 404 for the thing; 409 if the tenant's erasure has begun; 422 for a wrong field.
pub async fn place(
    control: &Control,
    transaction: &Transaction,
    permit: &Permit,
    (tenant, wanted): (TenantId, NewHold),
    request_id: RequestId,
) -> Result<(HoldRow, Change), Refusal> {
    let now = control.clock().now();
    let review_at = review(now, wanted.review_at)?;
    check(&[("/case_id", &wanted.case_id), ("/basis", &wanted.basis), ("/owner", &wanted.owner)])?;
    // Whoever begins the erasure takes the same lock: one of the two is first.
    let record = tenancy::lock(transaction, tenant).await?;
    let status = record.map(|record| record.tenant.status);
    let is_late = || Refusal::new(&kind::WRONG_STATUS, "The tenant is gone, or its erasure has begun.");
    match status {
        None => return Err(Refusal::new(&kind::NOT_FOUND, "There is no such tenant.")),
        Some(Status::Terminated | Status::Failed) => return Err(is_late()),
        Some(_) if lifecycle::decommission::has_begun(transaction, tenant).await? => return Err(is_late()),
        Some(_) => {}
    }
    if let Some(held) = &wanted.resource {
        check_resource(transaction, tenant, held).await?;
    }
    let row = HoldRow {
        id: HoldId(control.entropy().uuid_v7(control.clock().now_us())),
        tenant,
        resource: wanted.resource,
        case_id: wanted.case_id,
        basis: wanted.basis,
        owner: wanted.owner,
        review_at,
        placed_by: permit.principal().to_string(),
        placed_at: now,
        released_by: None,
        released_at: None,
        release_reason: None,
    };
    queries::insert(transaction, &row).await?;
    let change = changed(&row, "audit.hold_placed", "create", permit, request_id);
    Ok((row, change))
}

/// Sets the day on which a hold must be looked at again.
///
/// # Errors
/// 404; 409 if it was released; 422 for the day.
pub async fn look_again(
    control: &Control,
    transaction: &Transaction,
    permit: &Permit,
    (id, review_at): (HoldId, Option<Timestamp>),
    request_id: RequestId,
) -> Result<(HoldRow, Change), Refusal> {
    let review_at = review(control.clock().now(), review_at)?;
    let mut row = locked(transaction, id).await?;
    queries::set_review(transaction, id, review_at).await?;
    row.review_at = review_at;
    let change = changed(&row, "audit.hold_reviewed", "update", permit, request_id);
    Ok((row, change))
}

/// Releases a hold: what waited for it goes on by itself.
///
/// # Errors
/// 404; 409 if it was released before; 422 without a reason.
pub async fn release(
    control: &Control,
    transaction: &Transaction,
    permit: &Permit,
    (id, reason): (HoldId, &str),
    request_id: RequestId,
) -> Result<(HoldRow, Change), Refusal> {
    check(&[("/reason", reason)])?;
    let mut row = locked(transaction, id).await?;
    let by = permit.principal().to_string();
    queries::release(transaction, id, &by, reason).await?;
    (row.released_by, row.release_reason) = (Some(by), Some(reason.to_owned()));
    row.released_at = Some(control.clock().now());
    let change = changed(&row, "audit.hold_released", "update", permit, request_id);
    let notice = Notice::tenant(row.tenant);
    Ok((row, change.notify(notice)))
}

async fn locked(transaction: &Transaction, id: HoldId) -> Result<HoldRow, Refusal> {
    let row = queries::lock(transaction, id).await?.ok_or_else(no_such_hold)?;
    match row.released_at {
        None => Ok(row),
        Some(at) => {
            let words = format!("The hold was released at {at}.");
            Err(Refusal::new(&kind::WRONG_STATUS, words).next("Place another one if it is needed again."))
        }
    }
}

/// The tenant reads its log, so the event tells that there is a hold and on what, not of the case.
fn changed(
    row: &HoldRow,
    event: &'static str,
    action: &'static str,
    permit: &Permit,
    request_id: RequestId,
) -> Change {
    Change::new(row.tenant, event, action, permit.principal())
        .on("hold", row.id)
        .details(json!({ "resource": row.resource, "review_at": row.review_at.to_string() }))
        .request(request_id)
}

async fn check_resource(transaction: &Transaction, tenant: TenantId, held: &Held) -> Result<(), Refusal> {
    let unknown = || Refusal::new(&kind::NOT_FOUND, format!("The tenant has no such {}.", held.kind));
    let is_there = match &*held.kind {
        "backup" => {
            let id: BackupId = held.id.parse().map_err(|_| unknown())?;
            lifecycle::backup::is_there(transaction, tenant, id).await?
        }
        "export" => {
            let id: ExportId = held.id.parse().map_err(|_| unknown())?;
            lifecycle::export::is_there(transaction, tenant, id).await?
        }
        _ => {
            let refusal = Refusal::new(&kind::INVALID, "Things of this kind cannot be held one by one.");
            return Err(refusal.field("/resource/kind", "unknown", "one of: backup, export"));
        }
    };
    if is_there { Ok(()) } else { Err(unknown()) }
}

fn review(now: Timestamp, wanted: Option<Timestamp>) -> Result<Timestamp, Refusal> {
    let last = now + SignedDuration::from_hours(24 * REVIEW_MAX);
    let at = wanted.unwrap_or(last);
    match at > now && at <= last {
        true => Ok(at),
        false => Err(Refusal::new(&kind::INVALID, "The day of the review does not fit.").field(
            "/review_at",
            "out_of_bounds",
            format!("after now, at most {REVIEW_MAX} days ahead"),
        )),
    }
}

fn check(texts: &[(&str, &str)]) -> Result<(), Refusal> {
    let wrong = texts.iter().filter(|(_, text)| !(1..=TEXT_MAX).contains(&text.trim().chars().count()));
    let mut refusal = None;
    for (pointer, _) in wrong {
        let so_far =
            refusal.unwrap_or_else(|| Refusal::new(&kind::INVALID, "Something is missing or too long."));
        refusal = Some(so_far.field(*pointer, "out_of_bounds", format!("1 to {TEXT_MAX} characters")));
    }
    refusal.map_or(Ok(()), Err)
}

fn no_such_hold() -> Refusal {
    Refusal::new(&kind::NOT_FOUND, "There is no such hold.")
}

/// The refusal of what holds stand against.
pub fn refused(holds: &[HoldRow], what: &str) -> Refusal {
    let named: Vec<String> =
        holds.iter().map(|hold| format!("`{}` (case {})", hold.id, hold.case_id)).collect();
    Refusal::new(&kind::HELD, format!("{what}: held by {}.", named.join(", ")))
}
