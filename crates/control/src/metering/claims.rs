//! Each reported event counts once, for ever: whoever claims its identity first is counted, whoever comes later is
//! a duplicate, or a conflict if it says something else.

use std::collections::HashMap;

use jiff::Timestamp;
use rowhouse_domain::id::TenantId;
use rowhouse_store::{StoreError, Transaction};
use tokio_postgres::Row;
use uuid::Uuid;

use super::collect::{Origin, Place, UsageRows};
use super::queries;
use super::reported::Reported;
use crate::projection::Source;

/// How a reported event fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventState {
    /// It is the one that counts.
    Counted,
    /// The same was reported before.
    Duplicate,
    /// Something else was reported under its id before.
    Conflict,
}

impl EventState {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            EventState::Counted => "counted",
            EventState::Duplicate => "duplicate",
            EventState::Conflict => "conflict",
        }
    }
}

/// An event of a batch and its place in the lane.
pub(super) struct Arrival {
    pub sequence: u64,
    pub event: Reported,
}

/// Who holds a claim.
struct Holder {
    content: Uuid,
    node: String,
    lane: String,
    sequence: i64,
}

/// Claims the identities of `arrivals` and adds the usage of those that count to `rows`. Events that do not count
/// are kept with the reason. Reading a stretch of the lane again changes nothing: each claim knows who won it.
pub(super) async fn settle(
    transaction: &Transaction,
    source: &Source,
    arrivals: &[Arrival],
    rows: &mut UsageRows,
) -> Result<(), StoreError> {
    if arrivals.is_empty() {
        return Ok(());
    }
    let holders = claim(transaction, source, arrivals).await?;
    let (mut counted, mut left_out) = (Vec::new(), Vec::new());
    for arrival in arrivals {
        let holder = holders.get(&arrival.event.claim());
        let holder = holder.ok_or(StoreError::Stored { what: "the claim of an event" })?;
        match state(holder, source, arrival.sequence, arrival.event.content) {
            EventState::Counted => counted.push(arrival),
            reason => left_out.push((arrival, reason)),
        }
    }
    for arrival in &counted {
        add(rows, arrival);
    }
    keep_counted(transaction, &counted).await?;
    keep_left_out(transaction, source, &left_out).await
}

fn add(rows: &mut UsageRows, arrival: &Arrival) {
    let event = &arrival.event;
    let at = event.at().expect("checked when it was read");
    let place = Place { tenant: TenantId(event.tenant), at, sequence: arrival.sequence };
    let origin = Origin::Event { source: &event.source, id: &event.id };
    for added in &event.usage {
        rows.push(place, &added.meter, added.version, added.quantity, &origin);
    }
}

fn state(holder: &Holder, source: &Source, sequence: u64, content: Uuid) -> EventState {
    let is_holder = holder.sequence == database_sequence(sequence)
        && holder.node == source.node
        && holder.lane == source.lane;
    match (is_holder, holder.content == content) {
        (true, _) => EventState::Counted,
        (false, true) => EventState::Duplicate,
        (false, false) => EventState::Conflict,
    }
}

/// Claims what is not claimed yet, in the order of the lane; who holds each claim then.
async fn claim(
    transaction: &Transaction,
    source: &Source,
    arrivals: &[Arrival],
) -> Result<HashMap<Uuid, Holder>, StoreError> {
    let claims: Vec<Uuid> = arrivals.iter().map(|arrival| arrival.event.claim()).collect();
    let contents: Vec<Uuid> = arrivals.iter().map(|arrival| arrival.event.content).collect();
    let sequences: Vec<i64> = arrivals.iter().map(|arrival| database_sequence(arrival.sequence)).collect();
    transaction
        .execute(queries::CLAIM, &[&claims, &contents, &sequences, &source.node, &source.lane])
        .await?;
    holders(transaction, &claims).await
}

async fn holders(transaction: &Transaction, claims: &[Uuid]) -> Result<HashMap<Uuid, Holder>, StoreError> {
    let rows = transaction.query(queries::HOLDERS, &[&claims]).await?;
    let holder = |row: &Row| {
        let holder = Holder { content: row.get(1), node: row.get(2), lane: row.get(3), sequence: row.get(4) };
        (row.get(0), holder)
    };
    Ok(rows.iter().map(holder).collect())
}

/// How events that lie at `sequences` of `source` fared; `None` for one that was set aside.
pub(super) async fn states(
    transaction: &Transaction,
    source: &Source,
    events: &[Reported],
    sequences: &[u64],
) -> Result<Vec<Option<EventState>>, StoreError> {
    let claims: Vec<Uuid> = events.iter().map(Reported::claim).collect();
    let holders = holders(transaction, &claims).await?;
    let of = |((event, claim), sequence): ((&Reported, &Uuid), &u64)| {
        holders.get(claim).map(|holder| state(holder, source, *sequence, event.content))
    };
    Ok(events.iter().zip(&claims).zip(sequences).map(of).collect())
}

async fn keep_counted(transaction: &Transaction, counted: &[&Arrival]) -> Result<(), StoreError> {
    let columns = Columns::of(counted.iter().map(|arrival| &arrival.event));
    let claims: Vec<Uuid> = counted.iter().map(|own| own.event.claim()).collect();
    let received: Vec<_> =
        counted.iter().map(|own| own.event.received_at().expect("checked when it was read")).collect();
    let data: Vec<Option<&str>> =
        counted.iter().map(|own| own.event.data.as_ref().map(|data| data.get())).collect();
    transaction
        .execute(
            queries::KEEP_COUNTED,
            &[
                &columns.tenants,
                &claims,
                &columns.sources,
                &columns.ids,
                &columns.types,
                &columns.instants,
                &received,
                &data,
            ],
        )
        .await?;
    Ok(())
}

async fn keep_left_out(
    transaction: &Transaction,
    source: &Source,
    left_out: &[(&Arrival, EventState)],
) -> Result<(), StoreError> {
    if left_out.is_empty() {
        return Ok(());
    }
    let columns = Columns::of(left_out.iter().map(|(arrival, _)| &arrival.event));
    let sequences: Vec<i64> = left_out.iter().map(|(own, _)| database_sequence(own.sequence)).collect();
    let reasons: Vec<&str> = left_out.iter().map(|(_, reason)| reason.as_str()).collect();
    transaction
        .execute(
            queries::KEEP_LEFT_OUT,
            &[
                &source.node,
                &source.lane,
                &columns.tenants,
                &columns.instants,
                &sequences,
                &columns.sources,
                &columns.ids,
                &columns.types,
                &columns.meters,
                &reasons,
            ],
        )
        .await?;
    Ok(())
}

/// What all rows of events have.
#[derive(Default)]
struct Columns<'a> {
    tenants: Vec<Uuid>,
    instants: Vec<Timestamp>,
    sources: Vec<&'a str>,
    ids: Vec<&'a str>,
    types: Vec<&'a str>,
    /// Separated by commas, which no meter's name has.
    meters: Vec<String>,
}

impl<'a> Columns<'a> {
    fn of(events: impl Iterator<Item = &'a Reported>) -> Self {
        let mut columns = Columns::default();
        for event in events {
            columns.tenants.push(event.tenant);
            columns.instants.push(event.at().expect("checked when it was read"));
            columns.sources.push(&event.source);
            columns.ids.push(&event.id);
            columns.types.push(&event.event_type);
            let meters: Vec<&str> = event.usage.iter().map(|added| added.meter.as_str()).collect();
            columns.meters.push(meters.join(","));
        }
        columns
    }
}

fn database_sequence(sequence: u64) -> i64 {
    i64::try_from(sequence).expect("a lane has fewer than 2^63 frames")
}
