//! Asking for another tier: what is wanted is made sense of, compared with what is, and started or scheduled.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{OperationId, RequestId, TenantId};
use rowhouse_domain::lifecycle::tier_change::{Effective, OverQuota, over_quota};
use rowhouse_domain::metering::quantity::Quantity;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::tenancy::{Isolation, Status, Tier};
use rowhouse_store::sagas::{self, Start};
use rowhouse_store::{Change, Transaction};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{KIND, Params, VERSION};
use crate::lifecycle::decommission::refuse_busy;
use crate::lifecycle::relocate;
use crate::lifecycle::suspension::wrong_status;
use crate::tenancy::{self, TenantRecord, TenantRow};
use crate::{Control, billing, catalog, resources};

/// Another tier is wanted.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeTierBody {
    /// A tier of the catalogue.
    pub tier: String,
    /// A level that the tier allows. If absent, the present one stays wherever it may: always for a downgrade, for an upgrade
    /// if the new tier allows it; else the new tier's own.
    #[serde(default)]
    pub isolation: Option<String>,
    /// `now`, `period_end` or a time (RFC 3339). If absent: now for an upgrade, at the period's end for a downgrade.
    #[serde(default)]
    pub effective: Option<String>,
    /// Changes it although more is used than the new quotas give; they are enforced then.
    #[serde(default)]
    pub allow_over_quota: bool,
}

/// A change of tier that makes sense.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The tenant as it is.
    pub record: TenantRecord,
    /// Its tier as it is declared now.
    pub from: Tier,
    /// The tier to be.
    pub to: Tier,
    /// The level to be.
    pub isolation: Isolation,
    /// When; `None` for at once.
    pub at: Option<Timestamp>,
    /// Meters of which more is used than the new quotas give.
    pub over_quota: Vec<OverQuota>,
    /// Whether that is no obstacle.
    pub allow_over_quota: bool,
}

/// Makes sense of `body`; the tenant is locked until the transaction ends.
///
/// # Errors
/// 404; 409 if its status or another operation forbids it; 422 for an unknown tier, a level that it does not allow, a time
/// that is none, or a change that changes nothing.
pub async fn wanted(
    control: &Control,
    transaction: &Transaction,
    tenant: TenantId,
    body: &ChangeTierBody,
) -> Result<Wanted, Refusal> {
    let record = tenancy::lock(transaction, tenant).await?;
    let record = record.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such tenant."))?;
    if !matches!(record.tenant.status, Status::Active | Status::Suspended) {
        return Err(wrong_status(record.tenant.status));
    }
    refuse_busy(transaction, tenant).await?;
    let from = tier(transaction, &record.tenant.tier).await?;
    let to = tier(transaction, &body.tier).await?;
    let isolation = isolation(record.tenant.isolation, &from, &to, body.isolation.as_deref())?;
    if from.name == to.name && isolation == record.tenant.isolation {
        let words = format!("The tenant is on `{}` already.", to.name);
        return Err(Refusal::new(&kind::NOTHING_TO_DO, words));
    }
    let now = control.clock().now();
    let effective = match body.effective.as_deref() {
        None => Effective::by_rank(from.rank, to.rank),
        Some(word) => Effective::parse(word).ok_or_else(|| {
            Refusal::new(&kind::INVALID, "The time of the change is not well-formed.").field(
                "/effective",
                "malformed",
                "`now`, `period_end` or a time such as 2026-12-01T00:00:00Z",
            )
        })?,
    };
    let period_end = billing::period_end(transaction, tenant, now).await?.unwrap_or(now);
    let over_quota = above(transaction, &record, &to, now).await?;
    Ok(Wanted {
        at: effective.instant(now, period_end),
        record,
        from,
        to,
        isolation,
        over_quota,
        allow_over_quota: body.allow_over_quota,
    })
}

async fn tier(transaction: &Transaction, name: &str) -> Result<Tier, Refusal> {
    let found = catalog::load_tier(transaction, name).await?;
    found.ok_or_else(|| Refusal::new(&kind::UNKNOWN_TIER, format!("There is no tier `{name}`.")))
}

fn isolation(present: Isolation, from: &Tier, to: &Tier, asked: Option<&str>) -> Result<Isolation, Refusal> {
    let Some(word) = asked else {
        // Nobody is moved down against his will.
        let stays = to.rank < from.rank || to.allows(present);
        return Ok(if stays { present } else { to.isolation });
    };
    let levels: Vec<&str> =
        Isolation::ALL.into_iter().filter(|level| to.allows(*level)).map(Isolation::as_str).collect();
    Isolation::parse(word).filter(|level| to.allows(*level) || *level == present).ok_or_else(|| {
        let words = format!("The tier `{}` does not allow the isolation `{word}`.", to.name);
        let detail = format!("one of: {}", levels.join(", "));
        Refusal::new(&kind::ISOLATION_NOT_ALLOWED, words).field("/isolation", "not_allowed", detail)
    })
}

/// Meters of which the tenant uses more than `tier` would give it, its own overrides considered.
pub async fn above(
    transaction: &Transaction,
    record: &TenantRecord,
    tier: &Tier,
    now: Timestamp,
) -> Result<Vec<OverQuota>, Refusal> {
    let row = TenantRow { tier: tier.name.clone(), ..record.tenant.clone() };
    let tiers = BTreeMap::from([(tier.name.clone(), tier.clone())]);
    let all = resources::quotas(transaction, std::slice::from_ref(&row), &tiers, Some(row.id), now).await?;
    let own = || all.values().flatten();
    let limits = own().map(|quota| (quota.meter.to_string(), quota.limit)).collect();
    Ok(over_quota(own().map(|quota| (quota.meter.to_string(), quota.used)), &limits))
}

/// A quantity of 10⁻¹² units as it is written.
pub fn shown(units: i128) -> String {
    Quantity::from_units(units).map_or_else(|| units.to_string(), |quantity| quantity.to_string())
}

impl Wanted {
    /// Whether the tenant would lie elsewhere.
    pub fn moves(&self) -> bool {
        self.isolation != self.record.tenant.isolation
    }

    /// Why it cannot be, if it cannot.
    pub fn refusal(&self) -> Option<Refusal> {
        if !self.over_quota.is_empty() && !self.allow_over_quota {
            let words = format!("More is used than `{}` gives.", self.to.name);
            let refusal = Refusal::new(&kind::OVER_QUOTA, words);
            return Some(self.over_quota.iter().fold(refusal, |refusal, over| {
                let detail = format!("{} used, {} given", shown(over.used), shown(over.limit));
                refusal.field(format!("/quotas/{}", over.meter), "over_quota", detail)
            }));
        }
        None
    }
}

/// Starts the change, or schedules it, within `transaction`.
///
/// # Errors
/// What [`Wanted::refusal`] says; 409 if another change of tier waits for its time.
pub async fn begin(
    control: &Control,
    transaction: &Transaction,
    permit: &Permit,
    wanted: &Wanted,
    request_id: RequestId,
) -> Result<(OperationId, Change), Refusal> {
    if let Some(refusal) = wanted.refusal() {
        return Err(refusal);
    }
    let tenant = wanted.record.tenant.id;
    let operation = OperationId(control.entropy().uuid_v7(control.clock().now_us()));
    let params = Params {
        from: wanted.from.name.clone(),
        to: wanted.to.name.clone(),
        allow_over_quota: wanted.allow_over_quota,
        relocation: wanted.moves().then(|| relocate::Wanted {
            isolation: wanted.isolation,
            cell: None,
            on_long_transactions: Default::default(),
        }),
    };
    let start = Start {
        id: operation.0,
        kind: KIND,
        kind_version: VERSION,
        tenant: Some(tenant),
        params: serde_json::to_value(params).expect("text keys"),
        created_by: permit.principal().to_string(),
    };
    // Also what begins at once goes through here: one change of tier waits at most.
    let at = wanted.at.unwrap_or_else(|| control.clock().now());
    if !sagas::schedule(transaction, &start, at).await? {
        return Err(Refusal::new(&kind::LIFECYCLE_BUSY, "Another change of tier waits for its time.")
            .next("Cancel it first: `rowhouse operation list --state scheduled`."));
    }
    if wanted.at.is_none() {
        sagas::begin(transaction, operation.0).await?;
    }
    let details = json!({
        "from": wanted.from.name, "to": wanted.to.name, "operation": operation, "effective": at.to_string(),
    });
    let change = Change::new(tenant, "lifecycle.tier_change_ordered", "update", permit.principal())
        .on("tenant", tenant)
        .details(details)
        .request(request_id);
    Ok((operation, change))
}
