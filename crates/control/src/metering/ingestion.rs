//! Reported usage on its way into the journal: one lane, written by all calls in turn, made durable in groups.

use std::sync::{Arc, Mutex, PoisonError};

use rowhouse_domain::access::Permit;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_journal::{Class, Journal, Kind, LaneError, LaneWriter};

use super::door::CountingMeter;
use super::meter;
use super::reported::Reported;
use crate::Control;

/// The lane that reported events are written to.
pub const LANE: &str = "ingest";

/// The way in for reported usage.
pub struct Ingestion {
    node: String,
    writer: Mutex<LaneWriter>,
    meters: Mutex<Meters>,
}

/// The meters that count events, as of one version of the directory.
#[derive(Default)]
struct Meters {
    version: Option<u64>,
    list: Arc<[CountingMeter]>,
}

/// Where accepted events lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Accepted {
    pub node: String,
    /// Sequences of the events, in their order.
    pub sequences: Vec<u64>,
}

impl Ingestion {
    /// Opens the lane of reported events.
    pub fn open(journal: &Journal) -> Result<Self, LaneError> {
        let writer = Mutex::new(journal.lane(LANE)?);
        Ok(Ingestion { node: journal.node().to_owned(), writer, meters: Mutex::default() })
    }

    /// Appends `events` and returns when they are safe from a loss of power: from then on they will be counted.
    pub(super) async fn accept(&self, events: &[Reported]) -> Result<Accepted, Refusal> {
        let payloads: Vec<Vec<u8>> = events.iter().map(Reported::encode).collect();
        let (sequences, synced) = self.append(&payloads)?;
        synced.await.map_err(|error| unavailable(&error))?;
        Ok(Accepted { node: self.node.clone(), sequences })
    }

    /// Nothing waits while the lane is held: an append is a copy.
    fn append(&self, payloads: &[Vec<u8>]) -> Result<(Vec<u64>, rowhouse_journal::Synced), Refusal> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sequences = Vec::with_capacity(payloads.len());
        for payload in payloads {
            let sequence = writer.append_bytes(Class::S, Kind::Usage, payload);
            sequences.push(sequence.map_err(|error| unavailable(&error))?);
        }
        let last = *sequences.last().expect("nobody reports nothing");
        Ok((sequences, writer.synced(last)))
    }

    /// The meters that count events. Read anew when the directory has changed; while the database is away, those
    /// that were read last.
    pub(super) async fn meters(&self, control: &Control) -> Result<Arc<[CountingMeter]>, Refusal> {
        let version = control.directory.version();
        let known = {
            let meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
            if meters.version == Some(version) {
                return Ok(meters.list.clone());
            }
            meters.version.map(|_| meters.list.clone())
        };
        match load(control).await {
            Ok(list) => {
                let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
                *meters = Meters { version: Some(version), list: list.clone() };
                Ok(list)
            }
            Err(error) => known.ok_or_else(|| error.into()),
        }
    }
}

async fn load(control: &Control) -> Result<Arc<[CountingMeter]>, rowhouse_store::StoreError> {
    let transaction = control.store.read(&Permit::for_system(None, "meters for ingestion")).await?;
    let notes = meter::list(&transaction).await?;
    transaction.finish().await?;
    // A meter that breaks the rules counts nothing; the catalogue does not let one in.
    let counting = notes.into_iter().filter_map(|note| Some((note.draft.meter().ok()?, note.version)));
    Ok(counting.collect())
}

fn unavailable(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(&kind::JOURNAL_UNAVAILABLE, "Usage cannot be recorded just now; send it again.")
        .private(error.to_string())
        .retry_after(1)
}
