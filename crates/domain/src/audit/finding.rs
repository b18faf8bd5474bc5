//! What verification found: a code, a place, how bad it is, and a sentence.

use serde::Serialize;

use super::canonical::Reject;

/// How bad a finding is; the verdict is the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Clean,
    Attention,
    Untrusted,
    Tampered,
}

impl Verdict {
    /// Exit code of the command that verifies.
    pub fn exit_code(self) -> u8 {
        match self {
            Verdict::Clean => 0,
            Verdict::Tampered => 1,
            Verdict::Attention => 11,
            Verdict::Untrusted => 12,
        }
    }
}

/// What can be found. The names in answers are [`Code::name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    LeafModified,
    LeafRejected(Reject),
    LeafOrigin,
    TileLongerThanLog,
    RootMismatch,
    Truncated,
    PinnedInconsistent,
    PinnedTruncated,
    RollbackVsPinned,
    Equivocation,
    CheckpointRollback,
    CheckpointInvalidSignature,
    CheckpointOrigin,
    CheckpointMalformed,
    DuplicateId,
    RecordedAtNotMonotonic,
    RecordedAtInFuture,
    EmitterGap,
    EmitterReplay,
    Projection,
    RowMissing,
    RowWithoutLeaf,
    MissingUnauthorised,
    RetentionNotDualApproved,
    RetentionEarly,
    HeadMismatch,
    HeadTruncated,
    PlatformRootMismatch,
    Inclusion,
    NoValidCheckpoint,
    CheckpointUnverifiedNote,
    CheckpointNoLogSignature,
    CheckpointMalformedNote,
    Backdated,
    Postdated,
    UncheckpointedTail,
    EmitterGapExplained,
}

impl Code {
    pub fn name(self) -> String {
        match self {
            Code::LeafRejected(reject) => format!("LEAF_{}", reject.code()),
            other => other.row().0.to_owned(),
        }
    }

    pub fn severity(self) -> Verdict {
        self.row().1
    }

    fn message(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> (&'static str, Verdict, &'static str) {
        use Verdict::{Attention, Tampered, Untrusted};
        match self {
            Code::LeafModified => {
                ("LEAF_MODIFIED", Tampered, "the leaf's bytes do not have the hash that is in the tree")
            }
            Code::LeafRejected(_) => ("LEAF", Tampered, "the leaf's bytes are not those of an event"),
            Code::LeafOrigin => ("LEAF_ORIGIN", Tampered, "the leaf was written for another log"),
            Code::TileLongerThanLog => {
                ("TILE_LONGER_THAN_LOG", Tampered, "there are hashes of leaves that the log does not have")
            }
            Code::RootMismatch => {
                ("ROOT_MISMATCH", Tampered, "the leaves do not have the root that the checkpoint signs")
            }
            Code::Truncated => ("TRUNCATED", Tampered, "the log is shorter than its checkpoint"),
            Code::PinnedInconsistent => {
                ("PINNED_INCONSISTENT", Tampered, "the log does not begin with the pinned tree")
            }
            Code::PinnedTruncated => {
                ("PINNED_TRUNCATED", Tampered, "the log is shorter than the pinned checkpoint")
            }
            Code::RollbackVsPinned => {
                ("ROLLBACK_VS_PINNED", Tampered, "the newest checkpoint is smaller than the pinned one")
            }
            Code::Equivocation => ("EQUIVOCATION", Tampered, "two roots are signed for one size"),
            Code::CheckpointRollback => {
                ("CKPT_ROLLBACK", Tampered, "a later checkpoint is smaller than an earlier one")
            }
            Code::CheckpointInvalidSignature => {
                ("CKPT_INVALID_SIGNATURE", Tampered, "the log's signature does not fit the checkpoint")
            }
            Code::CheckpointOrigin => ("CKPT_ORIGIN", Tampered, "the checkpoint belongs to another log"),
            Code::CheckpointMalformed => {
                ("CHECKPOINT_MALFORMED", Tampered, "the log signed what is not a checkpoint")
            }
            Code::DuplicateId => ("DUP_ID", Tampered, "an earlier event has the same id"),
            Code::RecordedAtNotMonotonic => ("RX_NOT_MONOTONIC", Tampered, "the recorded time does not rise"),
            Code::RecordedAtInFuture => ("FUTURE_RX", Tampered, "the recorded time is in the future"),
            Code::EmitterGap => {
                ("EMITTER_GAP", Tampered, "events that an emitter counted are not in the log")
            }
            Code::EmitterReplay => {
                ("EMITTER_REPLAY", Tampered, "an emitter's counter is repeated or goes back")
            }
            Code::Projection => ("PROJECTION", Tampered, "the stored column is not what the leaf says"),
            Code::RowMissing => ("ROW_MISSING", Tampered, "an event has no stored row"),
            Code::RowWithoutLeaf => ("ROW_WITHOUT_LEAF", Tampered, "a stored row has no event"),
            Code::MissingUnauthorised => (
                "MISSING_UNAUTHORISED",
                Tampered,
                "the event's bytes are gone and nothing in the log allows it",
            ),
            Code::RetentionNotDualApproved => {
                ("RETENTION_NOT_DUAL_APPROVED", Tampered, "events were dropped without two approvers")
            }
            Code::RetentionEarly => ("RETENTION_EARLY", Tampered, "events were dropped before their time"),
            Code::HeadMismatch => {
                ("HEAD_MISMATCH", Tampered, "the platform's log names another root for this log")
            }
            Code::HeadTruncated => {
                ("HEAD_TRUNCATED", Tampered, "the log is shorter than the platform's log says")
            }
            Code::PlatformRootMismatch => {
                ("PLATFORM_ROOT_MISMATCH", Tampered, "the platform's checkpoint is not signed by its key")
            }
            Code::Inclusion => ("INCLUSION", Tampered, "the proof does not lead to the signed root"),
            Code::NoValidCheckpoint => ("NO_VALID_CHECKPOINT", Untrusted, "no checkpoint can be relied on"),
            Code::CheckpointUnverifiedNote => {
                ("CKPT_UNVERIFIED_NOTE", Untrusted, "no key is known to check the signature with")
            }
            Code::CheckpointNoLogSignature => {
                ("CKPT_NO_LOG_SIG", Untrusted, "no trusted key signed the checkpoint")
            }
            Code::CheckpointMalformedNote => {
                ("CKPT_MALFORMED_NOTE", Untrusted, "the checkpoint is not a signed note")
            }
            Code::Backdated => {
                ("BACKDATED", Attention, "the event claims a time long before it was recorded")
            }
            Code::Postdated => ("POSTDATED", Attention, "the event claims a time long after it was recorded"),
            Code::UncheckpointedTail => {
                ("UNCHECKPOINTED_TAIL", Attention, "the newest events are in no checkpoint yet")
            }
            Code::EmitterGapExplained => ("EMITTER_GAP", Attention, "events were lost, and the log says so"),
        }
    }
}

/// One thing found, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub code: String,
    /// Index, size, range, emitter or column.
    pub at: String,
    pub severity: Verdict,
    pub message: String,
}

impl Finding {
    pub fn new(code: Code, at: impl ToString) -> Self {
        Finding {
            code: code.name(),
            at: at.to_string(),
            severity: code.severity(),
            message: code.message().to_owned(),
        }
    }

    /// `CODE@place`, as tools print it.
    pub fn label(&self) -> String {
        if self.at.is_empty() { self.code.clone() } else { format!("{}@{}", self.code, self.at) }
    }
}
