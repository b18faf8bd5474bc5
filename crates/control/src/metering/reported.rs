//! A reported event as it lies in the journal: checked at the door, with what it adds to each meter, so that it
//! counts under the meters that were in force when it was received.

use jiff::Timestamp;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::metering::claim::Claim;
use rowhouse_domain::metering::quantity::Quantity;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

/// Version of this form, written into every frame.
const FORM: u8 = 1;

/// One accepted event.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reported {
    /// Version of this form.
    pub form: u8,
    /// Whose usage it is.
    pub tenant: Uuid,
    /// Who reported it.
    pub source: String,
    /// Its id there.
    pub id: String,
    /// Its type.
    pub event_type: String,
    /// When it happened, µs since 1970; the time of receipt if it did not say.
    pub at_us: i64,
    /// When it was received, µs since 1970.
    pub received_at_us: i64,
    /// What must not change when it is sent again.
    pub content: Uuid,
    /// What it adds.
    pub usage: Vec<Added>,
    /// Its data as it was sent.
    pub data: Option<Box<RawValue>>,
}

/// What an event adds to a meter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Added {
    /// The meter.
    pub meter: String,
    /// Its version at receipt.
    pub version: i64,
    /// How much.
    pub quantity: Quantity,
}

/// What a frame does not hold.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotReported {
    #[error("not a reported event: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("a reported event of form {0}, which this build cannot read")]
    Form(u8),
    #[error("a time beyond the calendar: {0} µs since 1970")]
    Time(i64),
}

impl Reported {
    pub(super) fn new(tenant: TenantId, source: String, id: String, event_type: String) -> Self {
        Reported {
            form: FORM,
            tenant: tenant.0,
            source,
            id,
            event_type,
            at_us: 0,
            received_at_us: 0,
            content: Uuid::nil(),
            usage: Vec::new(),
            data: None,
        }
    }

    /// Reads a frame's payload.
    pub(super) fn decode(payload: &[u8]) -> Result<Self, NotReported> {
        let own: Reported = serde_json::from_slice(payload)?;
        if own.form != FORM {
            return Err(NotReported::Form(own.form));
        }
        own.at().and_then(|_| own.received_at())?;
        Ok(own)
    }

    /// A frame's payload.
    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an event is text, numbers and JSON")
    }

    /// What makes it count once.
    pub(super) fn claim(&self) -> Uuid {
        Uuid::from_bytes(Claim::of(self.tenant.as_bytes(), &self.source, &self.id).0)
    }

    pub(super) fn at(&self) -> Result<Timestamp, NotReported> {
        Timestamp::from_microsecond(self.at_us).map_err(|_| NotReported::Time(self.at_us))
    }

    pub(super) fn received_at(&self) -> Result<Timestamp, NotReported> {
        Timestamp::from_microsecond(self.received_at_us).map_err(|_| NotReported::Time(self.received_at_us))
    }
}
