//! Secrets of an installation: 32 random bytes each, in files of mode 0600 that the first start makes.
//!
//! They are never in the database. Losing the pepper ends all API keys; losing the master key ends what is
//! sealed with it. Both belong into a backup of their own.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rowhouse_domain::entropy::Entropy;

/// The first operator's API key, under the data directory.
pub const OPERATOR_KEY_FILE: &str = "secrets/operator.key";

/// All secrets of an installation.
pub struct Secrets {
    /// Seals what lies sealed in the control database.
    pub master: [u8; 32],
    /// Number 1 of the peppers of API keys.
    pub pepper: [u8; 32],
    /// Signs contexts for services.
    pub context: [u8; 32],
    /// Seals cursors.
    pub cursor: [u8; 32],
    /// Signs checkpoints of the audit logs.
    pub audit: [u8; 32],
    /// What nodes know the control plane by.
    pub door: [u8; 32],
}

impl Secrets {
    /// Reads the secrets in `data_dir`, making those that are not there.
    pub fn open(data_dir: &Path, entropy: &Entropy) -> anyhow::Result<Self> {
        let folder = data_dir.join("secrets");
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let secret = |name: &str| read_or_make(&folder.join(name), entropy);
        Ok(Secrets {
            master: secret("master.key")?,
            pepper: secret("pepper-1.key")?,
            context: secret("context.key")?,
            cursor: secret("cursor.key")?,
            audit: secret("audit.key")?,
            door: secret("node-door.key")?,
        })
    }
}

fn read_or_make(file: &PathBuf, entropy: &Entropy) -> anyhow::Result<[u8; 32]> {
    match File::open(file) {
        Ok(mut open) => {
            let mut text = String::new();
            open.read_to_string(&mut text).with_context(|| format!("cannot read {}", file.display()))?;
            from_hex(text.trim())
                .with_context(|| format!("{} does not hold 64 hexadecimal digits", file.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let bytes = entropy.bytes::<32>();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            write_private(file, &hex)?;
            Ok(bytes)
        }
        Err(error) => bail!("cannot open {}: {error}", file.display()),
    }
}

/// Writes a file that only its owner can read: whole or not at all, also when the power fails.
pub fn write_private(file: &Path, text: &str) -> anyhow::Result<()> {
    let folder = file.parent().context("a file lies in a folder")?;
    let half_made = file.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut open =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&half_made)?;
        writeln!(open, "{text}")?;
        open.sync_all()?;
        std::fs::rename(&half_made, file)?;
        File::open(folder)?.sync_all()
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits = (text.len() == 64).then_some(text)?;
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn made_once_kept_private_and_damage_is_named() {
        let folder = std::env::temp_dir().join(format!("rowhouse-secrets-{}", std::process::id()));
        let entropy = Entropy::new(|out| getrandom::fill(out).expect("random bytes"));
        let first = Secrets::open(&folder, &entropy).expect("made");
        let again = Secrets::open(&folder, &entropy).expect("read");
        assert_eq!((first.master, first.pepper), (again.master, again.pepper));
        assert_ne!(first.master, first.pepper);
        let file = folder.join("secrets/master.key");
        let mode = std::fs::metadata(&file).expect("made").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(&file, "not a key").expect("own file");
        let error = Secrets::open(&folder, &entropy).err().expect("damaged").to_string();
        assert!(error.contains("master.key"), "{error}");
        std::fs::remove_dir_all(&folder).expect("own folder");
    }
}
