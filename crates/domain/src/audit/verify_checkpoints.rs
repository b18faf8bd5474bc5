//! The part of verification that concerns signed sizes and roots.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    bundle::{Bundle, Trust, TrustMode},
    finding::{Code, Finding},
    note::{Checkpoint, Note, NoteError, VerifierKey},
    tree::{Frontier, Hash, Head, empty_root, leaf_hash},
    verify_events::EventWalk,
};

/// Roots of the log at the sizes somebody spoke about, computed in one pass over the hashes.
pub(super) struct Roots {
    pub size: u64,
    at: BTreeMap<u64, Hash>,
}

impl Roots {
    /// Walks the log once: hashes, leaves and everything inside the leaves.
    pub(super) fn of(
        bundle: &Bundle,
        sizes: BTreeSet<u64>,
        walk: &mut EventWalk<'_>,
        findings: &mut Vec<Finding>,
    ) -> Self {
        let mut frontier = Frontier::default();
        let mut at = BTreeMap::from([(0, empty_root())]);
        for (index, leaf) in bundle.leaves.iter().enumerate() {
            let hash = hash_in_tree(bundle, index, leaf.as_deref(), findings);
            frontier.append(hash);
            if sizes.contains(&frontier.size()) {
                at.insert(frontier.size(), frontier.root());
            }
            walk.visit(index as u64, leaf.as_deref(), findings);
        }
        if bundle.leaf_hashes.len() > bundle.leaves.len() {
            let place = format!("{}>{}", bundle.leaf_hashes.len(), bundle.leaves.len());
            findings.push(Finding::new(Code::TileLongerThanLog, place));
        }
        Roots { size: frontier.size(), at }
    }

    /// The root at `size`, if it was asked for and the log is that long.
    pub(super) fn at(&self, size: u64) -> Option<&Hash> {
        self.at.get(&size)
    }
}

/// The hash the tree holds for a leaf. A leaf that has another one was modified; a missing hash is the leaf's own.
fn hash_in_tree(bundle: &Bundle, index: usize, leaf: Option<&str>, findings: &mut Vec<Finding>) -> Hash {
    let own = leaf.map(|leaf| leaf_hash(leaf.as_bytes()));
    let Some(told) = bundle.leaf_hashes.get(index) else { return own.unwrap_or_else(empty_root) };
    let told = Hash::from_hex(told);
    if told.is_none() || own.is_some_and(|own| Some(own) != told) {
        findings.push(Finding::new(Code::LeafModified, index));
    }
    told.or(own).unwrap_or_else(empty_root)
}

/// The checkpoints that can be relied on, and the pin.
pub(super) struct Checkpoints<'a> {
    valid: Vec<(usize, Checkpoint)>,
    pinned: Option<&'a Checkpoint>,
}

impl<'a> Checkpoints<'a> {
    pub(super) fn read(
        bundle: &Bundle,
        trust: &'a Trust,
        mode: TrustMode,
        findings: &mut Vec<Finding>,
    ) -> Self {
        let brought: Vec<VerifierKey>;
        let keys = match mode {
            TrustMode::Tofu => {
                brought = bundle.log_vkeys.iter().filter_map(|key| VerifierKey::parse(key)).collect();
                &brought
            }
            _ => &trust.log_keys,
        };
        let mut valid = Vec::new();
        for (index, note) in bundle.checkpoints.iter().enumerate() {
            let opened =
                if mode == TrustMode::None { unverified(note) } else { Checkpoint::open(note, keys) };
            if mode == TrustMode::None && opened.is_ok() {
                findings.push(Finding::new(Code::CheckpointUnverifiedNote, index));
            }
            match opened {
                Ok(checkpoint) if checkpoint.origin == bundle.origin => valid.push((index, checkpoint)),
                Ok(_) => findings.push(Finding::new(Code::CheckpointOrigin, index)),
                Err(error) => findings.push(Finding::new(refused(error), index)),
            }
        }
        if valid.is_empty() {
            findings.push(Finding::new(Code::NoValidCheckpoint, ""));
        }
        let pinned = trust.pinned.as_ref().filter(|_| mode == TrustMode::Pinned);
        if pinned.is_some_and(|pinned| pinned.origin != bundle.origin) {
            findings.push(Finding::new(Code::CheckpointOrigin, "pinned"));
        }
        Checkpoints { valid, pinned: pinned.filter(|pinned| pinned.origin == bundle.origin) }
    }

    pub(super) fn sizes(&self) -> BTreeSet<u64> {
        self.heads().map(|head| head.size).collect()
    }

    pub(super) fn newest_size(&self) -> u64 {
        self.valid.iter().map(|(_, checkpoint)| checkpoint.head.size).max().unwrap_or(0)
    }

    /// Greatest size whose signed root is the root of the leaves.
    pub(super) fn verified_size(&self, roots: &Roots) -> u64 {
        let holds = self.heads().filter(|head| roots.at(head.size) == Some(&head.root));
        holds.map(|head| head.size).max().unwrap_or(0)
    }

    pub(super) fn compare(&self, roots: &Roots, findings: &mut Vec<Finding>) {
        self.compare_order(findings);
        self.compare_roots(roots, findings);
        self.compare_pinned(roots, findings);
        let covered = self.heads().map(|head| head.size).max();
        if let Some(covered) = covered.filter(|covered| *covered < roots.size) {
            findings.push(Finding::new(Code::UncheckpointedTail, format!("{covered}..{}", roots.size)));
        }
    }

    fn heads(&self) -> impl Iterator<Item = &Head> {
        self.pinned
            .into_iter()
            .chain(self.valid.iter().map(|(_, checkpoint)| checkpoint))
            .map(|checkpoint| &checkpoint.head)
    }

    /// Sizes never fall, and one size has one root.
    fn compare_order(&self, findings: &mut Vec<Finding>) {
        let mut greatest = 0;
        for (index, checkpoint) in &self.valid {
            if checkpoint.head.size < greatest {
                findings.push(Finding::new(Code::CheckpointRollback, index));
            }
            greatest = greatest.max(checkpoint.head.size);
        }
        let mut roots: BTreeMap<u64, BTreeSet<Hash>> = BTreeMap::new();
        for head in self.heads() {
            roots.entry(head.size).or_default().insert(head.root);
        }
        for (size, _) in roots.iter().filter(|(_, roots)| roots.len() > 1) {
            findings.push(Finding::new(Code::Equivocation, size));
        }
    }

    fn compare_roots(&self, roots: &Roots, findings: &mut Vec<Finding>) {
        let mut told = BTreeSet::new();
        for (_, Checkpoint { head, .. }) in &self.valid {
            let differs = roots.at(head.size).is_some_and(|root| *root != head.root);
            if differs && told.insert(head.size) {
                findings.push(Finding::new(Code::RootMismatch, head.size));
            }
        }
        if self.newest_size() > roots.size {
            findings.push(Finding::new(Code::Truncated, format!("{}<{}", roots.size, self.newest_size())));
        }
    }

    fn compare_pinned(&self, roots: &Roots, findings: &mut Vec<Finding>) {
        let Some(Checkpoint { head, .. }) = self.pinned else { return };
        if head.size > roots.size {
            findings.push(Finding::new(Code::PinnedTruncated, format!("{}<{}", roots.size, head.size)));
        } else if roots.at(head.size) != Some(&head.root) {
            findings.push(Finding::new(Code::PinnedInconsistent, head.size));
        }
        if !self.valid.is_empty() && self.newest_size() < head.size {
            findings
                .push(Finding::new(Code::RollbackVsPinned, format!("{}<{}", self.newest_size(), head.size)));
        }
    }
}

fn unverified(note: &str) -> Result<Checkpoint, NoteError> {
    Checkpoint::parse(Note::parse(note)?.unverified_text())
}

fn refused(error: NoteError) -> Code {
    match error {
        NoteError::MalformedNote => Code::CheckpointMalformedNote,
        NoteError::InvalidSignature => Code::CheckpointInvalidSignature,
        NoteError::NoKnownSignature => Code::CheckpointNoLogSignature,
        NoteError::MalformedCheckpoint => Code::CheckpointMalformed,
    }
}
