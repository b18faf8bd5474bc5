//! Quotas as they are shown: read at one instant, with what is in force and the pace of the last days.

use rowhouse_domain::access::Permit;
use rowhouse_domain::directory::Quota;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::metering::quantity::Quantity;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::Transaction;

use super::agreed::QuotaSource;
use super::check::{Around, QuotaCheck};
use super::enforcement::{self, Enforcement, known_meter};
use super::measurement::{self, Measurement};
use super::{history, quotas_of};
use crate::Control;
use crate::metering::{self, MeterNote};
use crate::tenancy::{self, TenantRow};

/// Everything that checks of one tenant are made of.
pub(super) struct Seen {
    pub transaction: Transaction,
    pub row: TenantRow,
    pub quotas: Vec<Quota>,
    pub enforcements: Vec<Enforcement>,
    pub measurements: Vec<Measurement>,
    pub meters: Vec<MeterNote>,
    pub now: jiff::Timestamp,
    /// A limit that is tried out, or given to a meter without a quota.
    tried: Option<String>,
}

impl Seen {
    /// Reads; with a limit for one meter, as if the tenant had it.
    pub async fn read(
        control: &Control,
        permit: &Permit,
        tenant: TenantId,
        try_limit: Option<(&str, &str)>,
    ) -> Result<Seen, Refusal> {
        let now = control.clock().now();
        let transaction = control.store.read(permit).await?;
        metering::at_one_instant(&transaction).await?;
        let found = tenancy::load_tenants(&transaction, Some(tenant)).await?.pop();
        let mut row = found.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such tenant."))?;
        if let Some((meter, limit)) = try_limit {
            row.quota_overrides.insert(meter.to_owned(), limit.to_owned());
        }
        let quotas = quotas_of(&transaction, &row, now).await?;
        let enforcements = enforcement::load(&transaction, Some(tenant), now).await?;
        let measurements = measurement::all(&transaction, Some(tenant)).await?;
        let meters = metering::list_meters(&transaction).await?;
        let tried = try_limit.map(|(meter, _)| meter.to_owned());
        Ok(Seen { transaction, row, quotas, enforcements, measurements, meters, now, tried })
    }

    /// How the tenant stands against one of its quotas.
    pub async fn check(&self, quota: &Quota, quantity: Quantity) -> Result<QuotaCheck, Refusal> {
        let meter = self.meters.iter().find(|meter| *meter.name == *quota.meter);
        let is_level = meter.is_some_and(MeterNote::is_level);
        let growth = match quota.limit {
            Some(_) => history::growth(&self.transaction, self.row.id, &quota.meter, is_level).await?,
            None => Vec::new(),
        };
        let is_tried = self.tried.as_deref() == Some(&*quota.meter);
        let is_own =
            self.row.quota_overrides.contains_key(&*quota.meter) && !(is_tried && quota.limit.is_none());
        let stale = self.measurements.iter().any(|own| *own.meter == *quota.meter && own.is_stale());
        let around = Around {
            unit: meter.map_or("", |meter| &meter.draft.unit),
            from: if is_own { QuotaSource::Override } else { QuotaSource::Tier },
            quantity,
            enforcements: &self.enforcements,
            growth: &growth,
            stale,
        };
        Ok(QuotaCheck::new(quota, &around, self.now))
    }

    /// The quota of a meter.
    pub fn quota(&self, meter: &str) -> Option<&Quota> {
        self.quotas.iter().find(|quota| *quota.meter == *meter)
    }
}

/// All quotas of a tenant.
pub async fn all(control: &Control, permit: &Permit, tenant: TenantId) -> Result<Vec<QuotaCheck>, Refusal> {
    let seen = Seen::read(control, permit, tenant, None).await?;
    let mut checks = Vec::with_capacity(seen.quotas.len());
    for quota in &seen.quotas {
        checks.push(seen.check(quota, Quantity::ONE).await?);
    }
    seen.transaction.finish().await?;
    Ok(checks)
}

/// One quota of a tenant. A meter without a quota is unlimited.
///
/// # Errors
/// 404 for a meter that does not exist.
pub async fn one(
    control: &Control,
    permit: &Permit,
    tenant: TenantId,
    meter: &str,
    quantity: Quantity,
) -> Result<QuotaCheck, Refusal> {
    let seen = Seen::read(control, permit, tenant, None).await?;
    known_meter(&seen.transaction, meter).await?;
    let Some(quota) = seen.quota(meter) else {
        seen.transaction.finish().await?;
        return with_limit_and(control, permit, tenant, (meter, "unlimited"), quantity).await;
    };
    let check = seen.check(quota, quantity).await?;
    seen.transaction.finish().await?;
    Ok(check)
}

/// How a tenant would stand with another limit.
pub async fn with_limit(
    control: &Control,
    permit: &Permit,
    tenant: TenantId,
    (meter, limit): (&str, &str),
) -> Result<QuotaCheck, Refusal> {
    if crate::catalog::QuotaLimit::parse(limit).is_none() {
        let refusal = Refusal::new(&kind::INVALID_QUANTITY, "The limit is not one.");
        return Err(refusal.field(
            "/limit",
            "malformed",
            "a decimal string that is not negative, or `unlimited`",
        ));
    }
    with_limit_and(control, permit, tenant, (meter, limit), Quantity::ONE).await
}

async fn with_limit_and(
    control: &Control,
    permit: &Permit,
    tenant: TenantId,
    (meter, limit): (&str, &str),
    quantity: Quantity,
) -> Result<QuotaCheck, Refusal> {
    let seen = Seen::read(control, permit, tenant, Some((meter, limit))).await?;
    let quota = seen.quota(meter).expect("it was given a limit");
    let check = seen.check(quota, quantity).await?;
    seen.transaction.finish().await?;
    Ok(check)
}
