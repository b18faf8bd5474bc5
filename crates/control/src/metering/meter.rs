//! A meter as usage needs it.

use rowhouse_store::{StoreError, Transaction};
use serde_json::Value;

use super::queries;

/// What a reading says about its meter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterNote {
    /// Its name.
    pub name: String,
    /// The version in force.
    pub version: i64,
    /// What it is counted in, as in `stamp`.
    pub unit: String,
    /// How values become one.
    pub aggregation: String,
}

/// The meter with this name.
pub async fn find(transaction: &Transaction, name: &str) -> Result<Option<MeterNote>, StoreError> {
    let row = transaction.query_opt(queries::METER, &[&name]).await?;
    Ok(row.map(|row| {
        let definition: Value = row.get(2);
        let text = |field: &str, absent: &str| definition[field].as_str().unwrap_or(absent).to_owned();
        MeterNote {
            name: row.get(0),
            version: row.get(1),
            unit: text("unit", ""),
            aggregation: text("aggregation", "sum"),
        }
    }))
}
