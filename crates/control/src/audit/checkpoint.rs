//! Checkpoints: what a log signs, at least once a second while it moves. The newest of each is also kept in a file
//! outside the database: a database that was set back contradicts it and is not signed again.

use std::io::Write;
use std::path::{Path, PathBuf};

use rowhouse_domain::audit::note::{Checkpoint, Note};
use rowhouse_domain::audit::tree::{Hash, Head};
use rowhouse_domain::id::TenantId;
use rowhouse_store::StoreError;

use super::queries;
use crate::Control;

/// Signs every log that has moved since its last checkpoint.
pub async fn sign_moved(control: &Control, files: &Path) -> Result<(), StoreError> {
    let tx = control.store.sequence().await?;
    let rows = tx.query(queries::MOVED_LOGS, &[]).await?;
    let mut signed = Vec::new();
    for row in &rows {
        let (log, origin, size): (TenantId, String, i64) = (TenantId(row.get(0)), row.get(1), row.get(2));
        let root: Option<[u8; 32]> = row.get::<_, &[u8]>(3).try_into().ok();
        let root = Hash(root.ok_or(StoreError::Stored { what: "the root of an audit log" })?);
        let head = Head { size: size.unsigned_abs(), root };
        let signer = control.audit.signer(log, &origin);
        let note = Checkpoint { origin, head }.sign(&[&signer]).expect("origins have no control characters");
        tx.execute(queries::ADD_CHECKPOINT, &[&log.0, &size, &note, &control.clock().now()]).await?;
        tx.execute(queries::COVERED, &[&log.0, &size]).await?;
        signed.push((log, note));
    }
    tx.commit_telemetry().await?;
    for (log, note) in signed {
        if let Err(error) = keep(files, log, &note) {
            tracing::error!(%error, "a checkpoint could not be kept in its file");
        }
    }
    Ok(())
}

fn file_of(files: &Path, log: TenantId) -> PathBuf {
    files.join(format!("{log}.checkpoint"))
}

fn keep(files: &Path, log: TenantId, note: &str) -> std::io::Result<()> {
    std::fs::create_dir_all(files)?;
    let half_made = files.join(format!("{log}.new"));
    let mut file = std::fs::File::create(&half_made)?;
    file.write_all(note.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&half_made, file_of(files, log))
}

/// Whether every log still holds what its file says was signed; else what contradicts, for a person.
pub async fn compare_with_files(control: &Control, files: &Path) -> Result<(), String> {
    let said = |error: StoreError| error.to_string();
    let tx = control.store.sequence().await.map_err(said)?;
    let rows = tx.query(queries::LOGS, &[]).await.map_err(said)?;
    let mut contradicted = Vec::new();
    for row in &rows {
        let log = TenantId(row.get(0));
        let Ok(note) = std::fs::read_to_string(file_of(files, log)) else { continue };
        let kept = Note::parse(&note).and_then(|note| Checkpoint::parse(note.unverified_text()));
        let Ok(kept) = kept else { continue };
        let size: i64 = row.get(2);
        let same_root = row.get::<_, &[u8]>(3) == kept.head.root.0;
        let shorter = size.unsigned_abs() < kept.head.size;
        if shorter || (size.unsigned_abs() == kept.head.size && !same_root) {
            contradicted.push(format!("{log}: {size} leaves, {} were signed", kept.head.size));
        }
    }
    tx.finish().await.map_err(said)?;
    if contradicted.is_empty() { Ok(()) } else { Err(contradicted.join("; ")) }
}
