//! How far each projection of this process has come on each lane.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rowhouse_journal::Journal;
use tokio::sync::watch;

use super::{ALL, Source};

/// How far one projection is behind on one lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    /// The projection.
    pub projection: &'static str,
    /// The lane.
    pub lane: String,
    /// Durable frames that it has not taken.
    pub records: u64,
    /// Whole seconds since it last had all there was; 0 while it keeps up.
    pub seconds: u64,
}

/// The standing of the projections that run in this process.
pub struct Progress {
    standings: Mutex<BTreeMap<(&'static str, String), Standing>>,
    changed: watch::Sender<u64>,
    /// Nodes of which nothing more counts.
    gone: Mutex<BTreeSet<String>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    /// Next sequence to read.
    position: u64,
    /// Every frame that was appended by this instant was taken.
    complete_to_us: Option<i64>,
    /// Of a lane of another node, where it ends there.
    end: Option<u64>,
}

/// A lane of another node among those of this one, whose names have no slash.
fn elsewhere(source: &Source) -> String {
    format!("{}/{}", source.node, source.lane)
}

impl Default for Progress {
    fn default() -> Self {
        Progress { standings: Mutex::default(), changed: watch::Sender::new(0), gone: Mutex::default() }
    }
}

impl Progress {
    /// Notes a position that is in the database, and releases what all projections have passed.
    pub(super) fn moved(&self, projection: &'static str, lane: &str, position: u64, journal: &Journal) {
        let mut standings = self.standings();
        let standing = standings.entry((projection, lane.to_owned())).or_default();
        let is_news = standing.position != position;
        standing.position = position;
        let passed =
            ALL.iter().map(|name| standings.get(&(*name, lane.to_owned())).map_or(0, |s| s.position));
        let released = passed.min().unwrap_or(0);
        drop(standings);
        if is_news {
            journal.release(lane, released);
            self.changed.send_modify(|count| *count += 1);
        }
    }

    /// Notes that all is taken that was appended to this lane by `at_us`.
    pub(super) fn complete_to(&self, projection: &'static str, lane: &str, at_us: i64) {
        let mut standings = self.standings();
        standings.entry((projection, lane.to_owned())).or_default().complete_to_us = Some(at_us);
    }

    /// The same for a lane of another node, whose journal is there. `end` is where the lane ends, as the node said.
    pub(super) fn shipped(&self, projection: &'static str, source: &Source, position: u64, end: u64) {
        let mut standings = self.standings();
        if self.is_gone(source) {
            return;
        }
        let standing = standings.entry((projection, elsewhere(source))).or_default();
        let is_news = standing.position != position;
        (standing.position, standing.end) = (position, Some(end));
        drop(standings);
        if is_news {
            self.changed.send_modify(|count| *count += 1);
        }
    }

    /// Notes that a lane of another node has arrived up to an instant, or that nobody knows up to when.
    pub fn arrived(&self, source: &Source, complete_to_us: Option<i64>) {
        let mut standings = self.standings();
        if self.is_gone(source) {
            return;
        }
        for projection in ALL {
            let standing = standings.entry((projection, elsewhere(source))).or_default();
            standing.complete_to_us = standing.complete_to_us.max(complete_to_us);
        }
    }

    /// Asked while the standings are held, so that what was on its way when a node went does not bring it back.
    fn is_gone(&self, source: &Source) -> bool {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).contains(&source.node)
    }

    /// Nothing more will come of a node.
    pub fn forget_node(&self, node: &str) {
        let mut standings = self.standings();
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).insert(node.to_owned());
        standings.retain(|(_, lane), _| lane.split_once('/').is_none_or(|(own, _)| own != node));
    }

    /// The instant, µs since 1970, to which `projection` is complete: everything appended by then is in its view.
    /// `None` until it has once caught up with every lane.
    pub fn completeness_us(&self, projection: &str) -> Option<i64> {
        let standings = self.standings();
        let of_projection = standings.iter().filter(|((name, _), _)| *name == projection);
        let mut lanes = of_projection.map(|(_, standing)| standing.complete_to_us).peekable();
        lanes.peek()?;
        lanes.collect::<Option<Vec<i64>>>()?.into_iter().min()
    }

    /// Resolves when `projection` has taken the frame `sequence` of `lane`; at once for 0, which no frame has.
    pub async fn passed(&self, projection: &'static str, lane: &str, sequence: u64) {
        let mut changed = self.changed.subscribe();
        let key = (projection, lane.to_owned());
        while sequence > 0 && self.standings().get(&key).is_none_or(|standing| standing.position <= sequence)
        {
            changed.changed().await.expect("the sender lives as long as `self`");
        }
    }

    /// Changes whenever a position moves.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// How far each projection is behind, measured now.
    pub fn lags(&self, journal: &Journal, now_us: i64) -> Vec<Lag> {
        let status = journal.status();
        let standings = self.standings();
        let all = standings.iter().map(|((projection, lane), standing)| {
            let own = status.lanes.iter().find(|known| known.lane == *lane).map(|l| l.synced_sequence);
            let end = standing.end.or(own).unwrap_or(0);
            let records = end.saturating_sub(standing.position.max(1));
            let behind_us = standing.complete_to_us.map_or(0, |at| now_us.saturating_sub(at));
            let seconds = if records == 0 { 0 } else { u64::try_from(behind_us / 1_000_000).unwrap_or(0) };
            Lag { projection, lane: lane.clone(), records, seconds }
        });
        all.collect()
    }

    fn standings(&self) -> MutexGuard<'_, BTreeMap<(&'static str, String), Standing>> {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
