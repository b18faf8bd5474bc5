//! Everything of a log, to be verified on a machine that has never met this one. What is exported is what is stored,
//! as it is stored: a log that somebody changed must not look whole.

use rowhouse_domain::audit::bundle::Bundle;
use rowhouse_domain::audit::row::Row;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::Transaction;

use super::queries;
use super::read::LogState;

/// Most leaves in a bundle, which is made in memory.
const LEAVES_MAX: u64 = 1_000_000;

/// The bundle of the log in `state`, which was read in the same transaction, at the same moment.
pub async fn bundle(tx: &Transaction, state: &LogState, now_us: i64) -> Result<Bundle, Refusal> {
    if state.size > LEAVES_MAX {
        let detail = format!("The log has {} leaves; a bundle takes at most {LEAVES_MAX}.", state.size);
        return Err(Refusal::new(&kind::TOO_LARGE, detail));
    }
    let notes = tx.query(queries::CHECKPOINTS, &[&state.log.0]).await?;
    let rows = tx.query(queries::WHOLE, &[&state.log.0]).await?;
    let size = usize::try_from(state.size).unwrap_or(usize::MAX);
    let mut bundle = Bundle {
        origin: state.origin.clone(),
        now: now_us,
        // A leaf that is not there stays empty in its place; what lies beyond the log is a row without a leaf.
        leaves: vec![None; size],
        leaf_hashes: vec![String::new(); size],
        checkpoints: notes.iter().map(|row| row.get(0)).collect(),
        ..Bundle::default()
    };
    for row in &rows {
        let columns = columns(row);
        if let Some(place) = usize::try_from(columns.idx).ok().filter(|place| *place < size) {
            bundle.leaves[place] = Some(row.get("leaf"));
            bundle.leaf_hashes[place] = hex(row.get("leaf_hash"));
        }
        bundle.rows.get_or_insert_default().push(columns);
    }
    Ok(bundle)
}

/// The stored hash, even one of the wrong length: that is for the verifier to find.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn columns(row: &tokio_postgres::Row) -> Row {
    Row {
        idx: row.get::<_, i64>("idx").unsigned_abs(),
        id: row.get("id"),
        rx: row.get("rx"),
        ts: row.get("ts"),
        ev: row.get("ev"),
        out: row.get("out"),
        actor: row.get("actor"),
        tgt: row.get("tgt"),
    }
}
