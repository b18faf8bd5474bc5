//! The quotas of tenants with what they have used of them: what the directory carries, what is shown, and what
//! evaluation goes by are all made here.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use rowhouse_domain::directory::Quota;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::metering::quantity::Quantity;
use rowhouse_domain::resources::{Calendar, QuotaRule, QuotaWindow, RuleZone};
use rowhouse_domain::tenancy::Tier;
use rowhouse_store::{StoreError, Transaction};

use super::agreed::{Agreed, Rules};
use super::{enforcement, measurement};
use crate::metering::{self, MeterNote};
use crate::tenancy::TenantRow;
use crate::{billing, catalog};

/// What is used by tenant and meter: how much, and for a level since when, µs since 1970.
type Figures = HashMap<(TenantId, String), (Quantity, i64)>;

/// The quotas of `tenants` as they stand at `now`, in the order of their meters. `only` says that it is one tenant, so
/// that nobody else's rows are read.
pub async fn quotas(
    transaction: &Transaction,
    tenants: &[TenantRow],
    tiers: &BTreeMap<String, Tier>,
    only: Option<TenantId>,
    now: Timestamp,
) -> Result<HashMap<TenantId, Vec<Quota>>, StoreError> {
    let mut rules = Rules::default();
    let agree = |row: &TenantRow| (row.id, rules.agreed(tiers.get(&row.tier), &row.quota_overrides));
    let agreed: Vec<_> = tenants.iter().map(agree).collect();
    let calendars = Calendars::load(transaction, &agreed, only).await?;
    let lifted = enforcement::lifted(transaction, only, now).await?;
    let mut names: HashMap<String, Arc<str>> = HashMap::new();
    let mut all: HashMap<TenantId, Vec<Quota>> = HashMap::with_capacity(agreed.len());
    for (tenant, own) in agreed {
        let quota = |(meter, agreed): (String, Agreed)| {
            let Agreed { limit, rule, .. } = agreed;
            let calendar = calendars.of(tenant, &rule);
            let (used_from_us, _) = calendar.bounds_us(rule.window, now.as_microsecond());
            let is_lifted = !lifted.is_empty() && lifted.contains(&(tenant, meter.clone()));
            let meter = names.entry(meter).or_insert_with_key(|meter| Arc::from(meter.as_str())).clone();
            Quota { meter, limit, rule, calendar, used: 0, used_from_us, as_of_us: 0, is_lifted }
        };
        all.insert(tenant, own.into_iter().map(quota).collect());
    }
    let meters = metering::list_meters(transaction).await?;
    let figures = figures(transaction, &all, (&meters, &calendars.utc), only).await?;
    for (tenant, own) in &mut all {
        own.iter_mut().try_for_each(|quota| fill(*tenant, quota, &meters, &figures))?;
    }
    Ok(all)
}

/// The quotas of one tenant.
///
/// # Errors
/// If the catalogue or the database fails.
pub async fn quotas_of(
    transaction: &Transaction,
    row: &TenantRow,
    now: Timestamp,
) -> Result<Vec<Quota>, catalog::LoadError> {
    let tier = catalog::load_tier(transaction, &row.tier).await?;
    let tiers: BTreeMap<String, Tier> = tier.into_iter().map(|tier| (tier.name.clone(), tier)).collect();
    let mut all = quotas(transaction, std::slice::from_ref(row), &tiers, Some(row.id), now).await?;
    Ok(all.remove(&row.id).unwrap_or_default())
}

/// Calendars of tenants whose quotas follow another clock than UTC.
struct Calendars {
    own: HashMap<TenantId, Arc<Calendar>>,
    utc: Arc<Calendar>,
}

impl Calendars {
    async fn load(
        transaction: &Transaction,
        agreed: &[(TenantId, BTreeMap<String, Agreed>)],
        only: Option<TenantId>,
    ) -> Result<Self, StoreError> {
        let any = agreed.iter().any(|(_, own)| own.values().any(|quota| is_own(&quota.rule)));
        let loaded = if any { billing::calendars(transaction, only).await? } else { Vec::new() };
        let own = loaded.into_iter().map(|(tenant, calendar)| (tenant, Arc::new(calendar))).collect();
        Ok(Calendars { own, utc: Arc::default() })
    }

    fn of(&self, tenant: TenantId, rule: &QuotaRule) -> Arc<Calendar> {
        self.own.get(&tenant).filter(|_| is_own(rule)).unwrap_or(&self.utc).clone()
    }
}

fn is_own(rule: &QuotaRule) -> bool {
    rule.zone == RuleZone::Tenant || rule.window == QuotaWindow::BillingPeriod
}

/// What is used. Most tenants count in the same windows, which are read together; the rest one by one.
async fn figures(
    transaction: &Transaction,
    all: &HashMap<TenantId, Vec<Quota>>,
    (meters, utc): (&[MeterNote], &Arc<Calendar>),
    only: Option<TenantId>,
) -> Result<Figures, StoreError> {
    let (mut together, mut apart) = (BTreeMap::new(), Vec::new());
    let mut levels: Vec<&str> = Vec::new();
    for (tenant, quota) in all.iter().flat_map(|(tenant, own)| own.iter().map(move |quota| (tenant, quota))) {
        let known = meters.iter().find(|meter| *meter.name == *quota.meter);
        if known.is_none_or(|meter| !meter.is_additive()) {
            if !levels.contains(&&*quota.meter) {
                levels.push(&quota.meter);
            }
            continue;
        }
        let from_us = *together.entry(quota.meter.to_string()).or_insert(quota.used_from_us);
        if from_us != quota.used_from_us || !Arc::ptr_eq(&quota.calendar, utc) {
            apart.push((*tenant, quota.meter.to_string(), instant(quota.used_from_us)));
        }
    }
    let since: Vec<(String, Timestamp)> =
        together.into_iter().map(|(meter, from_us)| (meter, instant(from_us))).collect();
    let mut figures = Figures::new();
    for (tenant, meter, quantity) in metering::totals_since(transaction, only, &since).await? {
        figures.insert((tenant, meter), (quantity, 0));
    }
    for (tenant, meter, _) in &apart {
        figures.remove(&(*tenant, meter.clone()));
    }
    if !apart.is_empty() {
        let totals = metering::totals_of(transaction, &apart).await?;
        figures.extend(totals.into_iter().map(|(tenant, meter, quantity)| ((tenant, meter), (quantity, 0))));
    }
    if !levels.is_empty() {
        let reported = metering::levels_at(transaction, only, &levels).await?;
        let measured = measurement::levels(transaction, only).await?;
        for (tenant, meter, level, at) in reported.into_iter().chain(measured) {
            let at_us = at.as_microsecond();
            let figure = figures.entry((tenant, meter)).or_insert((level, at_us));
            // What was measured or reported last holds; of two at one instant, what was measured.
            if figure.1 <= at_us {
                *figure = (level, at_us);
            }
        }
    }
    Ok(figures)
}

fn instant(at_us: i64) -> Timestamp {
    Timestamp::from_microsecond(at_us).expect("windows begin within the years 0 to 9999")
}

fn fill(
    tenant: TenantId,
    quota: &mut Quota,
    meters: &[MeterNote],
    figures: &Figures,
) -> Result<(), StoreError> {
    let Some((sum, at_us)) = figures.get(&(tenant, quota.meter.to_string())) else { return Ok(()) };
    let meter = meters.iter().find(|meter| *meter.name == *quota.meter);
    let shown = meter.map_or_else(|| Some(*sum), |meter| Quantity::rounded(&meter.shown(&sum.to_ratio())));
    quota.used = shown.ok_or(StoreError::Stored { what: "usage beyond 10^20" })?.units();
    quota.as_of_us = *at_us;
    Ok(())
}
