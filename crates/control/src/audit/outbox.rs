//! From the outbox into the logs.

use rowhouse_domain::id::{EventId, TenantId};
use rowhouse_store::{Change, StoreError};
use tokio_postgres::Row;

use super::draft::{of_change, rendering_failed};
use super::queries;
use super::sequence::{Arrival, Origin, append};
use crate::Control;

/// Rows in one round.
const BATCH: i64 = 4096;

/// Whether there may be more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// A full batch was taken.
    More,
    /// Nothing is left.
    Empty,
}

/// Sequences one batch: rows out, leaves in, one transaction. Of two at once, the second waits for the first one's
/// end and finds what it has left.
pub async fn drain(control: &Control) -> Result<Drained, StoreError> {
    control.audit.standing().may_go_on()?;
    let tx = control.store.sequence().await?;
    let mut rows = tx.query(queries::TAKE_OUT, &[&BATCH]).await?;
    if rows.is_empty() {
        tx.finish().await?;
        return Ok(Drained::Empty);
    }
    rows.sort_by_key(|row| row.get::<_, i64>("id"));
    append(&tx, &control.audit, rows.iter().map(arrival).collect()).await?;
    tx.commit_telemetry().await?;
    Ok(if rows.len() as i64 == BATCH { Drained::More } else { Drained::Empty })
}

fn arrival(row: &Row) -> Arrival {
    let (id, at) = (EventId(row.get("event_id")), row.get::<_, jiff::Timestamp>("at").as_microsecond());
    let json: serde_json::Value = row.get("draft");
    let draft = match serde_json::from_value::<Change>(json.clone()) {
        Ok(change) => of_change(id, at, &change),
        Err(_) => rendering_failed(id.to_string(), at, "unreadable", json.to_string().as_bytes()),
    };
    Arrival { log: TenantId(row.get("tenant_id")), draft, origin: Origin::Database }
}
