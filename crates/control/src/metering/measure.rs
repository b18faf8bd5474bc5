//! What a stretch of time comes to under a meter: the figure that quotas and invoices use.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::metering::aggregate::{self, Event, Value, aggregate};
use rowhouse_domain::metering::meter::Mode;
use rowhouse_domain::metering::quantity::Quantity;
use rowhouse_domain::metering::ratio::Ratio;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{StoreError, Transaction};

use super::meter::MeterNote;
use super::queries;
use super::read::{quantity, total};
use super::span::Span;

/// Values of one stretch under a meter that is not a plain sum: a sample every minute for four months.
const VALUES_MAX: i64 = 200_000;

/// The value of a stretch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Measured {
    /// Before scaling and rounding.
    pub raw: Ratio,
    /// The value.
    pub quantity: Ratio,
    /// How many requests and events are behind it.
    pub events: u64,
}

/// A stretch could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// Reading failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is more in it than one reading takes.
    #[error("more than {VALUES_MAX} values of the meter `{meter}` lie in the stretch")]
    TooMany {
        /// The meter.
        meter: String,
    },
}

impl From<MeasureError> for Refusal {
    fn from(error: MeasureError) -> Self {
        match error {
            MeasureError::Store(error) => error.into(),
            MeasureError::TooMany { .. } => {
                Refusal::new(&kind::INVALID, format!("The stretch is too long: {error}."))
            }
        }
    }
}

/// The value of `span` under `meter`. `whole` is the billing period that holds the span: it matters to meters
/// that weigh by time.
pub async fn measure(
    transaction: &Transaction,
    tenant: TenantId,
    meter: &MeterNote,
    span: Span,
    whole: Span,
    zone: &TimeZone,
) -> Result<Measured, MeasureError> {
    if meter.is_additive() {
        let total = total(transaction, tenant, &meter.name, span).await?;
        let raw = total.quantity.to_ratio();
        return Ok(Measured { quantity: meter.shown(&raw), raw, events: total.events });
    }
    let level = level_before(transaction, tenant, meter, span.from).await?;
    let events = values(transaction, tenant, meter, span).await?;
    let span =
        aggregate::Span { from: span.from, to: span.to, whole: (whole.from, whole.to), zone: zone.clone() };
    let measure =
        meter.draft.measure().map_err(|_| StoreError::Stored { what: "the definition of a meter" })?;
    let result = aggregate(&measure, &span, &level, &events);
    Ok(Measured { raw: result.raw, quantity: result.value, events: result.counted })
}

/// The level that a stretch beginning at `from` opens with; 0 for a meter that carries none.
async fn level_before(
    transaction: &Transaction,
    tenant: TenantId,
    meter: &MeterNote,
    from: Timestamp,
) -> Result<Ratio, StoreError> {
    if !meter.draft.carry {
        return Ok(Ratio::zero());
    }
    let changes = meter.draft.mode == Mode::Delta && !meter.is_level();
    let sql = if changes { queries::SUM_BEFORE } else { queries::LAST_BEFORE };
    let row = transaction.query_opt(sql, &[&tenant.0, &meter.name, &from]).await?;
    row.map_or(Ok(Ratio::zero()), |row| quantity(row.get(0)).map(Quantity::to_ratio))
}

async fn values(
    transaction: &Transaction,
    tenant: TenantId,
    meter: &MeterNote,
    span: Span,
) -> Result<Vec<Event>, MeasureError> {
    let limit = VALUES_MAX + 1;
    let rows =
        transaction.query(queries::VALUES, &[&tenant.0, &meter.name, &span.from, &span.to, &limit]).await?;
    if rows.len() as i64 == limit {
        return Err(MeasureError::TooMany { meter: meter.name.clone() });
    }
    let event = |row: &tokio_postgres::Row| {
        Ok(Event { at: row.get(0), id: row.get(1), value: Value::Number(quantity(row.get(2))?) })
    };
    rows.iter().map(event).collect()
}
