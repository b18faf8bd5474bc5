//! The invoice of a period as it would be now.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rowhouse_domain::billing::invoice::{self, Basis, Invoice, MeterUsage};
use rowhouse_domain::billing::money::MoneyError;
use rowhouse_domain::metering::ratio::Ratio;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{StoreError, Transaction};

use super::subscription::Subscription;
use crate::metering::{self, MeasureError, MeterNote, Span};

/// An invoice that is not issued, and what it was made from.
#[derive(Debug, Clone)]
pub struct Running {
    /// The invoice object.
    pub invoice: Invoice,
    /// The stretch of time that it is about.
    pub span: Span,
    /// The meters that were read.
    pub meters: BTreeMap<String, MeterNote>,
}

/// An invoice cannot be drafted.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// Usage cannot be read.
    #[error(transparent)]
    Measure(#[from] MeasureError),
    /// An amount is beyond its bounds.
    #[error("an amount cannot be: {0}")]
    Money(#[from] MoneyError),
}

impl From<StoreError> for DraftError {
    fn from(error: StoreError) -> Self {
        DraftError::Measure(error.into())
    }
}

impl From<DraftError> for Refusal {
    fn from(error: DraftError) -> Self {
        match error {
            DraftError::Measure(error) => error.into(),
            DraftError::Money(error) => {
                Refusal::new(&kind::OUT_OF_RANGE, format!("The invoice cannot be computed: {error}."))
            }
        }
    }
}

/// Drafts the invoice of one period of a subscription from the usage so far. `now` says whether the period is
/// over: only then minimums are due. All of it is read as of one instant if the transaction is.
pub async fn draft(
    transaction: &Transaction,
    subscription: &Subscription,
    period: Span,
    now: Timestamp,
) -> Result<Running, DraftError> {
    let mut meters = BTreeMap::new();
    let mut usage = BTreeMap::new();
    for name in subscription.plan.prices.iter().filter_map(|price| price.meter.as_ref()) {
        // A meter that is no longer declared has no new usage; what it had counts under the form it had.
        let Some(meter) = metering::find_meter(transaction, name).await? else { continue };
        let zone = &subscription.zone;
        let measured =
            metering::measure(transaction, subscription.tenant, &meter, period, period, zone).await?;
        let events = Some(measured.events);
        usage.insert(name.clone(), MeterUsage { quantity: measured.quantity, events });
        meters.insert(name.clone(), meter);
    }
    let wire_period =
        invoice::Period { from: period.from, to: period.to, zone: zone_name(&subscription.zone).to_owned() };
    let basis = Basis {
        plan: &subscription.plan,
        period: &wire_period,
        usage: &usage,
        billed: &BTreeMap::new(),
        quantity: &Ratio::one(),
        share: &Ratio::one(),
        last: now >= period.to,
    };
    let mut invoice = invoice::draft(&basis)?;
    invoice.tenant = Some(subscription.tenant.to_string());
    Ok(Running { invoice, span: period, meters })
}

/// The IANA name of a zone that was made from one.
pub(super) fn zone_name(zone: &TimeZone) -> &str {
    zone.iana_name().unwrap_or("UTC")
}
