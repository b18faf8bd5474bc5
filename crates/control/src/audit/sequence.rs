//! Appending to logs: gives each draft its place, folds it into the tree, and writes all of it in the caller's
//! transaction. A log's row is locked first, so two sequencers on one log come one after the other; its size is
//! compared and swapped all the same. A log that contradicts what was signed of it is not appended to.

use std::collections::BTreeMap;

use rowhouse_domain::audit::canonical::INTEGER_MAX;
use rowhouse_domain::audit::leaf::{Emitter, EventDraft, Leaf, Placement, next_recorded_at};
use rowhouse_domain::audit::row::Row;
use rowhouse_domain::audit::tree::{Frontier, Head, empty_root, leaf_hash};
use rowhouse_domain::id::{EventId, TenantId};
use rowhouse_store::{StoreError, Transaction};

use super::closing::{closes, divert};
use super::columns::{Columns, Subtrees};
use super::draft::{pipeline_resumed, rendering_failed};
use super::examine::{agrees, stored_head};
use super::keys::Keys;
use super::late::Late;
use super::queries;

/// Where an event came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The outbox, or the sequencer itself; the log counts.
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
    keys.standing().may_go_on()?;
    let arrivals = divert(tx, arrivals).await?;
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
    log: TenantId,
    origin: String,
    incarnation: i64,
    frontier: Frontier,
    last_rx: i64,
    counter: i64,
    now_us: i64,
    late: Late,
    columns: Columns,
    subtrees: Subtrees,
}

async fn append_to(
    tx: &Transaction,
    keys: &Keys,
    log: TenantId,
    arrivals: Vec<Arrival>,
) -> Result<(), StoreError> {
    let mut open = lock(tx, keys, log).await?;
    let is_last = arrivals.iter().any(closes);
    let old_size = database_size(open.frontier.size());
    let contradicts = |why: &str| StoreError::from(keys.standing().contradict(log, why.to_owned()));
    for arrival in arrivals {
        open.add(arrival).ok_or_else(|| contradicts("no leaf can follow its last one"))?;
    }
    open.announce_late(tx).ok_or_else(|| contradicts("no leaf can follow its last one"))?;
    open.columns.insert(tx, log).await.map_err(|error| match error.constraint() {
        Some("events_pkey") => contradicts("there are leaves beyond its size"),
        _ => error,
    })?;
    open.subtrees.insert(tx, log).await.map_err(|error| match error.constraint() {
        Some("subtrees_pkey") => contradicts("there are parts of its tree beyond its size"),
        _ => error,
    })?;
    let (size, root) = (database_size(open.frontier.size()), open.frontier.root().0.to_vec());
    let frontier = open.frontier.to_bytes();
    let moved = tx
        .execute(
            queries::MOVE_LOG,
            &[&log.0, &old_size, &size, &root, &frontier, &open.last_rx, &open.counter],
        )
        .await?;
    if moved != 1 {
        return Err(StoreError::Stored { what: "the size of an audit log" });
    }
    if is_last {
        tx.execute(queries::CLOSE_LOG, &[&log.0, &tx.store().clock().now()]).await?;
    }
    Ok(())
}

async fn lock(tx: &Transaction, keys: &Keys, log: TenantId) -> Result<OpenLog, StoreError> {
    let (origin, root) = (keys.origin(log), empty_root().0.to_vec());
    let (empty, clock) = (Vec::<u8>::new(), tx.store().clock());
    tx.execute(queries::OPEN_LOG, &[&log.0, &origin, &root, &empty, &clock.now()]).await?;
    let row = tx.query_one(queries::LOCK_LOG, &[&log.0]).await?;
    if row.get::<_, bool>("is_closed") {
        // Another sequencer closed it since this one looked; looking again leads elsewhere.
        return Err(StoreError::Stored { what: "an audit log that was closed meanwhile" });
    }
    let size: i64 = row.get("size");
    let kept = keys.standing().kept(log).unwrap_or(Head { size: 0, root: empty_root() });
    let head = stored_head(size, row.get("root"), row.get("frontier"));
    head.and_then(|head| agrees(&kept, &head)).map_err(|why| keys.standing().contradict(log, why))?;
    let frontier = Frontier::from_bytes(size.unsigned_abs(), row.get("frontier"));
    Ok(OpenLog {
        log,
        origin: row.get("origin"),
        incarnation: row.get("incarnation"),
        frontier: frontier.ok_or(StoreError::Stored { what: "the frontier of an audit log" })?,
        last_rx: row.get("last_rx"),
        counter: row.get("counter"),
        now_us: clock.now_us(),
        late: Late::default(),
        columns: Columns::default(),
        subtrees: Subtrees::default(),
    })
}

impl OpenLog {
    /// Adds the next leaf. `None` if not even a leaf about the failure can be rendered: the log's own numbers are
    /// beyond what a leaf can hold.
    fn add(&mut self, arrival: Arrival) -> Option<()> {
        self.last_rx = next_recorded_at(self.last_rx, self.now_us);
        let emitter = match arrival.origin {
            Origin::Lane { node, boot, counter } => Emitter { node, boot, counter },
            Origin::Database => {
                self.counter += 1;
                Emitter { node: "db".to_owned(), boot: self.incarnation, counter: self.counter }
            }
        };
        let place = Placement { log: self.origin.clone(), emitter, recorded_at_us: self.last_rx };
        let (leaf, text) = render(Leaf { place, draft: arrival.draft })?;
        self.late.see(&leaf);
        let index = self.frontier.size();
        let hash = leaf_hash(text.as_bytes());
        self.frontier.append_telling(hash, |height, root| self.subtrees.push(index + 1, height, root));
        self.columns.push(Row::of(index, &leaf), leaf.draft.event_type.name(), text, hash);
        Some(())
    }

    /// Says in the log itself which of its new events come long after they happened.
    fn announce_late(&mut self, tx: &Transaction) -> Option<()> {
        for stretch in std::mem::take(&mut self.late).into_stretches() {
            let id = EventId(tx.store().entropy().uuid_v7(self.now_us));
            let draft = pipeline_resumed(id, self.now_us, self.log, &stretch);
            self.add(Arrival { log: self.log, draft, origin: Origin::Database })?;
        }
        Some(())
    }
}

/// The leaf and its text, or those of the fact that it cannot be rendered.
fn render(leaf: Leaf) -> Option<(Leaf, String)> {
    let error = match leaf.render() {
        Ok(text) => return Some((leaf, text)),
        Err(error) => error,
    };
    let source = serde_json::to_vec(&leaf.draft).unwrap_or_default();
    tracing::error!(event = leaf.draft.event, %error, "an audit event cannot be rendered");
    let occurred = Some(leaf.draft.occurred_at_us).filter(|at| at.unsigned_abs() <= INTEGER_MAX as u64);
    let occurred = occurred.unwrap_or(leaf.place.recorded_at_us);
    let draft = rendering_failed(leaf.draft.id, occurred, &leaf.draft.event, &source);
    let leaf = Leaf { place: leaf.place, draft };
    leaf.render().ok().map(|text| (leaf, text))
}

fn database_size(size: u64) -> i64 {
    i64::try_from(size).expect("a log has fewer than 2^63 leaves")
}
