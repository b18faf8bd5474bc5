//! Hashes of stored leaves, read a stretch at a time.

use rowhouse_domain::audit::tree::{Frontier, Hash};
use rowhouse_domain::id::TenantId;
use rowhouse_store::{StoreError, Transaction};

use super::queries;

/// Hashes read at once.
const STRETCH: u64 = 16_384;

/// Root over the first `size` leaves. Time is linear in `size`.
pub async fn root(tx: &Transaction, log: TenantId, size: u64) -> Result<Hash, StoreError> {
    subtree(tx, log, 0, size).await
}

/// Roots of the subtrees over these ranges [from, to).
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

async fn subtree(tx: &Transaction, log: TenantId, from: u64, to: u64) -> Result<Hash, StoreError> {
    let mut frontier = Frontier::default();
    let mut start = from;
    while start < to {
        let end = to.min(start + STRETCH);
        let rows = tx.query(queries::LEAF_HASHES, &[&log.0, &bound(start), &bound(end)]).await?;
        for row in &rows {
            frontier.append(hash(row.get(0))?);
        }
        start = end;
    }
    if frontier.size() != to - from {
        return Err(StoreError::Stored { what: "a stretch of an audit log" });
    }
    Ok(frontier.root())
}

/// A stored hash.
pub fn hash(bytes: &[u8]) -> Result<Hash, StoreError> {
    bytes.try_into().map(Hash).map_err(|_| StoreError::Stored { what: "a hash of an audit log" })
}

fn bound(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}
