//! A meter as usage needs it.

use rowhouse_domain::metering::meter::{Aggregation, MeterDraft, Mode};
use rowhouse_domain::metering::ratio::Ratio;
use rowhouse_store::{StoreError, Transaction};
use serde_json::Value;
use tokio_postgres::Row;

use super::queries;

/// A declared meter, and the version that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterNote {
    /// Its name.
    pub name: String,
    /// The version in force.
    pub version: i64,
    /// As declared.
    pub draft: MeterDraft,
}

impl MeterNote {
    /// Whether the value of a stretch is the sum of its parts' values, so that sums of windows are enough.
    pub fn is_additive(&self) -> bool {
        matches!(self.draft.aggregation, Aggregation::Sum | Aggregation::Count)
    }

    /// Whether values are levels that replace each other.
    pub fn is_level(&self) -> bool {
        !self.is_additive() && (self.draft.mode == Mode::Level || !self.changes_level())
    }

    fn changes_level(&self) -> bool {
        matches!(self.draft.aggregation, Aggregation::Last | Aggregation::TimeWeighted)
    }

    /// Whether values below zero are counted.
    pub fn takes_negative(&self) -> bool {
        self.draft.measure().is_ok_and(|measure| measure.takes_negative())
    }

    /// The sum of a stretch as the meter shows it: scaled, then rounded.
    pub fn shown(&self, sum: &Ratio) -> Ratio {
        let scaled = self.draft.scale.map_or_else(|| sum.clone(), |scale| scale.apply(sum));
        self.draft.round.apply(&scaled)
    }

    /// The word for how values become one.
    pub fn aggregation(&self) -> &'static str {
        match self.draft.aggregation {
            Aggregation::Count => "count",
            Aggregation::Sum => "sum",
            Aggregation::Max => "max",
            Aggregation::Min => "min",
            Aggregation::Avg => "avg",
            Aggregation::Unique => "unique",
            Aggregation::Last => "last",
            Aggregation::TimeWeighted => "time_weighted",
        }
    }
}

/// The meter with this name.
pub async fn find(transaction: &Transaction, name: &str) -> Result<Option<MeterNote>, StoreError> {
    let row = transaction.query_opt(queries::METER, &[&name]).await?;
    row.map(|row| note(&row)).transpose()
}

/// All meters, in the order of their names.
pub async fn list(transaction: &Transaction) -> Result<Vec<MeterNote>, StoreError> {
    let rows = transaction.query(queries::METERS, &[]).await?;
    rows.iter().map(note).collect()
}

/// All meters for counting. One whose definition cannot be read still counts by its name; only its readings fail.
pub(super) async fn list_for_counting(transaction: &Transaction) -> Result<Vec<MeterNote>, StoreError> {
    let rows = transaction.query(queries::METERS, &[]).await?;
    let lenient = |row: &Row| {
        note(row).unwrap_or_else(|_| MeterNote {
            name: row.get(0),
            version: row.get(1),
            draft: MeterDraft::default(),
        })
    };
    Ok(rows.iter().map(lenient).collect())
}

fn note(row: &Row) -> Result<MeterNote, StoreError> {
    let draft = serde_json::from_value(row.get::<_, Value>(2));
    let draft = draft.map_err(|_| StoreError::Stored { what: "the definition of a meter" })?;
    Ok(MeterNote { name: row.get(0), version: row.get(1), draft })
}
