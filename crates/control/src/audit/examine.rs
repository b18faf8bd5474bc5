//! Compares a log in the database with what was signed of it: its size, its frontier and root, the leaves at its
//! end, and the root it had when it was signed last.

use std::path::Path;

use rowhouse_domain::audit::note::{Checkpoint, Note};
use rowhouse_domain::audit::tree::{Frontier, Hash, Head};
use rowhouse_domain::id::TenantId;
use rowhouse_store::{StoreError, Transaction};

use super::{files, leaves, queries};
use crate::Control;

/// A log as it stands.
pub struct Examined {
    pub origin: String,
    pub head: Head,
}

/// Reads all files, and compares every log of which something is known. Sets the standing.
pub async fn compare(control: &Control, directory: &Path) -> Result<(), StoreError> {
    let standing = control.audit.standing();
    let (directory, keys) = (directory.to_owned(), control.audit.clone());
    let read = tokio::task::spawn_blocking(move || files::read_all(&directory, &keys)).await;
    let kept = match read.expect("reading files does not panic") {
        Ok(kept) => kept,
        Err(error) => {
            standing.compared(Err(format!("the kept checkpoints cannot be read: {error}")));
            return Ok(());
        }
    };
    let mut unreadable = Vec::new();
    for (log, head) in kept {
        match head {
            Ok(head) => standing.keep(log, head),
            Err(why) => {
                standing.contradict(log, why);
                unreadable.push(log);
            }
        }
    }
    let tx = control.store.sequence().await?;
    for log in standing.known().into_iter().filter(|log| !unreadable.contains(log)) {
        match examine(&tx, log, standing.kept(log)).await? {
            Ok(_) => standing.agree(log),
            Err(why) => drop(standing.contradict(log, why)),
        }
    }
    tx.finish().await?;
    standing.compared(Ok(()));
    Ok(())
}

/// How the log stands, or what contradicts `kept`, which must be from before the call.
pub async fn examine(
    tx: &Transaction,
    log: TenantId,
    kept: Option<Head>,
) -> Result<Result<Examined, String>, StoreError> {
    let kept = kept.unwrap_or(Head { size: 0, root: rowhouse_domain::audit::tree::empty_root() });
    let kept_size = i64::try_from(kept.size).unwrap_or(i64::MAX);
    let Some(row) = tx.query_opt(queries::EXAMINE, &[&log.0, &kept_size]).await? else {
        return Ok(Err(format!("the log is gone; {} leaves were signed", kept.size)));
    };
    let (size, last): (i64, i64) = (row.get("size"), row.get("last"));
    let head = match stored_head(size, row.get("root"), row.get("frontier")) {
        Ok(head) => head,
        Err(why) => return Ok(Err(why)),
    };
    if last + 1 != size {
        return Ok(Err(format!("it says {size} leaves and the last one is number {last}")));
    }
    if let Err(why) = agrees(&kept, &head) {
        return Ok(Err(why));
    }
    let root = match root_of(row.get("note")) {
        Some(root) => root,
        // Signed, but the transaction that keeps the note was not committed.
        None => leaves::root(tx, log, kept.size).await?,
    };
    if root != kept.root {
        return Ok(Err(format!("its first {} leaves are not those that were signed", kept.size)));
    }
    Ok(Ok(Examined { origin: row.get("origin"), head }))
}

/// The head a log's row tells, if its parts agree.
pub fn stored_head(size: i64, root: &[u8], frontier: &[u8]) -> Result<Head, String> {
    let size = size.unsigned_abs();
    let frontier = Frontier::from_bytes(size, frontier);
    let head = frontier.map(|frontier| Head { size, root: frontier.root() });
    head.filter(|head| head.root.0[..] == *root)
        .ok_or_else(|| format!("its {size} leaves do not have the root it says"))
}

/// Whether a log with `head` can be what `kept` became.
pub fn agrees(kept: &Head, head: &Head) -> Result<(), String> {
    if head.size < kept.size {
        return Err(format!("it has {} leaves; {} were signed", head.size, kept.size));
    }
    if head.size == kept.size && head.root != kept.root {
        return Err(format!("its {} leaves are not those that were signed", head.size));
    }
    Ok(())
}

fn root_of(note: Option<&str>) -> Option<Hash> {
    let note = Note::parse(note?).ok()?;
    Some(Checkpoint::parse(note.unverified_text()).ok()?.head.root)
}
