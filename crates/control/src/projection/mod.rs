//! Projections: whatever reads the journal and keeps a view of it in the control database.
//!
//! There is one way to project. [`run`] reads each lane from its position in `journal.positions`, hands a batch
//! to a [`Projector`] and lets it write its effect in the same database transaction that moves the position, so
//! each record counts once whatever crashes. The position is moved first and compared with what was read: of two
//! workers on one lane, one waits for the other's end and then finds that there is nothing left to do.
//!
//! What cannot be projected goes to `journal.quarantine` with the reason, and the projection goes on. When
//! PostgreSQL is away it waits and tries again for ever; the journal keeps the records meanwhile.

mod failure;
mod lane;
mod progress;
pub mod queries;
mod shipped;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use lane::{LaneWork, Step};
pub use lane::{Source, Unprojectable};
pub use progress::{Lag, Progress};
use rowhouse_journal::{Batch, Journal};
use rowhouse_store::{Store, StoreError, Transaction};
pub use shipped::{ShippedLane, Unready};
use tokio::sync::watch;

use crate::Shared;

/// Every projection of the control plane. A segment of the journal is removed only when all have passed it.
pub const ALL: [&str; 3] = [crate::metering::PROJECTION, AUDIT, crate::keys::PROJECTION];
/// The projection into the audit log.
pub const AUDIT: &str = "audit";

/// New lanes are looked for, and the journal is looked at unasked, this often.
const BACKSTOP: Duration = Duration::from_secs(1);
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_LAST: Duration = Duration::from_secs(5);

/// What makes a view of records.
pub trait Projector: Send + Sync {
    /// One of [`ALL`]; names the positions.
    fn name(&self) -> &'static str;

    /// Begins the transaction that takes one batch's effect and the new position.
    fn begin(&self, store: &Store) -> impl Future<Output = Result<Transaction, StoreError>> + Send;

    /// Writes the effect of `batch`, and answers which of its frames it could not take. It must not end the
    /// transaction. It is called again with the same frames, or the first of them, after any failure.
    fn project(
        &mut self,
        transaction: &Transaction,
        source: &Source,
        batch: &Batch,
    ) -> impl Future<Output = Result<Vec<Unprojectable>, StoreError>> + Send;

    /// The transaction of the last [`project`](Self::project) is in the database.
    fn committed(&mut self) {}
}

/// Projects the journal until `shutdown` says true; ends between two batches.
pub async fn run<P: Projector>(
    control: Shared,
    journal: Arc<Journal>,
    mut projector: P,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut appended = journal.appended();
    let mut lanes: BTreeMap<String, LaneWork> = BTreeMap::new();
    let mut backoff = BACKOFF_FIRST;
    while !*shutdown.borrow() {
        appended.borrow_and_update();
        find_lanes(&journal, &mut lanes);
        let (wait, is_away) = match turn(&control, &journal, &mut projector, &mut lanes).await {
            Turn::Busy => continue,
            Turn::Idle => (BACKSTOP, false),
            Turn::Away(reason) => {
                if backoff == BACKOFF_FIRST {
                    let projection = projector.name();
                    tracing::warn!(
                        projection,
                        reason,
                        "the journal cannot be projected now; trying until it can"
                    );
                }
                (backoff, true)
            }
        };
        backoff = if is_away { (backoff * 2).min(BACKOFF_LAST) } else { BACKOFF_FIRST };
        let woken = async {
            // New records do not cut a back-off short.
            if is_away || appended.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = woken => {}
            () = tokio::time::sleep(wait) => {}
            _ = shutdown.wait_for(|wanted| *wanted) => {}
        }
    }
}

/// How one turn over all lanes went.
enum Turn {
    /// There may be more to read at once.
    Busy,
    /// Nothing new.
    Idle,
    /// The database did not answer.
    Away(String),
}

async fn turn<P: Projector>(
    control: &Shared,
    journal: &Journal,
    projector: &mut P,
    lanes: &mut BTreeMap<String, LaneWork>,
) -> Turn {
    let mut busy = false;
    for work in lanes.values_mut() {
        match work.advance(control, journal, projector).await {
            Step::Moved => busy = true,
            Step::Idle => {}
            Step::Away(reason) => return Turn::Away(reason),
        }
    }
    if busy { Turn::Busy } else { Turn::Idle }
}

fn find_lanes(journal: &Journal, lanes: &mut BTreeMap<String, LaneWork>) {
    match journal.reader().lanes() {
        Ok(names) => {
            for name in names {
                let node = journal.node();
                lanes.entry(name).or_insert_with_key(|name| LaneWork::new(node, name));
            }
        }
        Err(error) => tracing::error!(%error, "the lanes of the journal cannot be listed"),
    }
}
