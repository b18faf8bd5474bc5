//! The journal's directory: who holds it, which boot it is, and where segments lie.
//!
//! ```text
//! lock            held while a process has the journal open; contains its process id
//! node            the node's name, a newline, the number of the last boot
//! spare/          segments that no lane has taken yet, or has just taken
//! <lane>/<first sequence, 20 digits>.segment
//! ```

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::format::NAME_BYTES_MAX;

const SPARE: &str = "spare";
const SUFFIX: &str = ".segment";

pub(crate) fn spare_directory(directory: &Path) -> PathBuf {
    directory.join(SPARE)
}

pub(crate) fn segment_path(directory: &Path, lane: &str, first_sequence: u64) -> PathBuf {
    directory.join(lane).join(format!("{first_sequence:020}{SUFFIX}"))
}

/// Lower-case letters, digits and inner hyphens, at most 39 bytes; `spare` is taken.
pub(crate) fn lane_name_is_valid(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name != SPARE && name.bytes().all(plain)
}

/// The lanes that have a directory, sorted.
pub(crate) fn lanes(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if let Some(name) = entry.file_name().to_str()
            && lane_name_is_valid(name)
            && entry.file_type()?.is_dir()
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// First sequences of a lane's segments, ascending. A lane without a directory has none.
pub(crate) fn segments(directory: &Path, lane: &str) -> io::Result<Vec<u64>> {
    let entries = match std::fs::read_dir(directory.join(lane)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let number: Option<u64> =
            name.to_str().and_then(|name| name.strip_suffix(SUFFIX)).and_then(|name| name.parse().ok());
        found.extend(number);
    }
    found.sort_unstable();
    Ok(found)
}

/// Makes a directory that only its owner looks into: records tell who called from where.
pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    path.parent().map_or(Ok(()), sync_directory)
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The exclusive right to write to a directory; given back when dropped, or when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _file: File,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    #[error("process {holder} holds it")]
    Held { holder: String },
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl DirectoryLock {
    pub(crate) fn take(directory: &Path) -> Result<Self, LockError> {
        let path = directory.join("lock");
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        if let Err(error) = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(io::Error::from(error).into());
            }
            let mut holder = String::new();
            file.read_to_string(&mut holder)?;
            return Err(LockError::Held { holder: holder.trim().to_owned() });
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self { _file: file })
    }

    pub(crate) fn set_boot(&self, directory: &Path, node: &str, boot: u64) -> io::Result<()> {
        let fresh = directory.join("node.new");
        let mut file = File::create(&fresh)?;
        write!(file, "{node}\n{boot}\n")?;
        file.sync_all()?;
        std::fs::rename(&fresh, directory.join("node"))?;
        sync_directory(directory)
    }
}

/// The node the directory belongs to and its last boot; `None` for a new directory.
pub(crate) fn node_of(directory: &Path) -> io::Result<Option<(String, u64)>> {
    let text = match std::fs::read_to_string(directory.join("node")) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut lines = text.lines();
    let node = lines.next().unwrap_or_default().to_owned();
    let boot = lines.next().and_then(|line| line.parse().ok());
    let boot =
        boot.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the file `node` has no boot number"))?;
    Ok(Some((node, boot)))
}
