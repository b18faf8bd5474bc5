//! What a change of plan would cost: the fees of both plans, and the parts of them for the rest of the running period.
//! Usage is not a part of it: what was used before the change is rated on the old plan.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rowhouse_domain::billing::invoice::{self, Basis};
use rowhouse_domain::billing::money::{Money, MoneyError};
use rowhouse_domain::billing::period::{BilledPeriod, PeriodError, Stretch};
use rowhouse_domain::billing::plan::Plan;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::metering::ratio::Ratio;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::Transaction;

use super::running::zone_name;
use super::subscription::{self, Subscription};

/// A change of plan, priced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanChange {
    /// The plan that it would end; none for a tenant without a subscription.
    pub from: Option<String>,
    /// The plan that it would begin.
    pub to: String,
    /// The new plan's fee of a whole period.
    pub fee: Money,
    /// The old one's, if it is in the same currency.
    pub fee_before: Option<Money>,
    /// Of the old fee, for the rest of the period.
    pub credit: Option<Money>,
    /// Of the new fee, for the rest of the period.
    pub charge: Money,
    /// When the running period ends.
    pub period_end: Timestamp,
}

impl PlanChange {
    /// What would be due with the change; negative if something is given back.
    pub fn due(&self) -> Option<Money> {
        match self.credit {
            Some(credit) => self.charge.checked_sub(credit).ok(),
            None => Some(self.charge),
        }
    }
}

/// When the running period of a tenant's subscription ends; `None` without one.
pub async fn period_end(
    transaction: &Transaction,
    tenant: TenantId,
    now: Timestamp,
) -> Result<Option<Timestamp>, Refusal> {
    let Some(running) = subscription::current(transaction, tenant).await? else { return Ok(None) };
    Ok(Some(whole_period(&running, now).map_err(|error| beyond(&error))?.to))
}

/// Prices the change of a tenant's subscription to `plan` at `at`.
///
/// # Errors
/// 422 for an unknown plan, or an amount beyond its bounds.
pub async fn preview(
    transaction: &Transaction,
    tenant: TenantId,
    plan: &str,
    at: Timestamp,
) -> Result<PlanChange, Refusal> {
    let to = subscription::read_declared(transaction, plan).await?;
    let running = subscription::current(transaction, tenant).await?;
    let Some(running) = running else {
        let fee = fee(&to, at, &Ratio::one()).map_err(|error| out_of_range(&error))?;
        let (from, fee_before, credit) = (None, None, None);
        return Ok(PlanChange { from, to: to.name, fee, fee_before, credit, charge: fee, period_end: at });
    };
    let whole = whole_period(&running, at).map_err(|error| beyond(&error))?;
    let rest = BilledPeriod { part: Stretch { from: at, to: whole.to }, whole };
    let schedule = running.plan.schedule(running.anchor, running.zone.clone());
    let schedule = schedule.map_err(|error| beyond(&error))?;
    let share = |plan: &Plan| schedule.share(&rest, plan.proration, false).map_err(|error| beyond(&error));
    let (old_share, new_share) = (share(&running.plan)?, share(&to)?);
    let of = |plan: &Plan, share: &Ratio| fee(plan, at, share).map_err(|error| out_of_range(&error));
    let same = running.plan.currency == to.currency;
    Ok(PlanChange {
        fee: of(&to, &Ratio::one())?,
        fee_before: if same { Some(of(&running.plan, &Ratio::one())?) } else { None },
        credit: if same { Some(of(&running.plan, &old_share)?) } else { None },
        charge: of(&to, &new_share)?,
        from: Some(running.plan.name),
        to: to.name,
        period_end: whole.to,
    })
}

fn whole_period(running: &Subscription, at: Timestamp) -> Result<Stretch, PeriodError> {
    running.plan.schedule(running.anchor, running.zone.clone())?.whole_at(at)
}

/// The sum of a plan's lines without any usage.
fn fee(plan: &Plan, at: Timestamp, share: &Ratio) -> Result<Money, MoneyError> {
    let zone = zone_name(&jiff::tz::TimeZone::UTC).to_owned();
    let basis = Basis {
        plan,
        period: &invoice::Period { from: at, to: at, zone },
        usage: &BTreeMap::new(),
        billed: &BTreeMap::new(),
        quantity: &Ratio::one(),
        share,
        last: false,
    };
    Ok(invoice::draft(&basis)?.total.money)
}

fn beyond(error: &PeriodError) -> Refusal {
    Refusal::new(&kind::OUT_OF_RANGE, format!("The billing period cannot be computed: {error}."))
}

fn out_of_range(error: &MoneyError) -> Refusal {
    Refusal::new(&kind::OUT_OF_RANGE, format!("The price cannot be computed: {error}."))
}
