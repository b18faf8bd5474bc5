//! Reading a journal: a tail per lane, from a sequence on, while it is written or after.

mod batch;
mod find;
mod tail;

pub use batch::{Batch, BatchError, Gap, GapCause};
pub use tail::{Tail, TailError};

use std::io;
use std::path::{Path, PathBuf};

use crate::storage::{lanes, node_of};

/// Reads a journal's directory; needs no lock and works beside the process that writes.
#[derive(Debug, Clone)]
pub struct Reader {
    directory: PathBuf,
}

impl Reader {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// A reader of the journal in `directory`, which must exist.
    pub fn open_dir(directory: &Path) -> io::Result<Self> {
        std::fs::read_dir(directory)?;
        Ok(Self::new(directory.to_owned()))
    }

    /// The node that the journal belongs to; `None` if no journal was ever opened here.
    pub fn node(&self) -> io::Result<Option<String>> {
        Ok(node_of(&self.directory)?.map(|(node, _)| node))
    }

    /// The lanes there are, sorted. New ones may appear at any time.
    pub fn lanes(&self) -> io::Result<Vec<String>> {
        lanes(&self.directory)
    }

    /// Follows `lane` from `from_sequence` on, or from the oldest frame there is if that is 0.
    ///
    /// Gives only what is safe from a loss of power, so that nothing a projection has counted can vanish from the
    /// journal afterwards.
    pub fn tail(&self, lane: &str, from_sequence: u64) -> Tail {
        Tail::new(self.directory.clone(), lane.to_owned(), from_sequence, true)
    }

    /// Like [`tail`](Self::tail), but gives frames as soon as they are published, and what a dead process left
    /// unsynchronised. For looking at a journal; not for projections.
    pub fn tail_published(&self, lane: &str, from_sequence: u64) -> Tail {
        Tail::new(self.directory.clone(), lane.to_owned(), from_sequence, false)
    }
}
