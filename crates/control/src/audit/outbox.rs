//! From the outbox into the logs.

use rowhouse_domain::id::{EventId, TenantId};
use rowhouse_store::{Change, StoreError};

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

/// Sequences one batch: leaves in, rows out, one transaction.
pub async fn drain(control: &Control) -> Result<Drained, StoreError> {
    let tx = control.store.sequence().await?;
    let rows = tx.query(queries::OUTBOX, &[&BATCH]).await?;
    if rows.is_empty() {
        tx.rollback().await?;
        return Ok(Drained::Empty);
    }
    let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    let arrivals = rows.iter().map(|row| {
        let (id, at) = (EventId(row.get(1)), row.get::<_, jiff::Timestamp>(4).as_microsecond());
        let draft = match serde_json::from_value::<Change>(row.get(3)) {
            Ok(change) => of_change(id, at, &change),
            Err(_) => rendering_failed(id, at, "unreadable"),
        };
        Arrival { log: TenantId(row.get(2)), draft, origin: Origin::Database }
    });
    append(&tx, &control.audit, arrivals.collect()).await?;
    tx.execute(queries::TAKE_OUT, &[&ids]).await?;
    tx.commit_telemetry().await?;
    Ok(if rows.len() as i64 == BATCH { Drained::More } else { Drained::Empty })
}
