//! What the columns of a stored event say. They only filter; they must be what the leaf gives, in both
//! directions, and verification compares them field by field.

use serde::{Deserialize, Serialize};

use super::leaf::{Leaf, Party, Target};

/// The columns of one event, as a function of its leaf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Index in the log, from 0.
    pub idx: u64,
    pub id: String,
    /// µs since 1970, the log's clock.
    pub rx: i64,
    /// µs since 1970, the emitter's clock.
    pub ts: i64,
    pub ev: String,
    /// `success` or `failure`.
    pub out: String,
    /// `<kind>:<subject>`
    pub actor: String,
    /// `<kind>:<id>` of each target.
    pub tgt: Vec<String>,
}

impl Row {
    /// The row of the leaf at `idx`.
    pub fn of(idx: u64, leaf: &Leaf) -> Self {
        let draft = &leaf.draft;
        Row {
            idx,
            id: draft.id.clone(),
            rx: leaf.place.recorded_at_us,
            ts: draft.occurred_at_us,
            ev: draft.event.clone(),
            out: draft.outcome.name().to_owned(),
            actor: actor_column(&draft.actor),
            tgt: draft.targets.iter().map(target_column).collect(),
        }
    }

    /// Names of the columns that differ.
    pub fn differences(&self, other: &Row) -> Vec<&'static str> {
        let columns = [
            ("idx", self.idx != other.idx),
            ("id", self.id != other.id),
            ("rx", self.rx != other.rx),
            ("ts", self.ts != other.ts),
            ("ev", self.ev != other.ev),
            ("out", self.out != other.out),
            ("actor", self.actor != other.actor),
            ("tgt", self.tgt != other.tgt),
        ];
        columns.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }
}

/// How a column names a party.
pub fn actor_column(party: &Party) -> String {
    format!("{}:{}", party.kind.name(), party.subject)
}

/// How a column names a target.
pub fn target_column(target: &Target) -> String {
    format!("{}:{}", target.kind, target.id)
}
