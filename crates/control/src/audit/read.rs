//! Reading logs: search, proofs, checkpoints, bundles. Every search is itself an event.

use rowhouse_domain::access::Permit;
use rowhouse_domain::audit::bundle::Bundle;
use rowhouse_domain::audit::row::Row;
use rowhouse_domain::audit::tree::{Hash, consistency_proof, inclusion_proof};
use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Store, StoreError, Transaction};
use serde_json::json;

use super::queries;
use crate::Control;

/// Most leaves for which a proof or bundle is made at once.
const LEAVES_MAX: i64 = 1_000_000;

/// An event as it is stored.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// Place in its log.
    pub index: u64,
    /// The verbatim leaf.
    pub leaf: String,
}

/// How a log stands.
#[derive(Debug, Clone)]
pub struct LogState {
    /// Its name.
    pub origin: String,
    /// Leaves.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
    /// Leaves under the newest checkpoint.
    pub covered: u64,
}

/// What a search looks for.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// After this index; −1 for the beginning.
    pub after: i64,
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
    /// Most items.
    pub limit: i64,
}

/// How the log of `tenant` stands; `None` before its first event.
pub async fn log(tx: &Transaction, tenant: TenantId) -> Result<Option<LogState>, StoreError> {
    let Some(row) = tx.query_opt(queries::LOG, &[&tenant.0]).await? else { return Ok(None) };
    Ok(Some(LogState {
        origin: row.get("origin"),
        size: row.get::<_, i64>("size").unsigned_abs(),
        root: hash(row.get("root"))?,
        covered: row.get::<_, i64>("checkpoint_size").unsigned_abs(),
    }))
}

fn hash(bytes: &[u8]) -> Result<Hash, StoreError> {
    bytes.try_into().map(Hash).map_err(|_| StoreError::Stored { what: "a hash of an audit log" })
}

/// One page, oldest first.
pub async fn search(tx: &Transaction, tenant: TenantId, search: &Search) -> Result<Vec<StoredEvent>, StoreError> {
    let Search { after, event, event_type, result, actor, resource, limit } = search;
    let rows = tx
        .query(queries::SEARCH, &[&tenant.0, after, event, event_type, result, actor, resource, limit])
        .await?;
    Ok(rows.iter().map(|row| StoredEvent { index: row.get::<_, i64>(0).unsigned_abs(), leaf: row.get(1) }).collect())
}

/// One event, and whose it is.
pub async fn event(tx: &Transaction, id: &str) -> Result<Option<(TenantId, StoredEvent)>, StoreError> {
    let row = tx.query_opt(queries::EVENT, &[&id]).await?;
    Ok(row.map(|row| {
        let stored = StoredEvent { index: row.get::<_, i64>(1).unsigned_abs(), leaf: row.get(2) };
        (TenantId(row.get(0)), stored)
    }))
}

/// The proof that leaf `index` is among the first `size`.
pub async fn inclusion(
    tx: &Transaction,
    tenant: TenantId,
    index: u64,
    size: u64,
) -> Result<Option<Vec<Hash>>, Refusal> {
    Ok(inclusion_proof(index, &leaf_hashes(tx, tenant, size).await?))
}

/// The proof that the first `old` leaves are the beginning of the first `size`.
pub async fn consistency(
    tx: &Transaction,
    tenant: TenantId,
    old: u64,
    size: u64,
) -> Result<Option<Vec<Hash>>, Refusal> {
    Ok(consistency_proof(old, &leaf_hashes(tx, tenant, size).await?))
}

async fn leaf_hashes(tx: &Transaction, tenant: TenantId, size: u64) -> Result<Vec<Hash>, Refusal> {
    let size = bounded(size)?;
    let rows = tx.query(queries::LEAF_HASHES, &[&tenant.0, &size]).await?;
    Ok(rows.iter().map(|row| hash(row.get(0))).collect::<Result<_, _>>()?)
}

fn bounded(size: u64) -> Result<i64, Refusal> {
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    if size <= LEAVES_MAX {
        return Ok(size);
    }
    let detail = format!("The log has {size} leaves; at most {LEAVES_MAX} are taken at once.");
    Err(Refusal::new(&kind::TOO_LARGE, detail))
}

/// The newest checkpoint's note.
pub async fn checkpoint(tx: &Transaction, tenant: TenantId) -> Result<Option<String>, StoreError> {
    Ok(tx.query_opt(queries::NEWEST_CHECKPOINT, &[&tenant.0]).await?.map(|row| row.get(0)))
}

/// Everything of a log, to be verified elsewhere.
pub async fn bundle(
    tx: &Transaction,
    tenant: TenantId,
    state: &LogState,
    now_us: i64,
) -> Result<Bundle, Refusal> {
    bounded(state.size)?;
    let mut bundle = Bundle { origin: state.origin.clone(), now: now_us, rows: Some(Vec::new()), ..Bundle::default() };
    for row in tx.query(queries::WHOLE, &[&tenant.0]).await? {
        bundle.leaves.push(Some(row.get("leaf")));
        bundle.leaf_hashes.push(hash(row.get("leaf_hash"))?.to_hex());
        bundle.rows.get_or_insert_default().push(Row {
            idx: row.get::<_, i64>("idx").unsigned_abs(),
            id: row.get("id"),
            rx: row.get("rx"),
            ts: row.get("ts"),
            ev: row.get("ev"),
            out: row.get("out"),
            actor: row.get("actor"),
            tgt: row.get("tgt"),
        });
    }
    let notes = tx.query(queries::CHECKPOINTS, &[&tenant.0]).await?;
    bundle.checkpoints = notes.iter().map(|row| row.get(0)).collect();
    Ok(bundle)
}

/// Leaves the event that a log was read.
pub async fn note_reading(
    store: &Store,
    permit: &Permit,
    tenant: TenantId,
    event: &str,
    what: serde_json::Value,
    request_id: String,
) -> Result<(), StoreError> {
    let tx = store.write(permit).await?;
    let change = Change::new(tenant, event, "read", tx.principal()).on("audit_log", tenant).details(what);
    tx.commit(change.request(request_id)).await
}

/// What a search says of itself in its event.
pub fn described(search: &Search, found: usize) -> serde_json::Value {
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
    json!({"filter": given, "found": found})
}

/// The verifier keys of a log.
pub fn verifier_keys(control: &Control, tenant: TenantId, origin: &str) -> Vec<String> {
    vec![control.audit.signer(tenant, origin).verifier().to_string()]
}
