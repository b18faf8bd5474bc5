//! The newest checkpoint of each log as a file outside the database, `<tenant id>.checkpoint`: what is signed is
//! written here before anybody sees it, so that a database that was set back is known by it.

use std::io::Write;
use std::path::{Path, PathBuf};

use rowhouse_domain::audit::note::Checkpoint;
use rowhouse_domain::audit::tree::Head;
use rowhouse_domain::id::TenantId;

use super::keys::Keys;

const ENDING: &str = ".checkpoint";

/// Each log's newest signed head, or why its file cannot be relied on.
pub type Kept = Vec<(TenantId, Result<Head, String>)>;

/// Reads the directory; makes it if it is not there.
pub fn read_all(directory: &Path, keys: &Keys) -> std::io::Result<Kept> {
    std::fs::create_dir_all(directory)?;
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        let log = name.to_str().and_then(|name| name.strip_suffix(ENDING)?.parse::<TenantId>().ok());
        if let Some(log) = log {
            kept.push((log, read(&directory.join(&name), log, keys)));
        }
    }
    Ok(kept)
}

fn read(file: &Path, log: TenantId, keys: &Keys) -> Result<Head, String> {
    let note = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let origin = note.lines().next().unwrap_or_default();
    let signer = keys.signer(log, origin);
    let opened = signer.map(|signer| Checkpoint::open(&note, &[signer.verifier().clone()]));
    match opened {
        Some(Ok(checkpoint)) => Ok(checkpoint.head),
        _ => Err(format!("{} is not a checkpoint that we signed", file.display())),
    }
}

/// Keeps a log's note; it is on the disk when this returns.
pub fn write(directory: &Path, log: TenantId, note: &str) -> std::io::Result<()> {
    let half_made = directory.join(format!("{log}.new"));
    let mut file = std::fs::File::create(&half_made)?;
    file.write_all(note.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&half_made, file_of(directory, log))
}

/// Makes the renames of [`write`] durable.
pub fn settle(directory: &Path) -> std::io::Result<()> {
    std::fs::File::open(directory)?.sync_all()
}

fn file_of(directory: &Path, log: TenantId) -> PathBuf {
    directory.join(format!("{log}{ENDING}"))
}
