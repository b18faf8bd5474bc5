//! The steps of a change of tier.

use rowhouse_domain::refusal::kind;
use rowhouse_domain::tenancy::Status;
use rowhouse_store::sagas::{Done, Run, StepError, StepResult};
use rowhouse_store::{Change, Notice, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Params;
use super::begin::{above, shown};
use crate::lifecycle::provision::{failure, tenant_of, wait_until_entry};
use crate::lifecycle::tell;
use crate::tenancy::{self, TenantRecord, plane};
use crate::{Shared, billing, catalog};

/// What was there before.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Before {
    tier: String,
    plan: Option<String>,
    /// The plan of the new tier, as the catalogue named it when the change began.
    new_plan: String,
}

async fn locked(run: &Run<'_, Shared>, transaction: &Transaction) -> Result<TenantRecord, StepError> {
    let record = tenancy::lock(transaction, tenant_of(run)).await?;
    record.ok_or_else(|| StepError::never("api.not_found", "the tenant is gone"))
}

/// Looks once more whether it may be: between the order and now there may be a month.
pub async fn reserve(run: &Run<'_, Shared>, transaction: &Transaction) -> StepResult {
    let params: Params = run.params()?;
    let record = locked(run, transaction).await?;
    let status = record.tenant.status;
    if !matches!(status, Status::Active | Status::Suspended) {
        return Err(StepError::never("lifecycle.wrong_status", format!("the tenant is {}", status.as_str())));
    }
    let tier = catalog::load_tier(transaction, &params.to).await.map_err(StepError::again)?;
    let unknown = || StepError::never(kind::UNKNOWN_TIER.code, format!("there is no tier `{}`", params.to));
    let tier = tier.ok_or_else(unknown)?;
    let over = above(transaction, &record, &tier, run.context.clock().now()).await.map_err(failure)?;
    if let Some(over) = over.first().filter(|_| !params.allow_over_quota) {
        let (used, limit) = (shown(over.used), shown(over.limit));
        let words = format!("{used} of {} are used, `{}` gives {limit}", over.meter, params.to);
        return Err(StepError::never(kind::OVER_QUOTA.code, words));
    }
    let plan = billing::current(transaction, record.tenant.id).await?.map(|running| running.plan.name);
    Ok(Done::with(&Before { tier: record.tenant.tier, plan, new_plan: tier.plan }))
}

/// Quotas, features and limits follow the tier's name.
pub async fn quotas(run: &Run<'_, Shared>, transaction: &Transaction) -> StepResult {
    let params: Params = run.params()?;
    let order = (tenant_of(run), run.saga.operation());
    tell::tier_changed(run.context, transaction, order, (&params.from, &params.to)).await.map_err(failure)?;
    set(run, transaction, &params.to).await
}

pub async fn old_quotas(run: &Run<'_, Shared>, transaction: &Transaction) -> StepResult {
    match run.output::<Before>("reserve")? {
        Some(before) => set(run, transaction, &before.tier).await,
        None => Ok(Done::plainly()),
    }
}

async fn set(run: &Run<'_, Shared>, transaction: &Transaction, tier: &str) -> StepResult {
    let tenant = tenant_of(run);
    let record = locked(run, transaction).await?;
    if record.tenant.tier == tier {
        return Ok(Done::plainly());
    }
    tenancy::set_tier(transaction, tenant, tier).await?;
    // Services are told how many connections the tier gives.
    plane::raise(transaction).await?;
    let change = Change::new(tenant, "lifecycle.tier_changed", "update", transaction.principal())
        .on("tenant", tenant)
        .details(json!({ "from": record.tenant.tier, "to": tier, "operation": run.saga.operation() }))
        .notify(Notice::tenant(tenant));
    Ok(Done::with(&json!({ "from": record.tenant.tier, "to": tier })).change(change))
}

pub async fn subscribe(run: &Run<'_, Shared>, transaction: &Transaction) -> StepResult {
    let before: Before = run.expect_output("reserve")?;
    subscribe_to(run, transaction, &before.new_plan).await
}

pub async fn old_plan(run: &Run<'_, Shared>, transaction: &Transaction) -> StepResult {
    match run.output::<Before>("reserve")?.and_then(|before| before.plan) {
        Some(plan) => subscribe_to(run, transaction, &plan).await,
        None => Ok(Done::plainly()),
    }
}

async fn subscribe_to(run: &Run<'_, Shared>, transaction: &Transaction, plan: &str) -> StepResult {
    let tenant = tenant_of(run);
    let running = billing::current(transaction, tenant).await?;
    if running.is_some_and(|running| running.plan.name == plan) {
        return Ok(Done::plainly());
    }
    let now = run.context.clock().now();
    let subscribed = billing::subscribe(transaction, tenant, plan, now).await;
    subscribed.map_err(|error| failure(error.into()))?;
    let change = Change::new(tenant, "billing.subscription_changed", "update", transaction.principal())
        .on("tenant", tenant)
        .details(json!({ "plan": plan }));
    Ok(Done::with(&json!({ "plan": plan })).change(change))
}

/// The gateway decides by the new tier, or will with its next version.
pub async fn in_force(run: &Run<'_, Shared>) -> StepResult {
    let Params { from, to, .. } = run.params()?;
    let in_force = wait_until_entry(run, |entry| *entry.tier == *to).await;
    Ok(Done::with(&json!({ "tenant": tenant_of(run), "from": from, "to": to, "in_force": in_force })))
}
