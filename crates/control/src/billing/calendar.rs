//! Whose clock a tenant's windows follow: the zone and the periods of its subscription.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rowhouse_domain::billing::period::{Interval, IntervalUnit, Schedule};
use rowhouse_domain::id::TenantId;
use rowhouse_domain::resources::Calendar;
use rowhouse_store::{StoreError, Transaction};
use serde_json::Value;
use tokio_postgres::types::Json;

const CURRENT: &str = "SELECT tenant_id, zone, anchor, snapshot -> 'interval' FROM billing.subscriptions \
     WHERE ended_at IS NULL AND ($1::uuid IS NULL OR tenant_id = $1)";

/// The calendars of all tenants with a subscription that the transaction sees, or of one.
pub async fn calendars(
    transaction: &Transaction,
    tenant: Option<TenantId>,
) -> Result<Vec<(TenantId, Calendar)>, StoreError> {
    let rows = transaction.query(CURRENT, &[&tenant.map(|tenant| tenant.0)]).await?;
    let calendar = |row: &tokio_postgres::Row| {
        let zone = TimeZone::get(row.get(1)).map_err(|_| StoreError::Stored { what: "a zone" })?;
        let interval = row.get::<_, Option<Json<Value>>>(3).map(|json| json.0).unwrap_or_default();
        let monthly = Interval { unit: IntervalUnit::Month, count: 1 };
        let interval = serde_json::from_value(interval).unwrap_or(monthly);
        let schedule = Schedule::subscription(row.get::<_, Timestamp>(2), interval, zone.clone()).ok();
        Ok((TenantId(row.get(0)), Calendar::new(zone, schedule)))
    };
    rows.iter().map(calendar).collect()
}
