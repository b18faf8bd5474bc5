//! One tenant against all its quotas, now: what changed is written, told and imposed in one transaction. Twice is once.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use rowhouse_domain::access::Permit;
use rowhouse_domain::directory::Quota;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::messages::template;
use rowhouse_domain::metering::quantity::Quantity;
use rowhouse_domain::refusal::Refusal;
use rowhouse_domain::resources::{Observation, QuotaRule, QuotaState, Standing, Step, Template, step};
use rowhouse_store::{Change, Notice, StoreError, Transaction};
use serde_json::{Value, json};
use tokio_postgres::types::Json;

use super::enforcement::{self, CAUSE_QUOTA, Enforcement};
use super::standing::{self, Standings, is_dull};
use super::{measurement, overrides, queries, quotas};
use crate::catalog::LoadError;
use crate::messages::{self, NewMessage, To};
use crate::{Control, metering, tenancy};

/// A tenant could not be assessed; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum AssessError {
    /// The database or the stored catalogue failed.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A message could not be queued.
    #[error("a message about a quota could not be queued: {0}")]
    Message(Refusal),
}

impl From<StoreError> for AssessError {
    fn from(error: StoreError) -> Self {
        AssessError::Load(error.into())
    }
}

impl From<AssessError> for Refusal {
    fn from(error: AssessError) -> Self {
        match error {
            AssessError::Load(error) => error.into(),
            AssessError::Message(refusal) => refusal,
        }
    }
}

/// How a tenant stands after it was assessed.
#[derive(Debug, Default)]
pub struct Assessed {
    /// What is remembered of it.
    pub standings: Standings,
    /// When time alone may change something.
    pub look_again_us: Option<i64>,
    /// Whether anything changed.
    pub changed: bool,
}

/// One quota with what came of it.
struct Judged {
    quota: Quota,
    before: Standing,
    step: Step,
}

/// Assesses `tenant`. `because` is what made somebody look, for explaining.
///
/// # Errors
/// If the database or the stored catalogue fails; nothing was changed then.
pub async fn assess(control: &Control, tenant: TenantId, because: &str) -> Result<Assessed, AssessError> {
    let permit = Permit::for_system(Some(tenant), "quotas");
    let transaction = control.store.write(&permit).await?;
    transaction.execute(queries::ONE_AT_A_TIME, &[&tenant.0]).await?;
    let now = control.clock().now();
    let ended = expire(&transaction, tenant, now).await?;
    let found = tenancy::load_tenants(&transaction, Some(tenant)).await?.pop();
    let Some(row) = found.filter(|row| !row.status.is_over()) else {
        transaction.rollback().await?;
        return Ok(Assessed::default());
    };
    let before = standing::load(&transaction, Some(tenant)).await?.remove(&tenant).unwrap_or_default();
    let quotas = quotas::quotas_of(&transaction, &row, now).await?;
    see_limits(&transaction, tenant, &quotas, now).await?;
    let judged = judge(&transaction, (tenant, quotas), &before, now).await?;
    let mut changes = ended;
    let units = units(&transaction, &judged).await?;
    for own in &judged {
        changes.extend(write(control, &transaction, tenant, own, &units, (because, now)).await?);
    }
    let look_again = judged.iter().filter_map(|own| own.step.look_again_us);
    let assessed = Assessed {
        look_again_us: look_again.min(),
        changed: !changes.is_empty(),
        standings: judged
            .iter()
            .filter(|own| !is_dull(&own.step.standing))
            .map(|own| (own.quota.meter.to_string(), own.step.standing))
            .collect(),
    };
    if changes.is_empty() {
        transaction.commit_telemetry().await?;
        return Ok(assessed);
    }
    enforcement::settle_growth(&transaction, tenant, now).await?;
    transaction.commit_all(changes).await?;
    enforcement::bring(control, tenant).await;
    Ok(assessed)
}

/// Takes out what is over by now: enforcements and lifts by hand, overrides.
async fn expire(
    transaction: &Transaction,
    tenant: TenantId,
    now: Timestamp,
) -> Result<Vec<Change>, StoreError> {
    let over = |event: &str, meter: &str| {
        Change::new(tenant, event, "update", transaction.principal())
            .on("meter", meter)
            .details(json!({ "because": "its time is over" }))
            .notify(Notice::tenant(tenant))
    };
    let mut changes = Vec::new();
    // What was imposed by hand ends; what was lifted by hand is imposed again if usage says so.
    for (sql, event) in [
        (queries::EXPIRE_ENFORCEMENTS, "resources.enforcement_lifted"),
        (queries::EXPIRE_LIFTS, "resources.enforcement_set"),
    ] {
        let rows = transaction.query(sql, &[&tenant.0, &now]).await?;
        changes.extend(rows.iter().map(|row| over(event, row.get(0))));
    }
    for meter in overrides::expire(transaction, tenant, now).await? {
        changes.push(over("resources.quota_changed", &meter));
    }
    Ok(changes)
}

/// Remembers limits that are new, so that a day's row can say what was allowed on that day.
async fn see_limits(
    transaction: &Transaction,
    tenant: TenantId,
    quotas: &[Quota],
    now: Timestamp,
) -> Result<(), StoreError> {
    let rows = transaction.query(queries::LAST_LIMITS, &[&Some(tenant.0)]).await?;
    let known: BTreeMap<String, Option<String>> = rows.iter().map(|row| (row.get(1), row.get(2))).collect();
    let shown = |limit: Option<i128>| limit.map(|limit| quantity(limit).to_string());
    let parsed = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok());
    let news = quotas.iter().filter(|quota| {
        known.get(&*quota.meter).is_none_or(|seen| parsed(seen) != quota.limit.map(quantity))
    });
    let (meters, limits): (Vec<&str>, Vec<Option<String>>) =
        news.map(|quota| (&*quota.meter, shown(quota.limit))).unzip();
    if !meters.is_empty() {
        let tenants = vec![tenant.0; meters.len()];
        transaction.execute(queries::KEEP_LIMITS, &[&tenants, &meters, &now, &limits]).await?;
    }
    Ok(())
}

async fn judge(
    transaction: &Transaction,
    (tenant, mut quotas): (TenantId, Vec<Quota>),
    before: &Standings,
    now: Timestamp,
) -> Result<Vec<Judged>, StoreError> {
    let stale: Vec<String> = measurement::all(transaction, Some(tenant))
        .await?
        .into_iter()
        .filter(measurement::Measurement::is_stale)
        .map(|own| own.meter)
        .collect();
    // A quota that is gone stops nobody: what it left behind is lifted.
    for meter in before.keys() {
        if !quotas.iter().any(|quota| *quota.meter == **meter) {
            quotas.push(Quota::of_meter(Arc::<str>::from(meter.as_str()), None));
        }
    }
    let now_us = now.as_microsecond();
    let judge = |quota: Quota| {
        let window_us = quota.bounds_us(now_us);
        let fresh = Standing { window_from_us: window_us.0, ..Standing::default() };
        let before = before.get(&*quota.meter).copied().unwrap_or(fresh);
        let stale = stale.iter().any(|meter| **meter == *quota.meter);
        let (usage, limit, rule) = (quota.used, quota.limit, &*quota.rule);
        let seen = Observation { now_us, window_us, usage, limit, rule, stale };
        let step = step(&before, &seen);
        Judged { step, before, quota }
    };
    Ok(quotas.into_iter().map(judge).collect())
}

/// Units of meters, for messages.
async fn units(transaction: &Transaction, judged: &[Judged]) -> Result<BTreeMap<String, String>, StoreError> {
    if judged.iter().all(|own| own.step.message.is_none()) {
        return Ok(BTreeMap::new());
    }
    let meters = metering::list_meters(transaction).await?;
    Ok(meters.into_iter().map(|meter| (meter.name, meter.draft.unit)).collect())
}

/// Writes what came of one quota; the events of it.
async fn write(
    control: &Control,
    transaction: &Transaction,
    tenant: TenantId,
    own: &Judged,
    units: &BTreeMap<String, String>,
    (because, now): (&str, Timestamp),
) -> Result<Vec<Change>, AssessError> {
    let (before, after) = (&own.before, &own.step.standing);
    if before == after || is_dull(before) && is_dull(after) {
        return Ok(Vec::new());
    }
    standing::keep(transaction, tenant, &own.quota.meter, after).await?;
    let mut changes = Vec::new();
    if before.state != after.state {
        transition(transaction, tenant, own, because, now).await?;
        changes.push(event(transaction, tenant, own, after.state));
    }
    if before.imposed != after.imposed {
        impose(transaction, tenant, own, now).await?;
        // The state may be the same: grace was over, or the rule another one.
        if changes.is_empty() {
            let state = if after.imposed { QuotaState::Enforced } else { QuotaState::Ok };
            changes.push(event(transaction, tenant, own, state));
        }
    } else if after.imposed && before.window_from_us != after.window_from_us {
        impose(transaction, tenant, own, now).await?;
    }
    if let Some(template) = own.step.message {
        tell(control, transaction, tenant, own, template, units, now).await?;
    }
    Ok(changes)
}

async fn transition(
    transaction: &Transaction,
    tenant: TenantId,
    own: &Judged,
    because: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let quota = own.quota.limit.map(|limit| quantity(limit).to_string());
    transaction
        .execute(
            queries::KEEP_TRANSITION,
            &[
                &tenant.0,
                &&*own.quota.meter,
                &now,
                &own.before.state.as_str(),
                &own.step.standing.state.as_str(),
                &quantity(own.quota.used).to_string(),
                &quota,
                &because,
            ],
        )
        .await?;
    Ok(())
}

/// The event of a state that was entered. Falling back from the limit is told apart from falling otherwise.
fn event(transaction: &Transaction, tenant: TenantId, own: &Judged, state: QuotaState) -> Change {
    let rises = state > own.before.state || own.step.standing.imposed && !own.before.imposed;
    let name = match (rises, state) {
        (true, QuotaState::Warning) => "resources.quota_warned",
        (true, QuotaState::Alert) => "resources.quota_alerted",
        (true, QuotaState::Enforced) => "resources.quota_reached",
        _ if own.before.state == QuotaState::Enforced => "resources.quota_lifted",
        _ => "resources.quota_eased",
    };
    Change::new(tenant, name, "update", transaction.principal())
        .on("meter", &*own.quota.meter)
        .details(figures(own))
        .notify(Notice::tenant(tenant))
}

fn figures(own: &Judged) -> Value {
    let Judged { quota, step, .. } = own;
    json!({
        "usage": quantity(quota.used).to_string(),
        "quota": quota.limit.map(|limit| quantity(limit).to_string()),
        "state": step.standing.state.as_str(),
        "action": step.standing.imposed.then(|| quota.rule.action.as_str()),
    })
}

async fn impose(
    transaction: &Transaction,
    tenant: TenantId,
    own: &Judged,
    now: Timestamp,
) -> Result<(), StoreError> {
    let quota = &own.quota;
    if !own.step.standing.imposed {
        enforcement::free(transaction, (tenant, &quota.meter), CAUSE_QUOTA).await?;
        return Ok(());
    }
    let rule: &QuotaRule = &quota.rule;
    let until = quota.window_ends_at(now.as_microsecond());
    let imposed = Enforcement {
        tenant,
        meter: quota.meter.to_string(),
        cause: CAUSE_QUOTA.to_owned(),
        action: rule.action,
        flag: rule.flag.to_string(),
        since: now,
        usage_at: Some(quantity(quota.used)),
        until,
        reason: None,
        set_by: transaction.principal().to_string(),
        lifted_until: None,
    };
    enforcement::impose(transaction, &imposed).await
}

/// Leaves a message for the tenant's administrators, and for the operator when the limit is reached. The key of the row
/// says that it is left once.
async fn tell(
    control: &Control,
    transaction: &Transaction,
    tenant: TenantId,
    own: &Judged,
    told: Template,
    units: &BTreeMap<String, String>,
    now: Timestamp,
) -> Result<(), AssessError> {
    let quota = &own.quota;
    let percent = quota.limit.and_then(|limit| rowhouse_domain::resources::percentage(quota.used, limit));
    let percent = percent.map(super::check::hundredths);
    let mut data = figures(own);
    data["resource_type"] = json!(&*quota.meter);
    data["unit"] = json!(units.get(&*quota.meter));
    data["utilization_percentage"] = json!(percent);
    data["window_ends_at"] = json!(quota.window_ends_at(now.as_microsecond()));
    let window = Timestamp::from_microsecond(own.step.message_window_us)
        .map_err(|_| StoreError::Stored { what: "the window of a quota" })?;
    let id = transaction.store().entropy().uuid_v7(now.as_microsecond());
    let round = i32::try_from(own.step.standing.round).unwrap_or(i32::MAX);
    let kept = transaction
        .execute(
            queries::KEEP_MESSAGE,
            &[&id, &tenant.0, &&*quota.meter, &window, &told.as_str(), &round, &now, &Json(data)],
        )
        .await?;
    if kept == 0 {
        return Ok(());
    }
    let also = (told == Template::Reached).then_some((To::Operators, "operators/"));
    for (to, prefix) in [(To::Administrators, "")].into_iter().chain(also) {
        let key = format!("{prefix}{}/{window}/{round}", quota.meter);
        let message = NewMessage::new(template_of(told), tenant, to, key)
            .value("resource", &*quota.meter)
            .value("usage", quantity(quota.used))
            .value("quota", quota.limit.map_or("unlimited".to_owned(), |limit| quantity(limit).to_string()))
            .value("percentage", percent.as_deref().unwrap_or("100.00"))
            .value("action", if own.step.standing.imposed { quota.rule.action.as_str() } else { "none" });
        messages::queue(control, transaction, message).await.map_err(AssessError::Message)?;
    }
    Ok(())
}

fn template_of(told: Template) -> &'static rowhouse_domain::messages::Template {
    match told {
        Template::Warning => &template::QUOTA_WARNING,
        Template::Alert => &template::QUOTA_ALERT,
        Template::Reached => &template::QUOTA_REACHED,
        Template::Lifted => &template::QUOTA_LIFTED,
    }
}

pub(super) fn quantity(units: i128) -> Quantity {
    Quantity::from_units(units).unwrap_or_default()
}
