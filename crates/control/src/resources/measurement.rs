//! Levels: what exists of a meter, as it was measured or pushed. A level is kept with the highest of its minute (for
//! the days), told to metering (for the invoice), and looked at by evaluation at once.

use jiff::{SignedDuration, Timestamp};
use rowhouse_domain::id::TenantId;
use rowhouse_domain::metering::quantity::Quantity;
use rowhouse_store::{StoreError, Transaction};
use tokio_postgres::Row;
use uuid::Uuid;

use super::queries;

/// So many measurements must fail in a row before a level is too old to act on.
pub const FAILURES_MAX: i32 = 3;

/// A level, and how measuring it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measurement {
    /// Whose.
    pub tenant: TenantId,
    /// Of what.
    pub meter: String,
    /// `storage`, `table`, `memberships` or `pushed`.
    pub collector: String,
    /// What there is, and since when it is known.
    pub level: Option<(Quantity, Timestamp)>,
    /// When it is measured again; `None` for what is pushed.
    pub due_at: Option<Timestamp>,
    /// Measurements that failed since the last that did not.
    pub failures: i32,
    /// What the last of them said.
    pub problem: Option<String>,
}

impl Measurement {
    /// Whether it is too old to act on.
    pub fn is_stale(&self) -> bool {
        self.failures >= FAILURES_MAX
    }
}

/// All levels that the transaction sees, or of one tenant.
pub async fn levels(
    transaction: &Transaction,
    tenant: Option<TenantId>,
) -> Result<Vec<(TenantId, String, Quantity, Timestamp)>, StoreError> {
    let rows = transaction.query(queries::LEVELS, &[&tenant.map(|tenant| tenant.0)]).await?;
    let level = |row: &Row| Ok((TenantId(row.get(0)), row.get(1), quantity(row.get(2))?, row.get(3)));
    rows.iter().map(level).collect()
}

/// How measuring goes, for all tenants that the transaction sees or for one.
pub async fn all(
    transaction: &Transaction,
    tenant: Option<TenantId>,
) -> Result<Vec<Measurement>, StoreError> {
    let rows = transaction.query(queries::MEASUREMENTS, &[&tenant.map(|tenant| tenant.0)]).await?;
    rows.iter().map(parse).collect()
}

/// What is due at `now`, the longest overdue first.
pub async fn due(
    transaction: &Transaction,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Measurement>, StoreError> {
    let rows = transaction.query(queries::DUE, &[&now, &limit]).await?;
    rows.iter().map(parse).collect()
}

fn parse(row: &Row) -> Result<Measurement, StoreError> {
    let level = row.get::<_, Option<&str>>(3).map(quantity).transpose()?;
    Ok(Measurement {
        tenant: TenantId(row.get(0)),
        meter: row.get(1),
        collector: row.get(2),
        level: level.zip(row.get(4)),
        due_at: row.get(5),
        failures: row.get(6),
        problem: row.get(7),
    })
}

pub(super) fn quantity(text: &str) -> Result<Quantity, StoreError> {
    Quantity::parse(text).map_err(|_| StoreError::Stored { what: "a quantity" })
}

/// Keeps a level. Answers whether it is news: one that is older than the last is kept nowhere.
pub async fn keep(
    transaction: &Transaction,
    (tenant, meter): (TenantId, &str),
    collector: &str,
    (level, at): (Quantity, Timestamp),
    due_at: Option<Timestamp>,
) -> Result<bool, StoreError> {
    let level = level.to_string();
    let kept = transaction
        .execute(queries::KEEP_LEVEL, &[&tenant.0, &meter, &collector, &level, &at, &due_at])
        .await?;
    if kept == 0 {
        return Ok(false);
    }
    transaction.execute(queries::KEEP_SAMPLE, &[&tenant.0, &meter, &at, &level]).await?;
    Ok(true)
}

/// Keeps the level of a measurement that was due at `was_due`; if it was made due again meanwhile, it stays due. Answers whether
/// it is still wanted, and news.
pub async fn renew(
    transaction: &Transaction,
    (tenant, meter): (TenantId, &str),
    (level, at): (Quantity, Timestamp),
    (was_due, due_at): (Option<Timestamp>, Timestamp),
) -> Result<bool, StoreError> {
    let level = level.to_string();
    let kept = transaction
        .execute(queries::RENEW_LEVEL, &[&tenant.0, &meter, &level, &at, &due_at, &was_due])
        .await?;
    if kept > 0 {
        transaction.execute(queries::KEEP_SAMPLE, &[&tenant.0, &meter, &at, &level]).await?;
    }
    Ok(kept > 0)
}

/// Notes that a measurement failed, and when it is tried again. Answers how many have failed in a row.
pub async fn failed(
    transaction: &Transaction,
    (tenant, meter): (TenantId, &str),
    problem: &str,
    due_at: Timestamp,
) -> Result<i32, StoreError> {
    let row = transaction.query_opt(queries::FAILED, &[&tenant.0, &meter, &problem, &due_at]).await?;
    Ok(row.map_or(0, |row| row.get(0)))
}

/// Enters what is to be measured and is not yet, due at once.
pub async fn schedule(
    transaction: &Transaction,
    wanted: &[(TenantId, String, &'static str)],
    now: Timestamp,
) -> Result<u64, StoreError> {
    let tenants: Vec<Uuid> = wanted.iter().map(|(tenant, _, _)| tenant.0).collect();
    let meters: Vec<&str> = wanted.iter().map(|(_, meter, _)| meter.as_str()).collect();
    let collectors: Vec<&str> = wanted.iter().map(|(_, _, collector)| *collector).collect();
    transaction.execute(queries::SCHEDULE, &[&tenants, &meters, &collectors, &now]).await
}

/// Has a level measured at once by `collector`: what it counts has changed in `transaction`.
pub async fn soon(
    transaction: &Transaction,
    (tenant, meter): (TenantId, &str),
    collector: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    transaction.execute(queries::MEASURE_SOON, &[&tenant.0, &meter, &collector, &now]).await?;
    Ok(())
}

/// What measures a level now, if anything does.
pub async fn collector(
    transaction: &Transaction,
    (tenant, meter): (TenantId, &str),
) -> Result<Option<String>, StoreError> {
    let row = transaction.query_opt(queries::COLLECTOR, &[&tenant.0, &meter]).await?;
    Ok(row.map(|row| row.get(0)))
}

/// Takes measurements out that nobody wants any more.
pub async fn forget(transaction: &Transaction, tenant: TenantId, meter: &str) -> Result<(), StoreError> {
    transaction.execute(queries::FORGET_MEASUREMENT, &[&tenant.0, &meter]).await?;
    Ok(())
}

/// Until when what was measured now need not be measured again: storage of the shared level by how full it is, the
/// rest by its collector.
pub fn interval(collector: &str, is_shared: bool, percent: Option<i128>) -> SignedDuration {
    match (collector, is_shared, percent) {
        ("storage", true, Some(95..)) => SignedDuration::from_mins(1),
        ("storage", true, Some(80..)) => SignedDuration::from_mins(10),
        ("storage", true, Some(50..)) => SignedDuration::from_hours(1),
        ("storage", true, _) => SignedDuration::from_hours(24),
        ("storage", false, _) => SignedDuration::from_mins(5),
        // Counted when they change.
        ("memberships", ..) => SignedDuration::from_hours(24),
        _ => SignedDuration::from_mins(1),
    }
}
