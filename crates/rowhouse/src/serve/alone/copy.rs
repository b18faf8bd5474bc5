//! The directory on a node's disk: the messages of the stream as they came, each sealed, so that a start without the control
//! plane reads what a start with it is told.
//!
//! ```text
//! directory.copy    "RHDIRCP1", 16 random bytes that name the file, then records: length u32, sealed message
//! directory.heard   when the control plane was last heard of, µs since 1970
//! ```
//!
//! Everything anew goes into a file beside it that takes its place when it is whole and on the disk; what changes is appended
//! and synchronised. A record is sealed (AES-256-GCM-SIV) as the one at its place in this file: a flipped bit, a record of
//! another file or at another place does not open. What does not open ends the file, and what was read before it counts, up to the last
//! whole version.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rowhouse_control::deploy::nodes::wire::{Message, Welcome, hex};
use rowhouse_control::tenancy::Seal;
use rowhouse_domain::directory::{Change, Directory};
use rowhouse_domain::entropy::Entropy;

const MAGIC: &[u8; 8] = b"RHDIRCP1";
const HEAD: usize = 24;
const PURPOSE: &str = "deploy/directory_copy/v1";
/// Tenants, keys and hosts in one record.
const ENTRIES_MAX: usize = 2_000;
/// A file is written anew when what was appended is so much, and twice what it began with.
const APPENDED_MIN: u64 = 8 * 1024 * 1024;

/// What a copy gave back.
pub struct Read {
    /// What stands beside the directory.
    pub welcome: Welcome,
    /// The last whole version.
    pub directory: Directory,
    /// When the control plane was last heard of, µs since 1970.
    pub heard_us: i64,
}

/// The files.
pub struct Copy {
    folder: PathBuf,
    seal: Seal,
    entropy: Entropy,
    /// The file that changes are appended to.
    current: Option<Writing>,
    /// The one that takes its place when it is whole.
    next: Option<Writing>,
}

struct Writing {
    file: File,
    id: String,
    records: u64,
    /// Bytes when it was whole, and since.
    whole: u64,
    appended: u64,
}

impl Copy {
    /// The copy in `folder`, and what it holds, if it holds a version.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn open(folder: &Path, seal: &[u8; 32], entropy: Entropy) -> io::Result<(Copy, Option<Read>)> {
        let seal = Seal::new(seal, PURPOSE);
        let copy = Copy { folder: folder.to_owned(), seal, entropy, current: None, next: None };
        let bytes = match std::fs::read(copy.path()) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((copy, None)),
            Err(error) => return Err(error),
        };
        let read = copy.read(&bytes);
        if read.is_none() {
            tracing::error!(file = %copy.path().display(), "the copy of the directory cannot be used");
        }
        Ok((copy, read))
    }

    fn path(&self) -> PathBuf {
        self.folder.join("directory.copy")
    }

    fn heard_path(&self) -> PathBuf {
        self.folder.join("directory.heard")
    }

    /// Reads as far as records open. What follows is never appended to: the next version begins a new file.
    fn read(&self, bytes: &[u8]) -> Option<Read> {
        let id = hex(bytes.strip_prefix(MAGIC)?.get(..16)?);
        let mut rest = bytes.get(HEAD..)?;
        let (mut welcome, mut whole, mut partial) = (None, None::<Directory>, None::<Directory>);
        for place in 0u64.. {
            let Some(message) = self.record(&id, place, &mut rest) else { break };
            match message {
                Message::Welcome(own) => welcome = Some(own),
                Message::Change(change) => {
                    let base = || {
                        if change.is_whole() {
                            Directory::empty()
                        } else {
                            whole.clone().unwrap_or_else(Directory::empty)
                        }
                    };
                    let mut next = partial.take().unwrap_or_else(base);
                    let is_last = change.is_last;
                    if next.apply(*change).is_err() {
                        break;
                    }
                    if is_last { whole = Some(next) } else { partial = Some(next) }
                }
                Message::Beat { .. } | Message::Drain { .. } | Message::Revoked => {}
            }
        }
        let (welcome, directory) = welcome.zip(whole)?;
        Some(Read { welcome, directory, heard_us: self.heard_us() })
    }

    fn record(&self, id: &str, place: u64, rest: &mut &[u8]) -> Option<Message> {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (sealed, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        let packed = self.seal.open(&[id, &place.to_string()], sealed).ok()?;
        *rest = after;
        Message::unpack(&packed).ok()
    }

    /// Without a note, the time when the copy was written last.
    fn heard_us(&self) -> i64 {
        let noted = std::fs::read_to_string(self.heard_path()).ok().and_then(|text| text.trim().parse().ok());
        let written = || {
            let at = std::fs::metadata(self.path()).and_then(|file| file.modified()).ok()?;
            let since = at.duration_since(std::time::UNIX_EPOCH).ok()?;
            i64::try_from(since.as_micros()).ok()
        };
        noted.or_else(written).unwrap_or(0)
    }

    /// Keeps one message of a change. `whole` is the version that it completes, if it is the last of one.
    ///
    /// # Errors
    /// If the disk does not take it. The next version begins anew then.
    pub fn keep(
        &mut self,
        welcome: &Welcome,
        (packed, is_first_of_all): (&[u8], bool),
        whole: Option<&Directory>,
    ) -> io::Result<()> {
        let kept = self.try_keep(welcome, (packed, is_first_of_all), whole);
        if kept.is_err() {
            (self.current, self.next) = (None, None);
        }
        kept
    }

    fn try_keep(
        &mut self,
        welcome: &Welcome,
        (packed, is_first_of_all): (&[u8], bool),
        whole: Option<&Directory>,
    ) -> io::Result<()> {
        if is_first_of_all {
            self.next = Some(self.begin(welcome)?);
        }
        if let Some(mut next) = self.next.take() {
            self.append(&mut next, packed)?;
            match whole {
                None => self.next = Some(next),
                Some(_) => self.finish(next)?,
            }
            return Ok(());
        }
        let Some(mut current) = self.current.take() else {
            // A damaged or unread file: everything anew, from memory.
            return whole.map_or(Ok(()), |directory| self.rewrite(welcome, directory));
        };
        self.append(&mut current, packed)?;
        if let Some(directory) = whole {
            current.file.sync_data()?;
            if current.appended > APPENDED_MIN.max(2 * current.whole) {
                return self.rewrite(welcome, directory);
            }
        }
        self.current = Some(current);
        Ok(())
    }

    fn begin(&self, welcome: &Welcome) -> io::Result<Writing> {
        let id = self.entropy.bytes::<16>();
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.path().with_extension("new"))?;
        file.write_all(&[&MAGIC[..], &id].concat())?;
        let mut writing = Writing { file, id: hex(&id), records: 0, whole: 0, appended: 0 };
        self.append(&mut writing, &Message::Welcome(welcome.clone()).pack())?;
        Ok(writing)
    }

    fn append(&self, writing: &mut Writing, packed: &[u8]) -> io::Result<()> {
        let names = [writing.id.as_str(), &writing.records.to_string()];
        let sealed = self.seal.seal(&self.entropy, &names, packed);
        let length = u32::try_from(sealed.len()).map_err(io::Error::other)?;
        writing.file.write_all(&[&length.to_be_bytes()[..], &sealed].concat())?;
        writing.records += 1;
        writing.appended += 4 + sealed.len() as u64;
        Ok(())
    }

    fn finish(&mut self, mut writing: Writing) -> io::Result<()> {
        writing.file.sync_all()?;
        std::fs::rename(self.path().with_extension("new"), self.path())?;
        File::open(&self.folder)?.sync_all()?;
        (writing.whole, writing.appended) = (writing.appended, 0);
        self.current = Some(writing);
        Ok(())
    }

    fn rewrite(&mut self, welcome: &Welcome, directory: &Directory) -> io::Result<()> {
        let mut writing = self.begin(welcome)?;
        for part in Change::between(None, directory).parts(ENTRIES_MAX) {
            self.append(&mut writing, &Message::Change(Box::new(part)).pack())?;
        }
        self.finish(writing)
    }

    /// Notes that the control plane was heard of. Not synchronised: after a loss of power it is an older time.
    ///
    /// # Errors
    /// If the disk does not take it.
    pub fn note_heard(&self, at_us: i64) -> io::Result<()> {
        let half_made = self.heard_path().with_extension("heard-new");
        std::fs::write(&half_made, at_us.to_string())?;
        std::fs::rename(half_made, self.heard_path())
    }

    /// Forgets everything.
    ///
    /// # Errors
    /// If a file cannot be removed.
    pub fn forget(&mut self) -> io::Result<()> {
        (self.current, self.next) = (None, None);
        for path in [self.path(), self.path().with_extension("new"), self.heard_path()] {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        File::open(&self.folder)?.sync_all()
    }
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod tests;
