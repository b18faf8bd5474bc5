//! The door of ingestion: an event is taken or refused from what is in memory, without a database.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use rowhouse_domain::directory::Directory;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::metering::event::{EventError, UsageEvent};
use rowhouse_domain::metering::meter::Meter;
use uuid::Uuid;

use super::reported::{Added, Reported};

/// How far ahead of our clock an event's time may be.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// A meter that counts events, and its version.
pub(super) type CountingMeter = (Meter, i64);

/// Why one event is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rejection {
    /// A stable code.
    pub code: &'static str,
    /// In words.
    pub detail: String,
}

impl From<EventError> for Rejection {
    fn from(error: EventError) -> Self {
        Rejection { code: error.code(), detail: error.to_string() }
    }
}

/// What events are judged by.
pub(super) struct Door<'a> {
    pub directory: &'a Directory,
    pub meters: &'a [CountingMeter],
    pub now: Timestamp,
    /// The tenant that the sender speaks for; `None` is the operator, who names one in each event.
    pub own: Option<TenantId>,
}

impl Door<'_> {
    /// The event as it goes into the journal.
    pub(super) fn judge(&self, event: &UsageEvent) -> Result<Reported, Rejection> {
        let tenant = self.tenant(event.subject.as_deref())?;
        event.check_time(self.now, AHEAD, tenant_since(tenant))?;
        let at = event.time.unwrap_or(self.now);
        let content = event.content_digest()?;
        let (head, _) = content.split_first_chunk::<16>().expect("a digest has 32 bytes");
        Ok(Reported {
            at_us: at.as_nanosecond().div_euclid(1_000).try_into().expect("an instant in µs fits"),
            received_at_us: self.now.as_microsecond(),
            content: Uuid::from_bytes(*head),
            usage: self.usage(event)?,
            data: event.data.clone(),
            ..Reported::new(tenant, event.source.clone(), event.id.clone(), event.event_type.clone())
        })
    }

    fn tenant(&self, subject: Option<&str>) -> Result<TenantId, Rejection> {
        let named = subject.map(|name| self.find(name)).transpose()?;
        match (self.own, named) {
            (Some(own), Some(named)) if own != named => Err(unknown_tenant(subject.unwrap_or_default())),
            (Some(own), _) => Ok(own),
            (None, Some(named)) => Ok(named),
            (None, None) => Err(Rejection {
                code: "metering.unknown_tenant",
                detail: "`subject` must name the tenant, by code or id".to_owned(),
            }),
        }
    }

    fn find(&self, name: &str) -> Result<TenantId, Rejection> {
        let by_id = || name.parse().ok().and_then(|id| self.directory.tenants.get(&id));
        let found = self.directory.tenant_by_code(name).or_else(by_id);
        found.map(|tenant| tenant.id).ok_or_else(|| unknown_tenant(name))
    }

    fn usage(&self, event: &UsageEvent) -> Result<Vec<Added>, Rejection> {
        let mut usage = Vec::new();
        for (meter, version) in self.counting(event)? {
            let quantity = event.value(meter)?;
            usage.push(Added { meter: meter.name.clone(), version: *version, quantity });
        }
        Ok(usage)
    }

    /// The meters that count the event; one at least.
    fn counting(&self, event: &UsageEvent) -> Result<Vec<&CountingMeter>, Rejection> {
        let of_type = |meter: &Meter| meter.matches.types.contains(&event.event_type);
        let mut counting = Vec::new();
        for known in self.meters.iter().filter(|(meter, _)| of_type(meter)) {
            let dimensions: BTreeMap<_, _> = event.dimensions(&known.0)?;
            if known.0.matches_event(&event.event_type, &dimensions) {
                counting.push(known);
            }
        }
        if counting.is_empty() {
            let detail = format!("no meter counts `{}`", event.event_type);
            return Err(Rejection { code: "metering.unknown_type", detail });
        }
        Ok(counting)
    }
}

fn unknown_tenant(name: &str) -> Rejection {
    Rejection { code: "metering.unknown_tenant", detail: format!("there is no tenant `{name}`") }
}

/// When a tenant came into being: its id says so.
fn tenant_since(tenant: TenantId) -> Timestamp {
    let created = tenant.0.get_timestamp().map(|made| made.to_unix());
    let created = created.and_then(|(seconds, _)| Timestamp::from_second(i64::try_from(seconds).ok()?).ok());
    created.unwrap_or(Timestamp::UNIX_EPOCH)
}
