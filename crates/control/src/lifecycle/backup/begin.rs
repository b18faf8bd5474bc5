//! Asking for a backup, by a person or by the day's schedule.

use jiff::{SignedDuration, Timestamp};
use rowhouse_domain::access::{Permit, Principal};
use rowhouse_domain::id::{BackupId, RequestId, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::tenancy::Status;
use rowhouse_store::{Change, StoreError, Transaction};
use serde_json::json;

use super::queries::{self, NewBackup};
use crate::tenancy::{self, TenantRow, residency};
use crate::{Control, catalog};

/// Longest note, in characters.
const NOTE_MAX: usize = 500;
/// Days that a backup is kept when the tier is gone, and at most.
const DAYS_DEFAULT: u32 = 7;
const DAYS_MAX: u32 = 3_650;
const DAY_US: i64 = 86_400_000_000;

/// Enters a backup in `transaction`, which is to be committed with the change that comes back.
///
/// # Errors
/// 404; 409 `lifecycle.wrong_status` if there is nothing to copy; 422 for a note that is too long, or a region where the
/// tenant's data may not rest.
pub async fn begin(
    control: &Control,
    transaction: &Transaction,
    permit: &Permit,
    (tenant, note): (TenantId, &str),
    request_id: RequestId,
) -> Result<(BackupId, Change), Refusal> {
    if note.chars().count() > NOTE_MAX {
        let refusal = Refusal::new(&kind::INVALID, "The note is too long.");
        return Err(refusal.field("/note", "out_of_bounds", format!("at most {NOTE_MAX} characters")));
    }
    let record = tenancy::get(transaction, tenant).await?;
    let record = record.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such tenant."))?;
    if !is_backed_up(record.tenant.status) {
        let words = format!("The tenant is {}.", record.tenant.status.as_str());
        return Err(Refusal::new(&kind::WRONG_STATUS, words));
    }
    let by = permit.principal();
    let wanted = Wanted { cause: "request", day: None, note, by };
    let id = enter(control, transaction, &record.tenant, &wanted).await?;
    let id = id.ok_or(StoreError::Stored { what: "the days of backups" })?;
    let change = Change::new(tenant, "lifecycle.backup_requested", "create", by)
        .on("backup", id)
        .details(json!({ "kind": "snapshot" }))
        .request(request_id);
    Ok((id, change))
}

/// What is to be entered.
pub struct Wanted<'a> {
    /// `request` or `schedule`.
    pub cause: &'a str,
    /// For `schedule`.
    pub day: Option<Timestamp>,
    /// In words.
    pub note: &'a str,
    /// Who wants it.
    pub by: Principal,
}

/// Enters a backup that is kept as long as the tenant's tier says; `None` if the day has one.
pub async fn enter(
    control: &Control,
    transaction: &Transaction,
    tenant: &TenantRow,
    wanted: &Wanted<'_>,
) -> Result<Option<BackupId>, Refusal> {
    let resident = residency::at_home(control, transaction, tenant.id).await?;
    let tier = catalog::load_tier(transaction, &tenant.tier).await?;
    let days = tier.map_or(DAYS_DEFAULT, |tier| tier.backup_days).min(DAYS_MAX);
    let now = control.clock().now();
    let id = BackupId(control.entropy().uuid_v7(now.as_microsecond()));
    let new = NewBackup {
        id,
        tenant: tenant.id,
        cause: wanted.cause,
        day: wanted.day,
        note: wanted.note,
        region: resident.region(),
        created_by: &wanted.by.to_string(),
        expires_at: now + SignedDuration::from_hours(24 * i64::from(days)),
    };
    Ok(queries::insert(transaction, &new).await?.then_some(id))
}

/// Whether a tenant in this status has rows that matter.
pub fn is_backed_up(status: Status) -> bool {
    matches!(status, Status::Active | Status::Suspended | Status::Migrating | Status::Leaving)
}

/// The last time, no later than `now_us`, at which the day's backups were due: `at_minute` minutes after midnight, UTC.
pub fn last_due_us(now_us: i64, at_minute: u16) -> i64 {
    let at_us = i64::from(at_minute) * 60_000_000;
    (now_us - at_us).div_euclid(DAY_US) * DAY_US + at_us
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backups_are_due_once_a_day_at_the_set_minute() {
        let minute = 60_000_000;
        assert_eq!(last_due_us(10 * DAY_US + 120 * minute, 120), 10 * DAY_US + 120 * minute);
        assert_eq!(last_due_us(10 * DAY_US + 120 * minute - 1, 120), 9 * DAY_US + 120 * minute);
        assert_eq!(last_due_us(11 * DAY_US - 1, 0), 10 * DAY_US);
        assert_eq!(last_due_us(0, 1_439), 1_439 * minute - DAY_US);
    }
}
