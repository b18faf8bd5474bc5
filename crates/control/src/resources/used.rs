//! Usage in the windows that quotas count in.

use jiff::Timestamp;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::metering::quantity::Quantity;
use rowhouse_domain::resources::QuotaWindow;
use rowhouse_store::{StoreError, Transaction};

use crate::metering::{self, MeterNote};

/// What a tenant has used of a meter in the quota's current window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// Whose.
    pub tenant: TenantId,
    /// Of what.
    pub meter: String,
    /// The quota's window.
    pub window: QuotaWindow,
    /// How much, in units of 10⁻¹².
    pub used: i128,
    /// When the window began, µs since 1970.
    pub from_us: i64,
}

/// Usage of all tenants that the transaction sees, or of one. Who has used nothing is absent.
pub async fn used(
    transaction: &Transaction,
    tenant: Option<TenantId>,
    now: Timestamp,
) -> Result<Vec<Used>, StoreError> {
    let meters = metering::list_meters(transaction).await?;
    let (levels, sums): (Vec<&MeterNote>, Vec<&MeterNote>) =
        meters.iter().partition(|meter| meter.is_level());
    let since: Vec<(String, Timestamp)> =
        sums.iter().map(|meter| (meter.name.clone(), begin(&meter.name, now))).collect();
    let level_names: Vec<&str> = levels.iter().map(|meter| meter.name.as_str()).collect();
    let mut found = metering::totals_since(transaction, tenant, &since).await?;
    if !level_names.is_empty() {
        found.extend(metering::levels(transaction, tenant, &level_names).await?);
    }
    found.into_iter().map(|(tenant, meter, sum)| shown(&meters, tenant, meter, sum, now)).collect()
}

/// The first instant of the window of a meter's quota. A standing one has begun before all usage.
fn begin(meter: &str, now: Timestamp) -> Timestamp {
    let (from_us, _) = QuotaWindow::of_meter(meter).bounds_us(now.as_microsecond());
    Timestamp::from_microsecond(from_us).expect("windows begin within the years 0 to 9999")
}

fn shown(
    meters: &[MeterNote],
    tenant: TenantId,
    name: String,
    sum: Quantity,
    now: Timestamp,
) -> Result<Used, StoreError> {
    let meter = meters.iter().find(|meter| meter.name == name).expect("only these meters were asked for");
    let value = Quantity::rounded(&meter.shown(&sum.to_ratio()));
    let window = QuotaWindow::of_meter(&name);
    let used = value.ok_or(StoreError::Stored { what: "usage beyond 10^20" })?.units();
    Ok(Used { tenant, meter: name, window, used, from_us: window.bounds_us(now.as_microsecond()).0 })
}
