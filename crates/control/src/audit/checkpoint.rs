//! Checkpoints: what a log signs, once a second while it moves. Before each signature the log is compared with the
//! one before; the note is in its file before it is in the database, where others see it.

use std::path::Path;

use rowhouse_domain::audit::note::Checkpoint;
use rowhouse_domain::audit::tree::Head;
use rowhouse_domain::id::TenantId;
use rowhouse_store::{StoreError, Transaction};

use super::examine::{Examined, compare, examine};
use super::{files, queries};
use crate::Control;

/// Logs signed in one transaction.
const BATCH: i64 = 1000;

/// A log's signature that nobody has seen yet.
struct Signed {
    log: TenantId,
    head: Head,
    note: String,
}

/// Signs every log that has moved since its last checkpoint. While a log contradicts what was signed, everything
/// is compared anew and nothing is signed.
pub async fn sign_moved(control: &Control, directory: &Path) -> Result<(), StoreError> {
    if control.audit.standing().may_go_on().is_err() {
        compare(control, directory).await?;
        control.audit.standing().may_go_on()?;
    }
    while sign_some(control, directory).await? == BATCH as usize {}
    Ok(())
}

/// Signs up to a batch; how many.
async fn sign_some(control: &Control, directory: &Path) -> Result<usize, StoreError> {
    let tx = control.store.sequence().await?;
    let rows = tx.query(queries::MOVED_LOGS, &[&BATCH]).await?;
    if rows.is_empty() {
        tx.finish().await?;
        return Ok(0);
    }
    let mut signed = Vec::new();
    for row in &rows {
        signed.push(sign(control, &tx, TenantId(row.get(0))).await?);
    }
    keep(control, directory, &signed).await?;
    for Signed { log, head, note } in &signed {
        let size = i64::try_from(head.size).expect("a log has fewer than 2^63 leaves");
        tx.execute(queries::ADD_CHECKPOINT, &[&log.0, &size, note, &control.clock().now()]).await?;
        tx.execute(queries::COVERED, &[&log.0, &size]).await?;
    }
    tx.commit_telemetry().await?;
    Ok(signed.len())
}

async fn sign(control: &Control, tx: &Transaction, log: TenantId) -> Result<Signed, StoreError> {
    let standing = control.audit.standing();
    let Examined { origin, head } = match examine(tx, log, standing.kept(log)).await? {
        Ok(examined) => examined,
        Err(why) => return Err(standing.contradict(log, why).into()),
    };
    let signer = control.audit.signer(log, &origin);
    let note = signer.and_then(|signer| Checkpoint { origin, head }.sign(&[&signer]));
    let note = note.ok_or_else(|| standing.contradict(log, "its origin is none of ours".to_owned()))?;
    Ok(Signed { log, head, note })
}

/// Writes the files, then remembers the heads.
async fn keep(control: &Control, directory: &Path, signed: &[Signed]) -> Result<(), StoreError> {
    let notes: Vec<_> = signed.iter().map(|signed| (signed.log, signed.note.clone())).collect();
    let folder = directory.to_owned();
    let written = tokio::task::spawn_blocking(move || {
        notes.iter().try_for_each(|(log, note)| files::write(&folder, *log, note))?;
        files::settle(&folder)
    });
    if let Err(error) = written.await.expect("writing files does not panic") {
        let why = format!("a checkpoint cannot be kept in {}: {error}", directory.display());
        control.audit.standing().compared(Err(why));
        control.audit.standing().may_go_on()?;
    }
    for Signed { log, head, .. } in signed {
        control.audit.standing().keep(*log, *head);
    }
    Ok(())
}
