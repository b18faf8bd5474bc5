//! What is imposed on tenants: by their quotas or by hand. A lift by hand takes everything away for a meter until its
//! end, whatever usage says.

use std::collections::HashSet;

use jiff::Timestamp;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{RequestId, TenantId};
use rowhouse_domain::metering::quantity::Quantity;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::resources::Action;
use rowhouse_store::{Change, Notice, StoreError, Transaction};
use serde_json::json;
use tokio_postgres::Row;

use super::{measurement, queries};
use crate::Control;
use crate::tenancy::places;

/// Imposed because usage is at the quota.
pub const CAUSE_QUOTA: &str = "quota";
/// Imposed by hand.
pub const CAUSE_OPERATOR: &str = "operator";

/// Something that is imposed on a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enforcement {
    /// On whom.
    pub tenant: TenantId,
    /// For which meter.
    pub meter: String,
    /// `quota`, `operator` or `billing`.
    pub cause: String,
    /// What is done.
    pub action: Action,
    /// What services see.
    pub flag: String,
    /// Since when.
    pub since: Timestamp,
    /// What was used then.
    pub usage_at: Option<Quantity>,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// Why, in somebody's words.
    pub reason: Option<String>,
    /// Who did it.
    pub set_by: String,
    /// Until when it is lifted by hand: it is not in force before.
    pub lifted_until: Option<Timestamp>,
}

impl Enforcement {
    /// Whether it is in force now.
    pub fn is_in_force(&self) -> bool {
        self.lifted_until.is_none()
    }
}

/// What is imposed at `now` on all tenants that the transaction sees, or on one. Lifted ones are told as such.
pub async fn load(
    transaction: &Transaction,
    tenant: Option<TenantId>,
    now: Timestamp,
) -> Result<Vec<Enforcement>, StoreError> {
    let rows = transaction.query(queries::ENFORCEMENTS, &[&tenant.map(|tenant| tenant.0), &now]).await?;
    rows.iter().map(parse).collect()
}

fn parse(row: &Row) -> Result<Enforcement, StoreError> {
    let usage = row.get::<_, Option<&str>>(6).map(measurement::quantity).transpose()?;
    Ok(Enforcement {
        tenant: TenantId(row.get(0)),
        meter: row.get(1),
        cause: row.get(2),
        action: Action::parse(row.get(3)).ok_or(StoreError::Stored { what: "an action" })?,
        flag: row.get(4),
        since: row.get(5),
        usage_at: usage,
        until: row.get(7),
        reason: row.get(8),
        set_by: row.get(9),
        lifted_until: row.get(10),
    })
}

/// For whom and which meters everything is lifted by hand.
pub async fn lifted(
    transaction: &Transaction,
    tenant: Option<TenantId>,
    now: Timestamp,
) -> Result<HashSet<(TenantId, String)>, StoreError> {
    let rows = transaction.query(queries::LIFTS, &[&tenant.map(|tenant| tenant.0), &now]).await?;
    Ok(rows.iter().map(|row| (TenantId(row.get(0)), row.get(1))).collect())
}

/// Imposes something.
pub async fn impose(transaction: &Transaction, own: &Enforcement) -> Result<(), StoreError> {
    transaction
        .execute(
            queries::IMPOSE,
            &[
                &own.tenant.0,
                &own.meter,
                &own.cause,
                &own.action.as_str(),
                &own.flag,
                &own.since,
                &own.usage_at.map(|usage| usage.to_string()),
                &own.until,
                &own.reason,
                &own.set_by,
            ],
        )
        .await?;
    Ok(())
}

/// Takes away what was imposed for a cause; whether anything was.
pub async fn free(
    transaction: &Transaction,
    (tenant, meter): (TenantId, &str),
    cause: &str,
) -> Result<bool, StoreError> {
    Ok(transaction.execute(queries::FREE, &[&tenant.0, &meter, &cause]).await? > 0)
}

/// Tells a tenant's place whether it may grow, as what is imposed now says. To be followed, after the commit, by
/// [`bring`].
pub async fn settle_growth(
    transaction: &Transaction,
    tenant: TenantId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let is_full = transaction.query_opt(queries::FULL, &[&now, &Some(tenant.0)]).await?.is_some();
    places::set_growth(transaction, tenant, !is_full).await
}

/// Tells all places whether they may grow, where they were told otherwise; how many were.
pub async fn settle_all_growth(transaction: &Transaction, now: Timestamp) -> Result<u64, StoreError> {
    let none: Option<uuid::Uuid> = None;
    let rows = transaction.query(queries::FULL, &[&now, &none]).await?;
    let full: Vec<uuid::Uuid> = rows.iter().map(|row| row.get(0)).collect();
    places::settle_growth(transaction, &full).await
}

/// Brings a tenant's rights to its database. If that is away, a reconciler goes on trying.
pub async fn bring(control: &Control, tenant: TenantId) {
    if let Err(error) = places::apply_rights(control, Some(tenant)).await {
        tracing::warn!(%tenant, %error, "a tenant's database does not know its rights yet");
    }
}

/// Something to be imposed by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByHand {
    /// On whom.
    pub tenant: TenantId,
    /// For which meter.
    pub meter: String,
    /// What is done.
    pub action: Action,
    /// Until when; for ever if absent.
    pub until: Option<Timestamp>,
    /// 1 to 500 characters.
    pub reason: String,
}

/// Imposes by hand, and ends a lift that was in the way.
///
/// # Errors
/// 404 for a meter that does not exist, 422 for a wrong reason or end.
pub async fn set(
    control: &Control,
    permit: &Permit,
    wanted: ByHand,
    request_id: RequestId,
) -> Result<(), Refusal> {
    let now = control.clock().now();
    check_reason(&wanted.reason)?;
    check_end(wanted.until, now)?;
    let ByHand { tenant, meter, action, until, reason } = wanted;
    let transaction = control.store.write(permit).await?;
    known_meter(&transaction, &meter).await?;
    let own = Enforcement {
        tenant,
        flag: action.flag(&meter),
        meter: meter.clone(),
        cause: CAUSE_OPERATOR.to_owned(),
        action,
        since: now,
        usage_at: None,
        until,
        reason: Some(reason),
        set_by: permit.principal().to_string(),
        lifted_until: None,
    };
    impose(&transaction, &own).await?;
    transaction.execute(queries::UNLIFT, &[&tenant.0, &meter]).await?;
    settle_growth(&transaction, tenant, now).await?;
    let details = json!({ "action": action.as_str(), "until": until });
    let change = changed("resources.enforcement_set", tenant, &meter, permit, request_id).details(details);
    transaction.commit(change).await?;
    bring(control, tenant).await;
    Ok(())
}

/// Lifts by hand whatever is imposed for a meter until an end.
///
/// # Errors
/// 404 for a meter that does not exist, 422 for a wrong reason or end.
pub async fn lift(
    control: &Control,
    permit: &Permit,
    (tenant, meter): (TenantId, &str),
    (until, reason): (Timestamp, &str),
    request_id: RequestId,
) -> Result<(), Refusal> {
    let now = control.clock().now();
    check_reason(reason)?;
    check_end(Some(until), now)?;
    let transaction = control.store.write(permit).await?;
    known_meter(&transaction, meter).await?;
    free(&transaction, (tenant, meter), CAUSE_OPERATOR).await?;
    let by = permit.principal().to_string();
    transaction.execute(queries::LIFT, &[&tenant.0, &meter, &until, &reason, &by, &now]).await?;
    settle_growth(&transaction, tenant, now).await?;
    let change = changed("resources.enforcement_lifted", tenant, meter, permit, request_id);
    transaction.commit(change.details(json!({ "until": until }))).await?;
    bring(control, tenant).await;
    Ok(())
}

/// Reasons are words of people and may be personal: they stay in the row.
pub(super) fn changed(
    event: &str,
    tenant: TenantId,
    meter: &str,
    permit: &Permit,
    request_id: RequestId,
) -> Change {
    Change::new(tenant, event, "update", permit.principal())
        .on("meter", meter)
        .request(request_id)
        .notify(Notice::tenant(tenant))
}

/// 1 to 500 characters.
pub(super) fn check_reason(reason: &str) -> Result<(), Refusal> {
    match (1..=500).contains(&reason.trim().chars().count()) {
        true => Ok(()),
        false => Err(Refusal::new(&kind::INVALID, "A reason is needed.").field(
            "/reason",
            "out_of_bounds",
            "1 to 500 characters",
        )),
    }
}

/// In the future.
pub(super) fn check_end(until: Option<Timestamp>, now: Timestamp) -> Result<(), Refusal> {
    match until.is_none_or(|until| until > now) {
        true => Ok(()),
        false => Err(Refusal::new(&kind::INVALID, "The end has passed.").field(
            "/until",
            "passed",
            "a time to come",
        )),
    }
}

/// 404 unless the catalogue has the meter.
pub(super) async fn known_meter(
    transaction: &Transaction,
    meter: &str,
) -> Result<crate::metering::MeterNote, Refusal> {
    let found = crate::metering::find_meter(transaction, meter).await?;
    found.ok_or_else(|| Refusal::new(&kind::UNKNOWN_RESOURCE_METER, format!("There is no meter `{meter}`.")))
}
