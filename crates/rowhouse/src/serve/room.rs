//! Whether the journal has room, where requests stop when it has none (`journal.when_full`). It is told while segments are still left
//! that were made before, so that what was let in until it is heard finds its place.

use std::sync::Arc;
use std::time::Duration;

use rowhouse_gateway::Freshness;
use rowhouse_journal::Journal;
use tokio::sync::watch;

/// How often it is looked: a lane needs longer to fill the segment that it has and one that lies ready.
const LOOK: Duration = Duration::from_millis(250);

/// Refuses requests while no new segment can be had, until `stop` says true.
pub async fn watch_room(journal: Arc<Journal>, freshness: Freshness, mut stop: watch::Receiver<bool>) {
    let mut look = tokio::time::interval(LOOK);
    let mut was_full = false;
    loop {
        tokio::select! {
            _ = look.tick() => {}
            _ = stop.wait_for(|stopping| *stopping) => return,
        }
        let full = journal.status().full;
        if full.is_some() != was_full {
            was_full = full.is_some();
            match &full {
                Some((_, why)) => tracing::error!(why, "requests are refused: they could not be recorded"),
                None => tracing::info!("requests are taken: the journal has room again"),
            }
        }
        freshness.set_unrecorded(was_full);
    }
}
