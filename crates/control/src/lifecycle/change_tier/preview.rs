//! What a change of tier would do: quotas, features, isolation, price, and what stands in its way.

use std::collections::BTreeMap;

use rowhouse_domain::billing::money::Money;
use rowhouse_domain::refusal::Refusal;
use rowhouse_domain::tenancy::Isolation;
use rowhouse_store::Transaction;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::begin::{Wanted, shown};
use crate::{Control, billing};

/// A change of tier that was not made.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = TierChangePreview)]
pub struct Preview {
    /// Always true.
    pub dry_run: bool,
    /// What it would do.
    pub would: Would,
    /// Kind, action and number of what would be touched.
    #[schema(value_type = Vec<Object>)]
    pub effects: Vec<Value>,
    /// Problems that it would be refused with.
    #[schema(value_type = Vec<Object>)]
    pub refusals: Vec<Value>,
}

/// What a change of tier would do.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Would {
    /// The tier now and then.
    pub tier: Pair,
    /// When; RFC 3339.
    pub effective: String,
    /// Meter → quota now and then, where they differ.
    pub quotas: BTreeMap<String, Pair>,
    /// Features that come.
    pub features_gained: Vec<String>,
    /// Features that go.
    pub features_lost: Vec<String>,
    /// The level now and then.
    pub isolation: Pair,
    /// What it would cost.
    pub cost: Cost,
    /// Meters of which more is used than the new quotas give.
    pub over_quota: Vec<Over>,
    /// The steps, in order.
    pub steps: Vec<StepAhead>,
    /// Codes of what stands in its way.
    pub blocked_by: Vec<String>,
}

/// Now and then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Pair {
    /// Now; `null` where there is nothing.
    pub from: Option<String>,
    /// Then; `null` where there will be nothing.
    pub to: Option<String>,
}

/// What a change would cost, without tax and without usage.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Cost {
    /// The new plan.
    pub plan: String,
    /// Its fee of a whole period.
    #[schema(value_type = Object)]
    pub fee: Money,
    /// The old plan's, if it is in the same currency.
    #[schema(value_type = Option<Object>)]
    pub fee_before: Option<Money>,
    /// Of the old fee, for the rest of the period.
    #[schema(value_type = Option<Object>)]
    pub credit: Option<Money>,
    /// Of the new fee, for the rest of the period.
    #[schema(value_type = Object)]
    pub charge: Money,
    /// Charge without credit.
    #[schema(value_type = Option<Object>)]
    pub due: Option<Money>,
    /// From when; RFC 3339.
    pub from: String,
}

/// A meter of which more is used.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Over {
    /// Which.
    pub meter: String,
    /// How much is used.
    pub usage: String,
    /// How much the new quota gives.
    pub limit: String,
}

/// A step that would be made.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StepAhead {
    /// Its name.
    pub name: String,
}

/// Tells what `wanted` would do.
///
/// # Errors
/// If the price cannot be computed.
pub async fn preview(
    control: &Control,
    transaction: &Transaction,
    wanted: &Wanted,
) -> Result<Preview, Refusal> {
    let tenant = &wanted.record.tenant;
    let at = wanted.at.unwrap_or_else(|| control.clock().now());
    let cost = billing::preview_change(transaction, tenant.id, &wanted.to.plan, at).await?;
    let refusal = wanted.refusal();
    let features = |a: &[String], b: &[String]| -> Vec<String> {
        a.iter().filter(|feature| !b.contains(feature)).cloned().collect()
    };
    let over = wanted.over_quota.iter().map(|over| Over {
        meter: over.meter.clone(),
        usage: shown(over.used),
        limit: shown(over.limit),
    });
    let made = |name: &str| wanted.moves() || !name.starts_with("move_");
    let steps = super::kind().steps.into_iter().filter(|step| made(step.name));
    let steps = steps.map(|step| StepAhead { name: step.name.to_owned() });
    let due = cost.due();
    let would = Would {
        tier: pair(&wanted.from.name, &wanted.to.name),
        effective: at.to_string(),
        quotas: quotas(wanted),
        features_gained: features(&wanted.to.features, &wanted.from.features),
        features_lost: features(&wanted.from.features, &wanted.to.features),
        isolation: pair(Isolation::as_str(tenant.isolation), wanted.isolation.as_str()),
        cost: Cost {
            plan: cost.to,
            fee: cost.fee,
            fee_before: cost.fee_before,
            credit: cost.credit,
            charge: cost.charge,
            due,
            from: at.to_string(),
        },
        over_quota: over.collect(),
        steps: steps.collect(),
        blocked_by: refusal.iter().map(|refusal| refusal.code().to_owned()).collect(),
    };
    let problem = |refusal: &Refusal| json!({ "code": refusal.code(), "status": refusal.status(), "detail": refusal.detail() });
    Ok(Preview {
        dry_run: true,
        would,
        effects: vec![
            json!({ "kind": "tenant", "action": "update", "count": 1 }),
            json!({ "kind": "subscription", "action": "update", "count": 1 }),
        ],
        refusals: refusal.iter().map(problem).collect(),
    })
}

fn pair(from: &str, to: &str) -> Pair {
    Pair { from: Some(from.to_owned()), to: Some(to.to_owned()) }
}

/// Quotas that change; the tenant's own overrides stay what they are.
fn quotas(wanted: &Wanted) -> BTreeMap<String, Pair> {
    let (from, to) = (&wanted.from.quotas, &wanted.to.quotas);
    let own = &wanted.record.tenant.quota_overrides;
    let meters = from.keys().chain(to.keys()).filter(|meter| !own.contains_key(*meter));
    let change = |meter: &String| Pair { from: from.get(meter).cloned(), to: to.get(meter).cloned() };
    let changes = meters.map(|meter| (meter.clone(), change(meter)));
    changes.filter(|(_, pair)| pair.from != pair.to).collect()
}
