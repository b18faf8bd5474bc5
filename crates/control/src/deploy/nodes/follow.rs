//! The stream of the directory to one node: everything or what is new since its version, and then each version as it is
//! published, each as a whole. So what holds of versions in one process holds at the node: a request sees one version, versions
//! come in order, and none is skipped over that took something away without a later one that takes it away too.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rowhouse_domain::access::Permit;
use rowhouse_domain::directory::{Change, Directory};
use rowhouse_domain::refusal::{Refusal, kind};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::door::Door;
use super::queries::{self, NodeRow};
use super::wire::{FORMAT, Follow, Message};

/// Tenants, keys and hosts in one message.
const ENTRIES_MAX: usize = 2_000;
/// How often the node hears that nothing is new.
const BEAT: Duration = Duration::from_secs(1);
/// Every so many beats the database is asked what is wanted of the node, as another process may have changed it.
const BEATS_BETWEEN_LOOKS: u32 = 5;

/// Lets a process of a node begin. Of one journal there is one process, and it does not go back.
pub(super) async fn meet(door: &Door, row: &NodeRow, asked: &Follow) -> Result<(), Refusal> {
    if asked.format != FORMAT {
        let why = format!("The node speaks format {}, the control plane {FORMAT}.", asked.format);
        return Err(Refusal::new(&kind::NODE_RELEASE, why));
    }
    let control = &door.control;
    let transaction = control.store.write(&Permit::for_system(None, "a node connects")).await?;
    let gone = || Refusal::new(&kind::NODE_REFUSED, "There is no such node.");
    let row = queries::lock(&transaction, &row.name).await?.ok_or_else(gone)?;
    let boot = i64::try_from(asked.boot).unwrap_or(i64::MAX);
    let is_other = boot == row.boot && row.process != Some(asked.process);
    if boot < row.boot || is_other {
        let why = format!("Start {boot} of the node's journal comes after start {}.", row.boot);
        return Err(Refusal::new(&kind::JOURNAL_REPLACED, why));
    }
    let now = control.clock().now();
    queries::met(&transaction, &row.name, (boot, asked.process), &asked.release, now).await?;
    transaction.commit_telemetry().await?;
    Ok(())
}

/// What a stream wakes for.
enum Woken {
    Stop,
    Wanted,
    Version,
    Beat,
}

/// What one node is told.
pub(super) struct Stream {
    door: Arc<Door>,
    name: String,
    number: u64,
    /// What the node has after everything that is queued.
    told: Option<Arc<Directory>>,
    queue: VecDeque<Message>,
    published: watch::Receiver<u64>,
    wanted: watch::Receiver<u64>,
    /// What the node was told of being drained.
    drain: Option<i64>,
    stop: watch::Receiver<bool>,
    beat: Interval,
    beats: u32,
    is_over: bool,
}

impl Stream {
    pub(super) fn begin(door: Arc<Door>, row: &NodeRow, asked: &Follow, address: String) -> Stream {
        let nodes = &door.control.nodes;
        let is_same_life = asked.life.is_some() && asked.life == nodes.life();
        let told = asked.version.filter(|_| is_same_life).and_then(|version| nodes.version(version));
        let mut published = nodes.publications();
        published.mark_changed();
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Stream {
            number: nodes.begin(&row.name, address),
            name: row.name.clone(),
            queue: VecDeque::from([
                Message::Welcome(door.welcome(&row.name)),
                Message::Drain { drain: row.drain() },
            ]),
            told,
            published,
            wanted: nodes.wanted(),
            drain: row.drain(),
            stop: door.stop.clone(),
            beat,
            beats: 0,
            is_over: false,
            door,
        }
    }

    /// The next message with its length in front; nothing when the stream is over.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(message) = self.queue.pop_front() {
                return Some(framed(&message));
            }
            if self.is_over {
                return None;
            }
            match self.woken().await {
                Woken::Stop => return None,
                Woken::Wanted => self.look_what_is_wanted().await,
                Woken::Version => self.queue_changes(),
                Woken::Beat => self.note_beat().await,
            }
        }
    }

    async fn woken(&mut self) -> Woken {
        tokio::select! {
            // An error means that the process ends.
            _ = self.stop.wait_for(|stopping| *stopping) => Woken::Stop,
            changed = self.wanted.changed() => changed.map_or(Woken::Stop, |()| Woken::Wanted),
            changed = self.published.changed() => changed.map_or(Woken::Stop, |()| Woken::Version),
            _ = self.beat.tick() => Woken::Beat,
        }
    }

    fn queue_changes(&mut self) {
        let current = self.door.control.directory.current();
        let is_news = self.told.as_ref().is_none_or(|told| told.version != current.version);
        if current.version == 0 || !is_news {
            return;
        }
        let change = Change::between(self.told.as_deref(), &current);
        let parts = change.parts(ENTRIES_MAX).into_iter();
        self.queue.extend(parts.map(|part| Message::Change(Box::new(part))));
        self.told = Some(current);
    }

    async fn note_beat(&mut self) {
        let Some(version) = self.told.as_ref().map(|told| told.version) else { return };
        if !self.door.control.nodes.told(&self.name, self.number, version) {
            // A newer stream of the same node.
            self.is_over = true;
            return;
        }
        self.beats += 1;
        if self.beats.is_multiple_of(BEATS_BETWEEN_LOOKS) {
            self.look_what_is_wanted().await;
        }
        self.queue.push_back(Message::Beat { version });
    }

    /// What cannot be asked now is asked again later.
    async fn look_what_is_wanted(&mut self) {
        let Some(wanted) = self.door.wanted(&self.name).await else { return };
        if wanted.revoked {
            self.queue = VecDeque::from([Message::Revoked]);
            self.is_over = true;
        } else if wanted.drain != self.drain {
            self.drain = wanted.drain;
            self.queue.push_back(Message::Drain { drain: wanted.drain });
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.door.control.nodes.end(&self.name, self.number);
        tracing::info!(node = self.name, "a node does not follow any more");
    }
}

fn framed(message: &Message) -> Bytes {
    let packed = message.pack();
    let length = u32::try_from(packed.len()).expect("a message is far smaller");
    [&length.to_be_bytes()[..], &packed].concat().into()
}
