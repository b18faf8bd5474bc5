//! Appending to logs: gives each draft its place, folds it into the tree, and writes all of it in the caller's
//! transaction. The size is compared and swapped, so of two sequencers on one log one changes nothing.

use std::collections::BTreeMap;

use rowhouse_domain::audit::leaf::{Emitter, EventDraft, Leaf, Placement, next_recorded_at};
use rowhouse_domain::audit::row::Row;
use rowhouse_domain::audit::tree::{Frontier, empty_root, leaf_hash};
use rowhouse_domain::id::{EventId, TenantId};
use rowhouse_store::{StoreError, Transaction};

use super::draft::rendering_failed;
use super::keys::Keys;
use super::queries;

/// Where an event came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The outbox; the log counts.
    Database,
    /// A lane of a journal; the lane counts, per log.
    Lane {
        /// Node and lane.
        node: String,
        /// The lane's boot.
        boot: i64,
        /// Gapless from 1 per lane, boot and log.
        counter: i64,
    },
}

/// An event on its way into a log.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Which log.
    pub log: TenantId,
    /// What happened.
    pub draft: EventDraft,
    /// Where it came from.
    pub origin: Origin,
}

/// Appends in the order given. Ends nothing: the caller commits.
pub async fn append(tx: &Transaction, keys: &Keys, arrivals: Vec<Arrival>) -> Result<(), StoreError> {
    let mut by_log: BTreeMap<TenantId, Vec<Arrival>> = BTreeMap::new();
    for arrival in arrivals {
        by_log.entry(arrival.log).or_default().push(arrival);
    }
    // In the order of the ids, so that two sequencers never wait for each other.
    for (log, arrivals) in by_log {
        append_to(tx, keys, log, arrivals).await?;
    }
    Ok(())
}

/// A log while leaves are added to it.
struct OpenLog {
    origin: String,
    incarnation: i64,
    frontier: Frontier,
    last_rx: i64,
    counter: i64,
}

async fn append_to(
    tx: &Transaction,
    keys: &Keys,
    log: TenantId,
    arrivals: Vec<Arrival>,
) -> Result<(), StoreError> {
    let mut open = lock(tx, keys, log).await?;
    let old_size = database_size(open.frontier.size());
    let now_us = tx.store().clock().now_us();
    let mut columns = Columns::default();
    for arrival in arrivals {
        let index = open.frontier.size();
        let (leaf, text) = open.place(arrival, now_us);
        let hash = leaf_hash(text.as_bytes());
        open.frontier.append(hash);
        columns.push(Row::of(index, &leaf), leaf.draft.event_type.name(), text, hash.0.to_vec());
    }
    columns.insert(tx, log).await?;
    let (size, root) = (database_size(open.frontier.size()), open.frontier.root().0.to_vec());
    let frontier = open.frontier.to_bytes();
    let moved = tx
        .execute(
            queries::MOVE_LOG,
            &[&log.0, &old_size, &size, &root, &frontier, &open.last_rx, &open.counter],
        )
        .await?;
    if moved == 1 { Ok(()) } else { Err(StoreError::Stored { what: "the size of an audit log" }) }
}

async fn lock(tx: &Transaction, keys: &Keys, log: TenantId) -> Result<OpenLog, StoreError> {
    let (origin, root) = (keys.origin(log), empty_root().0.to_vec());
    let (empty, now) = (Vec::<u8>::new(), tx.store().clock().now());
    tx.execute(queries::OPEN_LOG, &[&log.0, &origin, &root, &empty, &now]).await?;
    let row = tx.query_one(queries::LOCK_LOG, &[&log.0]).await?;
    let size = u64::try_from(row.get::<_, i64>("size")).ok();
    let frontier = size.and_then(|size| Frontier::from_bytes(size, row.get("frontier")));
    Ok(OpenLog {
        origin: row.get("origin"),
        incarnation: row.get("incarnation"),
        frontier: frontier.ok_or(StoreError::Stored { what: "the frontier of an audit log" })?,
        last_rx: row.get("last_rx"),
        counter: row.get("counter"),
    })
}

impl OpenLog {
    fn place(&mut self, arrival: Arrival, now_us: i64) -> (Leaf, String) {
        self.last_rx = next_recorded_at(self.last_rx, now_us);
        let emitter = match arrival.origin {
            Origin::Lane { node, boot, counter } => Emitter { node, boot, counter },
            Origin::Database => {
                self.counter += 1;
                Emitter { node: "db".to_owned(), boot: self.incarnation, counter: self.counter }
            }
        };
        let place = Placement { log: self.origin.clone(), emitter, recorded_at_us: self.last_rx };
        let leaf = Leaf { place, draft: arrival.draft };
        match leaf.render() {
            Ok(text) => (leaf, text),
            Err(error) => self.place_failure(leaf, &error.to_string()),
        }
    }

    fn place_failure(&self, leaf: Leaf, why: &str) -> (Leaf, String) {
        tracing::error!(event = leaf.draft.event, why, "an audit event cannot be rendered");
        let id: EventId = leaf.draft.id.parse().expect("ids of events are ours");
        let draft = rendering_failed(id, leaf.draft.occurred_at_us, &leaf.draft.event);
        let leaf = Leaf { place: leaf.place, draft };
        let text = leaf.render().expect("this event always renders");
        (leaf, text)
    }
}

/// Between targets in one text; it stands in no kind or id.
const SEPARATOR: &str = "\u{1f}";

#[derive(Default)]
struct Columns {
    idx: Vec<i64>,
    rx: Vec<i64>,
    ts: Vec<i64>,
    id: Vec<String>,
    ev: Vec<String>,
    ty: Vec<&'static str>,
    out: Vec<String>,
    actor: Vec<String>,
    tgt: Vec<String>,
    leaf: Vec<String>,
    leaf_hash: Vec<Vec<u8>>,
}

impl Columns {
    fn push(&mut self, row: Row, ty: &'static str, leaf: String, leaf_hash: Vec<u8>) {
        self.idx.push(database_size(row.idx));
        self.rx.push(row.rx);
        self.ts.push(row.ts);
        self.id.push(row.id);
        self.ev.push(row.ev);
        self.ty.push(ty);
        self.out.push(row.out);
        self.actor.push(row.actor);
        self.tgt.push(row.tgt.join(SEPARATOR));
        self.leaf.push(leaf);
        self.leaf_hash.push(leaf_hash);
    }

    async fn insert(&self, tx: &Transaction, log: TenantId) -> Result<(), StoreError> {
        tx.execute(
            queries::ADD_EVENTS,
            &[
                &log.0, &self.idx, &self.rx, &self.ts, &self.id, &self.ev, &self.ty, &self.out, &self.actor,
                &self.tgt, &self.leaf, &self.leaf_hash,
            ],
        )
        .await?;
        Ok(())
    }
}

fn database_size(size: u64) -> i64 {
    i64::try_from(size).expect("a log has fewer than 2^63 leaves")
}
