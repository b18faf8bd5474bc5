//! The part of verification that concerns the platform's log: it names this log's size and root, under a key and
//! a tree of its own, so that the log cannot be shortened or rewritten behind it.

use std::collections::BTreeSet;

use super::{
    bundle::{Bundle, PlatformHead, Trust},
    finding::{Code, Finding},
    note::Checkpoint,
    tree::{Hash, leaf_hash, verify_inclusion},
    verify_checkpoints::Roots,
    verify_events::head_record,
};

/// Sizes the head records speak about, so that roots are computed for them.
pub(super) fn sizes(bundle: &Bundle) -> BTreeSet<u64> {
    let heads = bundle.platform.iter().flat_map(|platform| &platform.heads);
    heads.filter_map(|head| Some(head_record(&head.leaf).ok()??.1)).collect()
}

/// Compares, if the bundle has the platform's part and the owner trusts a platform key.
pub(super) fn compare(bundle: &Bundle, trust: &Trust, roots: &Roots, findings: &mut Vec<Finding>) {
    let Some(platform) = bundle.platform.as_ref().filter(|_| !trust.platform_keys.is_empty()) else { return };
    let Ok(checkpoint) = Checkpoint::open(&platform.checkpoint, &trust.platform_keys) else {
        findings.push(Finding::new(Code::PlatformRootMismatch, ""));
        return;
    };
    for head in &platform.heads {
        if proven(head, &checkpoint) {
            compare_head(bundle, head, roots, findings);
        } else {
            findings.push(Finding::new(Code::Inclusion, format!("platform.{}", head.index)));
        }
    }
}

fn proven(head: &PlatformHead, checkpoint: &Checkpoint) -> bool {
    let leaf = leaf_hash(head.leaf.as_bytes());
    verify_inclusion(&leaf, head.index, checkpoint.head.size, &head.inclusion, &checkpoint.head.root)
}

fn compare_head(bundle: &Bundle, head: &PlatformHead, roots: &Roots, findings: &mut Vec<Finding>) {
    let record = head_record(&head.leaf).ok().flatten().filter(|(log, ..)| *log == bundle.origin);
    let Some((_, size, root)) = record else {
        findings.push(Finding::new(Code::HeadMismatch, format!("platform.{}", head.index)));
        return;
    };
    match roots.at(size) {
        None => findings.push(Finding::new(Code::HeadTruncated, format!("{}<{size}", roots.size))),
        Some(ours) if Hash::from_base64(&root) != Some(*ours) => {
            findings.push(Finding::new(Code::HeadMismatch, size))
        }
        Some(_) => {}
    }
}
