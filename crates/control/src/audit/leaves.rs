//! The stored tree of a log: hashes of leaves, and roots of its complete subtrees.

use rowhouse_domain::audit::tree::{Frontier, Hash, node_hash, root as root_of};
use rowhouse_domain::id::TenantId;
use rowhouse_store::{StoreError, Transaction};
use tokio_postgres::Row;

use super::columns::LEVEL_HEIGHT;
use super::queries;

/// Leaf hashes read at once.
const STRETCH: u64 = 16_384;

/// Root over the first `size` leaves, from the leaves themselves. Time is linear in `size`.
pub async fn root(tx: &Transaction, log: TenantId, size: u64) -> Result<Hash, StoreError> {
    let mut frontier = Frontier::default();
    while frontier.size() < size {
        let start = frontier.size();
        let end = size.min(start + STRETCH);
        leaf_hashes(tx, log, start, end).await?.into_iter().for_each(|hash| frontier.append(hash));
    }
    Ok(frontier.root())
}

/// Roots of the subtrees over these ranges [from, to), as the ranges of a proof are. Each takes a few rows for each
/// set bit of its length.
pub async fn subtrees(
    tx: &Transaction,
    log: TenantId,
    ranges: &[(u64, u64)],
) -> Result<Vec<Hash>, StoreError> {
    let mut roots = Vec::with_capacity(ranges.len());
    for (from, to) in ranges {
        roots.push(subtree(tx, log, *from, *to).await?);
    }
    Ok(roots)
}

/// A range is a complete subtree, or complete ones of falling height beside each other (RFC 6962 §2.1).
async fn subtree(tx: &Transaction, log: TenantId, from: u64, to: u64) -> Result<Hash, StoreError> {
    let mut start = from;
    let mut parts = Vec::new();
    while start < to {
        let height = (to - start).ilog2();
        parts.push(complete(tx, log, start, height).await?);
        start += 1 << height;
    }
    let last = parts.pop().expect("a range of a proof is not empty");
    Ok(parts.iter().rev().fold(last, |right, left| node_hash(left, &right)))
}

/// The root of the 2^`height` leaves from `from` on: of at most 128 hashes of the level below.
async fn complete(tx: &Transaction, log: TenantId, from: u64, height: u32) -> Result<Hash, StoreError> {
    let level = height / LEVEL_HEIGHT;
    let (start, end) = (from >> (level * LEVEL_HEIGHT), (from + (1 << height)) >> (level * LEVEL_HEIGHT));
    let hashes = match level {
        0 => leaf_hashes(tx, log, start, end).await?,
        _ => subtree_roots(tx, log, level, start, end).await?,
    };
    Ok(root_of(&hashes))
}

async fn leaf_hashes(tx: &Transaction, log: TenantId, from: u64, to: u64) -> Result<Vec<Hash>, StoreError> {
    all(&tx.query(queries::LEAF_HASHES, &[&log.0, &bound(from), &bound(to)]).await?, to - from)
}

async fn subtree_roots(
    tx: &Transaction,
    log: TenantId,
    level: u32,
    from: u64,
    to: u64,
) -> Result<Vec<Hash>, StoreError> {
    let level = i16::try_from(level).expect("there are eight levels");
    all(&tx.query(queries::SUBTREES, &[&log.0, &level, &bound(from), &bound(to)]).await?, to - from)
}

fn all(rows: &[Row], count: u64) -> Result<Vec<Hash>, StoreError> {
    if rows.len() as u64 != count {
        return Err(StoreError::Stored { what: "a stretch of an audit log" });
    }
    rows.iter().map(|row| hash(row.get(0))).collect()
}

/// A stored hash.
pub fn hash(bytes: &[u8]) -> Result<Hash, StoreError> {
    bytes.try_into().map(Hash).map_err(|_| StoreError::Stored { what: "a hash of an audit log" })
}

fn bound(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}
