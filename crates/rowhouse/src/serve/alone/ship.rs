//! Brings the journal to the control plane: each lane from where the control plane stands, in order. What it has taken is
//! released here; nothing else is. Sent twice counts once, because the position moves with the effect.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rowhouse_control::deploy::nodes::link::{Link, LinkError};
use rowhouse_control::deploy::nodes::wire::{BATCH_BYTES, BATCH_FRAMES, Shipment};
use rowhouse_domain::clock::Clock;
use rowhouse_journal::{Batch, Journal, Tail};
use tokio::sync::watch;
use uuid::Uuid;

use super::drain::Drain;
use super::standing::{About, Standing};

/// Without news of the journal it is looked at this often, and the control plane hears to when it has everything.
const BEAT: Duration = Duration::from_secs(1);
/// Between two tries when the control plane takes nothing: at first, and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What sends the journal.
pub struct Shipper {
    pub journal: Arc<Journal>,
    pub standing: Arc<Standing>,
    pub clock: Clock,
    /// Nothing more is recorded: end when everything has arrived.
    pub last: watch::Receiver<bool>,
    /// Says that everything has.
    pub done: watch::Sender<bool>,
}

/// One lane on its way.
struct Lane {
    tail: Tail,
    /// Where the control plane stands.
    position: u64,
    /// When this end of the lane has arrived, everything of before the instant has.
    goal: Option<(i64, u64)>,
    told_us: i64,
}

impl Shipper {
    /// Sends over `link` for as long as it holds; does not end by itself but after the last record.
    pub async fn run(&mut self, link: &Link, process: Uuid) {
        let mut pause = AGAIN.0;
        loop {
            match self.ship(link, process).await {
                Ok(()) => return,
                Err(problem) => {
                    if self.standing.note(About::Shipping, Some(problem.clone())) {
                        tracing::warn!(problem, "records stay here for now");
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(AGAIN.1);
        }
    }

    async fn ship(&mut self, link: &Link, process: Uuid) -> Result<(), String> {
        let words = |error: LinkError| error.to_string();
        let positions = link.positions().await.map_err(words)?;
        let mut lanes: BTreeMap<String, Lane> = BTreeMap::new();
        let mut appended = self.journal.appended();
        let mut drain = self.standing.drain.subscribe();
        loop {
            appended.borrow_and_update();
            let is_last = *self.last.borrow();
            let ended = match *drain.borrow_and_update() {
                Drain::Sending(number) => Some(number),
                _ => None,
            };
            if is_last || ended.is_some() {
                self.journal.synchronise();
            }
            self.find_lanes(&positions, &mut lanes)?;
            let mut is_busy = false;
            for (name, lane) in &mut lanes {
                is_busy |= self.advance(link, process, (name, lane)).await?;
            }
            self.standing.note(About::Shipping, None);
            if is_busy {
                continue;
            }
            if is_last {
                self.done.send_replace(true);
                return Ok(());
            }
            if let Some(number) = ended {
                link.tell_drained(process, number).await.map_err(words)?;
                self.standing.drain.send_if_modified(|drain| {
                    let is_this = *drain == Drain::Sending(number);
                    *drain = if is_this { Drain::Drained } else { *drain };
                    is_this
                });
            }
            tokio::select! {
                _ = appended.changed() => {}
                _ = drain.changed() => {}
                _ = self.last.changed() => {}
                () = tokio::time::sleep(BEAT) => {}
            }
        }
    }

    fn find_lanes(
        &self,
        positions: &BTreeMap<String, u64>,
        lanes: &mut BTreeMap<String, Lane>,
    ) -> Result<(), String> {
        for name in self.journal.reader().lanes().map_err(|error| error.to_string())? {
            if let Entry::Vacant(place) = lanes.entry(name) {
                let position = positions.get(place.key()).copied().unwrap_or(0);
                let tail = self.journal.reader().tail(place.key(), position);
                place.insert(Lane { tail, position, goal: None, told_us: 0 });
            }
        }
        Ok(())
    }

    /// Sends the next batch of a lane; whether there was one.
    async fn advance(
        &self,
        link: &Link,
        process: Uuid,
        (name, lane): (&str, &mut Lane),
    ) -> Result<bool, String> {
        let end = self.end_of(name);
        let now_us = self.clock.now_us();
        let (at_us, goal) = *lane.goal.get_or_insert((now_us, end));
        let batch = lane.tail.next_batch(BATCH_FRAMES, BATCH_BYTES).map_err(|error| error.to_string())?;
        let is_batch = !batch.is_empty() || batch.gap.is_some();
        let is_complete = lane.position.max(1) >= goal;
        let is_due = is_complete && now_us - lane.told_us >= i64::try_from(BEAT.as_micros()).unwrap_or(0);
        if !is_batch && !is_due {
            return Ok(false);
        }
        let batch = if is_batch { batch } else { nothing_after(lane.position) };
        let complete_to_us = Some(at_us).filter(|_| is_complete);
        let frames = batch.len() as u64;
        let wanted = batch.next_sequence;
        let shipment = Shipment { from: lane.position, batch, end, complete_to_us };
        let position = link.ship(process, name, &shipment).await.map_err(|error| error.to_string())?;
        if is_complete {
            (lane.goal, lane.told_us) = (None, now_us);
        }
        if position.next != wanted {
            lane.tail = self.journal.reader().tail(name, position.next);
        }
        lane.position = position.next;
        self.journal.release(name, position.next);
        self.standing.shipped.fetch_add(frames, Ordering::Relaxed);
        Ok(is_batch)
    }

    fn end_of(&self, lane: &str) -> u64 {
        let status = self.journal.status();
        status.lanes.iter().find(|known| known.lane == lane).map_or(0, |known| known.next_sequence)
    }
}

fn nothing_after(position: u64) -> Batch {
    let mut batch = Batch::default();
    batch.next_sequence = position;
    batch
}
