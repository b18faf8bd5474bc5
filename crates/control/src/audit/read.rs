//! Reading logs: search, one event, proofs, checkpoints. Whatever shows events is itself an event.

use jiff::Timestamp;
use rowhouse_domain::audit::note::{Checkpoint, Note};
use rowhouse_domain::audit::proof::Proof;
use rowhouse_domain::audit::tree::{Hash, consistency_ranges, inclusion_ranges};
use rowhouse_domain::id::TenantId;
use rowhouse_store::{StoreError, Transaction};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio_postgres::Row;

use super::leaves::{hash, subtrees};
use super::queries;

/// An event as it is stored.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// Place in its log.
    pub index: u64,
    /// The id in the column, for a leaf that cannot be read.
    pub id: String,
    /// The verbatim leaf.
    pub leaf: String,
    /// The hash in the tree.
    pub leaf_hash: Hash,
}

/// How a log stands.
#[derive(Debug, Clone)]
pub struct LogState {
    /// Whose.
    pub log: TenantId,
    /// Its name.
    pub origin: String,
    /// Leaves.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
    /// Leaves under the newest checkpoint.
    pub covered: u64,
    /// When its last leaf was added, if it takes no more.
    pub closed_at: Option<Timestamp>,
}

/// What a search looks for, between two indexes of one log.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// Only after this index; −1 for the beginning.
    pub after: i64,
    /// Only before this index.
    pub before: i64,
    /// Newest first.
    pub backwards: bool,
    /// Exact name.
    pub event: Option<String>,
    /// Type.
    pub event_type: Option<String>,
    /// `success` or `failure`.
    pub result: Option<String>,
    /// Id of the actor.
    pub actor: Option<String>,
    /// `<kind>:<id>` of a target.
    pub resource: Option<String>,
    /// Recorded at this instant or later, µs.
    pub from_us: Option<i64>,
    /// Recorded before this instant, µs.
    pub to_us: Option<i64>,
    /// Most items.
    pub limit: i64,
}

/// Lets everything the transaction reads be of one moment; nothing was read in it before.
pub async fn one_moment(tx: &Transaction) -> Result<(), StoreError> {
    tx.execute(queries::ONE_MOMENT, &[]).await?;
    Ok(())
}

/// How the log of `tenant` stands; `None` before its first event.
pub async fn log(tx: &Transaction, tenant: TenantId) -> Result<Option<LogState>, StoreError> {
    let row = tx.query_opt(queries::LOG, &[&tenant.0]).await?;
    row.as_ref().map(state_of).transpose()
}

/// The logs after that of `after`, in the order of their tenants; only that of `tenant` if there is one.
pub async fn logs(
    tx: &Transaction,
    tenant: Option<TenantId>,
    after: TenantId,
    limit: i64,
) -> Result<Vec<LogState>, StoreError> {
    let rows = tx.query(queries::LOGS, &[&tenant.map(|tenant| tenant.0), &after.0, &limit]).await?;
    rows.iter().map(state_of).collect()
}

fn state_of(row: &Row) -> Result<LogState, StoreError> {
    Ok(LogState {
        log: TenantId(row.get("tenant_id")),
        origin: row.get("origin"),
        size: row.get::<_, i64>("size").unsigned_abs(),
        root: hash(row.get("root"))?,
        covered: row.get::<_, i64>("checkpoint_size").unsigned_abs(),
        closed_at: row.get("closed_at"),
    })
}

/// One page, in the order of the log or the other way round.
pub async fn search(
    tx: &Transaction,
    tenant: TenantId,
    search: &Search,
) -> Result<Vec<StoredEvent>, StoreError> {
    let Search { after, before, event, event_type, result, actor, resource, from_us, to_us, limit, .. } =
        search;
    let sql = if search.backwards { queries::SEARCH_BACK } else { queries::SEARCH };
    let rows = tx
        .query(
            sql,
            &[&tenant.0, after, before, event, event_type, result, actor, resource, from_us, to_us, limit],
        )
        .await?;
    rows.iter().map(event_of).collect()
}

/// One event, and whose it is.
pub async fn event(tx: &Transaction, id: &str) -> Result<Option<(TenantId, StoredEvent)>, StoreError> {
    let row = tx.query_opt(queries::EVENT, &[&id]).await?;
    row.map(|row| Ok((TenantId(row.get("tenant_id")), event_of(&row)?))).transpose()
}

fn event_of(row: &Row) -> Result<StoredEvent, StoreError> {
    Ok(StoredEvent {
        index: row.get::<_, i64>("idx").unsigned_abs(),
        id: row.get("id"),
        leaf: row.get("leaf"),
        leaf_hash: hash(row.get("leaf_hash"))?,
    })
}

/// The newest checkpoint's note.
pub async fn checkpoint(tx: &Transaction, tenant: TenantId) -> Result<Option<String>, StoreError> {
    Ok(tx.query_opt(queries::NEWEST_CHECKPOINT, &[&tenant.0]).await?.map(|row| row.get("note")))
}

/// The proof of leaf `index` under the newest checkpoint, and the checkpoint's size. `None` while none covers it.
pub async fn proof(
    tx: &Transaction,
    tenant: TenantId,
    index: u64,
) -> Result<Option<(Proof, u64)>, StoreError> {
    let Some(checkpoint) = checkpoint(tx, tenant).await? else { return Ok(None) };
    let size = size_of(&checkpoint)?;
    let Some(ranges) = inclusion_ranges(index, size) else { return Ok(None) };
    let hashes = subtrees(tx, tenant, &ranges).await?;
    Ok(Some((Proof { index, hashes, checkpoint }, size)))
}

fn size_of(note: &str) -> Result<u64, StoreError> {
    let note = Note::parse(note).and_then(|note| Checkpoint::parse(note.unverified_text()));
    Ok(note.map_err(|_| StoreError::Stored { what: "a checkpoint of an audit log" })?.head.size)
}

/// The proof that the first `old` leaves are the beginning of the first `size`; `None` unless 0 < `old` ≤ `size`.
pub async fn consistency(
    tx: &Transaction,
    tenant: TenantId,
    old: u64,
    size: u64,
) -> Result<Option<Vec<Hash>>, StoreError> {
    let Some(ranges) = consistency_ranges(old, size) else { return Ok(None) };
    Ok(Some(subtrees(tx, tenant, &ranges).await?))
}

/// What a search says of itself in its event: the filter, how much was found, and a digest of it.
pub fn described(search: &Search, found: &[StoredEvent]) -> serde_json::Value {
    let filters = [
        ("event", &search.event),
        ("type", &search.event_type),
        ("result", &search.result),
        ("actor", &search.actor),
        ("resource", &search.resource),
    ];
    let given: serde_json::Map<String, serde_json::Value> = filters
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?.into())))
        .collect();
    let filter = Some(given).filter(|given| !given.is_empty());
    let first = found.iter().map(|event| event.index).min();
    let last = found.iter().map(|event| event.index).max();
    json!({
        "filter": filter, "from_us": search.from_us, "to_us": search.to_us,
        "found": found.len(), "first_index": first, "last_index": last, "sha256": digest(found),
    })
}

/// SHA-256 over the leaf hashes, in hexadecimal.
pub fn digest(events: &[StoredEvent]) -> String {
    let mut digest = Sha256::new();
    events.iter().for_each(|event| digest.update(event.leaf_hash.0));
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
