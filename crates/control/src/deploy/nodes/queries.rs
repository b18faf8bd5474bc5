//! `deploy.nodes`, and where nodes' lanes stand.

use jiff::Timestamp;
use rowhouse_domain::context::ContextKey;
use rowhouse_store::{StoreError, Transaction};
use tokio_postgres::Row;
use uuid::Uuid;

use super::raw_keys::PublicKey;

/// A node as it is stored.
#[derive(Debug, Clone)]
pub(super) struct NodeRow {
    pub name: String,
    pub created_at: Timestamp,
    pub created_by: String,
    pub token_digest: Vec<u8>,
    pub token_expires_at: Timestamp,
    pub node_key: Option<Vec<u8>>,
    pub context_key: Option<Vec<u8>>,
    pub enrolled_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    pub boot: i64,
    pub process: Option<Uuid>,
    pub release: String,
    pub seen_at: Option<Timestamp>,
    pub complete_to: Option<Timestamp>,
    pub drains: i64,
    pub drain_asked_at: Option<Timestamp>,
    pub drain_asked_by: Option<String>,
    pub drained_at: Option<Timestamp>,
}

impl NodeRow {
    /// The number of the drain that is asked of it.
    pub(super) fn drain(&self) -> Option<i64> {
        self.drain_asked_at.map(|_| self.drains)
    }
}

impl From<&Row> for NodeRow {
    fn from(row: &Row) -> Self {
        NodeRow {
            name: row.get(0),
            created_at: row.get(1),
            created_by: row.get(2),
            token_digest: row.get(3),
            token_expires_at: row.get(4),
            node_key: row.get(5),
            context_key: row.get(6),
            enrolled_at: row.get(7),
            revoked_at: row.get(8),
            boot: row.get(9),
            process: row.get(10),
            release: row.get(11),
            seen_at: row.get(12),
            complete_to: row.get(13),
            drains: row.get(14),
            drain_asked_at: row.get(15),
            drain_asked_by: row.get(16),
            drained_at: row.get(17),
        }
    }
}

/// All nodes, by name.
pub(super) async fn list(
    transaction: &Transaction,
    after: &str,
    limit: i64,
) -> Result<Vec<NodeRow>, StoreError> {
    let sql = "SELECT name, created_at, created_by, token_digest, token_expires_at, node_key, context_key, enrolled_at, \
             revoked_at, boot, process, release, seen_at, complete_to, drains, drain_asked_at, drain_asked_by, drained_at \
         FROM deploy.nodes \
         WHERE name > $1 ORDER BY name LIMIT $2";
    Ok(transaction.query(sql, &[&after, &limit]).await?.iter().map(NodeRow::from).collect())
}

/// One node, locked until the transaction ends.
pub(super) async fn lock(transaction: &Transaction, name: &str) -> Result<Option<NodeRow>, StoreError> {
    let sql = "SELECT name, created_at, created_by, token_digest, token_expires_at, node_key, context_key, enrolled_at, \
             revoked_at, boot, process, release, seen_at, complete_to, drains, drain_asked_at, drain_asked_by, drained_at \
         FROM deploy.nodes WHERE name = $1 FOR UPDATE";
    Ok(transaction.query_opt(sql, &[&name]).await?.as_ref().map(NodeRow::from))
}

/// The node that proves itself with this key, revoked or not.
pub(super) async fn by_key(
    transaction: &Transaction,
    key: &PublicKey,
) -> Result<Option<NodeRow>, StoreError> {
    let sql = "SELECT name, created_at, created_by, token_digest, token_expires_at, node_key, context_key, enrolled_at, \
             revoked_at, boot, process, release, seen_at, complete_to, drains, drain_asked_at, drain_asked_by, drained_at \
         FROM deploy.nodes WHERE node_key = $1";
    Ok(transaction.query_opt(sql, &[&key.as_slice()]).await?.as_ref().map(NodeRow::from))
}

/// Admits a node by a token; a newer token takes the place of one that was not used. No row if it is enrolled, or was.
pub(super) async fn admit(
    transaction: &Transaction,
    (name, by): (&str, &str),
    digest: &[u8],
    (now, until): (Timestamp, Timestamp),
) -> Result<bool, StoreError> {
    let sql = "INSERT INTO deploy.nodes (name, created_at, created_by, token_digest, token_expires_at) \
         VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (name) DO UPDATE SET created_at = excluded.created_at, created_by = excluded.created_by, \
             token_digest = excluded.token_digest, token_expires_at = excluded.token_expires_at \
         WHERE nodes.enrolled_at IS NULL AND nodes.revoked_at IS NULL";
    Ok(transaction.execute(sql, &[&name, &now, &by, &digest, &until]).await? == 1)
}

pub(super) async fn enrol(
    transaction: &Transaction,
    name: &str,
    (node_key, context_key): (&[u8], &[u8]),
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "UPDATE deploy.nodes SET node_key = $2, context_key = $3, enrolled_at = $4 WHERE name = $1";
    transaction.execute(sql, &[&name, &node_key, &context_key, &now]).await.map(drop)
}

pub(super) async fn revoke(
    transaction: &Transaction,
    name: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let sql = "UPDATE deploy.nodes SET revoked_at = $2 WHERE name = $1 AND revoked_at IS NULL";
    Ok(transaction.execute(sql, &[&name, &now]).await? == 1)
}

/// A process of the node has come.
pub(super) async fn met(
    transaction: &Transaction,
    name: &str,
    (boot, process): (i64, Uuid),
    release: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "UPDATE deploy.nodes SET boot = $2, process = $3, release = $4, seen_at = $5 WHERE name = $1";
    transaction.execute(sql, &[&name, &boot, &process, &release, &now]).await.map(drop)
}

/// The node is still there, and has told everything up to an instant.
pub(super) async fn seen(
    transaction: &Transaction,
    name: &str,
    complete_to: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "UPDATE deploy.nodes SET seen_at = $3, complete_to = greatest(complete_to, $2) WHERE name = $1";
    transaction.execute(sql, &[&name, &complete_to, &now]).await.map(drop)
}

/// The keys that enrolled nodes sign contexts with; each is named after its node.
pub async fn context_keys(transaction: &Transaction) -> Result<Vec<ContextKey>, StoreError> {
    let sql = "SELECT name, context_key FROM deploy.nodes \
         WHERE context_key IS NOT NULL AND revoked_at IS NULL ORDER BY name";
    let rows = transaction.query(sql, &[]).await?;
    let key = |row: &Row| {
        let bytes: [u8; 32] = row.get::<_, Vec<u8>>(1).try_into().ok()?;
        ContextKey::from_bytes(&context_key_id(row.get(0)), &bytes)
    };
    rows.iter().map(|row| key(row).ok_or(StoreError::Stored { what: "a node's key" })).collect()
}

/// `kid` of a node's contexts.
pub fn context_key_id(node: &str) -> String {
    format!("node-{node}")
}

/// The lanes of nodes that are not revoked, as far as they were ever projected, and to which instant all of each node has
/// arrived.
pub async fn lanes_behind(
    transaction: &Transaction,
) -> Result<Vec<(String, String, Option<Timestamp>)>, StoreError> {
    let sql = "SELECT DISTINCT n.name, p.lane, n.complete_to FROM deploy.nodes n \
         JOIN journal.positions p ON p.node = n.name WHERE n.revoked_at IS NULL";
    let rows = transaction.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}

/// The lanes of one node, each with the least of its positions.
pub(super) async fn positions(
    transaction: &Transaction,
    node: &str,
    projections: &[&str],
) -> Result<Vec<(String, i64)>, StoreError> {
    let sql = "SELECT lane, CASE WHEN count(*) < $3 THEN 0 ELSE min(sequence) END FROM journal.positions \
         WHERE node = $1 AND projection = ANY ($2) GROUP BY lane ORDER BY lane";
    let count = i64::try_from(projections.len()).unwrap_or(i64::MAX);
    let rows = transaction.query(sql, &[&node, &projections, &count]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// What is wanted of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    /// That it ends. Of who is not there it is wanted, too.
    pub revoked: bool,
    /// That it takes no more requests: the number of the asking.
    pub drain: Option<i64>,
}

pub(super) async fn wanted(transaction: &Transaction, name: &str) -> Result<Wanted, StoreError> {
    let sql = "SELECT revoked_at IS NOT NULL, CASE WHEN drain_asked_at IS NOT NULL THEN drains END \
         FROM deploy.nodes WHERE name = $1";
    let row = transaction.query_opt(sql, &[&name]).await?;
    let wanted = |row: Row| Wanted { revoked: row.get(0), drain: row.get(1) };
    Ok(row.map_or(Wanted { revoked: true, drain: None }, wanted))
}

/// Asks a node to take no more requests; the number of the asking. None if it is asked already, or revoked.
pub(super) async fn ask_to_drain(
    transaction: &Transaction,
    (name, by): (&str, &str),
    now: Timestamp,
) -> Result<Option<i64>, StoreError> {
    let sql = "UPDATE deploy.nodes SET drains = drains + 1, drain_asked_at = $2, drain_asked_by = $3 \
         WHERE name = $1 AND drain_asked_at IS NULL AND revoked_at IS NULL RETURNING drains";
    Ok(transaction.query_opt(sql, &[&name, &now, &by]).await?.map(|row| row.get(0)))
}

/// Asks it back. Whether it was asked to drain.
pub(super) async fn resume(transaction: &Transaction, name: &str) -> Result<bool, StoreError> {
    let sql = "UPDATE deploy.nodes SET drain_asked_at = NULL, drain_asked_by = NULL, drained_at = NULL \
         WHERE name = $1 AND drain_asked_at IS NOT NULL AND revoked_at IS NULL";
    Ok(transaction.execute(sql, &[&name]).await? == 1)
}

/// The node says that this drain of it has ended. Whether that is news, and still asked.
pub(super) async fn drained(
    transaction: &Transaction,
    (name, drain): (&str, i64),
    now: Timestamp,
) -> Result<bool, StoreError> {
    let sql = "UPDATE deploy.nodes SET drained_at = $3 \
         WHERE name = $1 AND drains = $2 AND drain_asked_at IS NOT NULL AND drained_at IS NULL";
    Ok(transaction.execute(sql, &[&name, &drain, &now]).await? == 1)
}
