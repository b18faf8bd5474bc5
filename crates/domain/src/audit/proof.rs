//! A proof that stands alone: C2SP `tlog-proof`, the text that ties one leaf to a signed checkpoint. With it, a key
//! and the leaf, anybody can check an event offline.

use super::{
    note::{Checkpoint, NoteError, VerifierKey},
    tree::{Hash, leaf_hash, verify_inclusion},
};

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// An inclusion proof with its checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    pub index: u64,
    pub hashes: Vec<Hash>,
    /// The signed note.
    pub checkpoint: String,
}

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    #[error("not a tlog-proof")]
    Malformed,
    #[error("the proof's checkpoint: {0}")]
    Checkpoint(#[from] NoteError),
    #[error("the proof does not lead from the leaf to the signed root")]
    Inclusion,
}

impl Proof {
    /// Reads the text form. `extra` lines are accepted and ignored.
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        Self::read(text).ok_or(ProofError::Malformed)
    }

    fn read(text: &str) -> Option<Self> {
        let (head, checkpoint) = text.split_once("\n\n")?;
        let mut lines = head.lines().peekable();
        (lines.next()? == HEADER).then_some(())?;
        while lines.next_if(|line| line.starts_with("extra ")).is_some() {}
        let index = lines.next()?.strip_prefix("index ")?;
        let plain = index == "0" || (!index.starts_with(['0', '+']) && !index.is_empty());
        let hashes = lines.map(Hash::from_base64).collect::<Option<Vec<_>>>()?;
        let proof = Proof { index: index.parse().ok()?, hashes, checkpoint: checkpoint.to_owned() };
        (plain && proof.hashes.len() <= 63).then_some(proof)
    }

    /// The text form, `.tlog-proof`.
    pub fn text(&self) -> String {
        let hashes: String = self.hashes.iter().map(|hash| format!("{hash}\n")).collect();
        format!("{HEADER}\nindex {}\n{hashes}\n{}", self.index, self.checkpoint)
    }

    /// Checks that `leaf` is in the log `origin`, under a checkpoint that one of `keys` signed. Gives the checkpoint.
    pub fn verify(&self, leaf: &[u8], origin: &str, keys: &[VerifierKey]) -> Result<Checkpoint, ProofError> {
        let checkpoint = Checkpoint::open(&self.checkpoint, keys)?;
        let head = &checkpoint.head;
        let included = verify_inclusion(&leaf_hash(leaf), self.index, head.size, &self.hashes, &head.root);
        if included && checkpoint.origin == origin { Ok(checkpoint) } else { Err(ProofError::Inclusion) }
    }
}
