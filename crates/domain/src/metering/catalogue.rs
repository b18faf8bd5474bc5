//! The meters a fresh platform has.

use super::{
    meter::{Aggregation, Match, MeterDraft, MeterSource, Mode, ValueDraft},
    quantity::Quantity,
    rounding::Scale,
};

/// The shipped meters: hash operations, stamps, API calls, storage, bandwidth, transactions, users, locations.
pub fn default_meters() -> Vec<MeterDraft> {
    let giga = Quantity::from_integer(1_000_000_000).expect("10^9 is in range");
    vec![
        MeterDraft {
            aggregation: Aggregation::Sum,
            ..meter("hash_operations", "operation", "hash_operation")
        },
        MeterDraft { aggregation: Aggregation::Sum, ..meter("stamps_created", "stamp", "stamp_created") },
        MeterDraft {
            source: MeterSource::Requests,
            value: Some(ValueDraft::Constant { constant: Quantity::ONE }),
            ..meter("api_calls", "request", "api_call")
        },
        MeterDraft {
            unit_code: "E34".to_owned(),
            source: MeterSource::Sampled,
            aggregation: Aggregation::TimeWeighted,
            mode: Mode::Level,
            carry: true,
            ..meter("storage_gb", "GB", "storage_gb")
        },
        MeterDraft {
            unit_code: "E34".to_owned(),
            source: MeterSource::Requests,
            value: Some(ValueDraft::Pointers(vec!["/bytes_in".to_owned(), "/bytes_out".to_owned()])),
            scale: Some(Scale::Divide(giga)),
            ..meter("bandwidth_gb", "GB", "bandwidth_gb")
        },
        MeterDraft {
            aggregation: Aggregation::Count,
            ..meter("transactions", "transaction", "parking_transaction")
        },
        level("users", "user", MeterSource::Sampled),
        level("locations", "location", MeterSource::Events),
    ]
}

fn meter(name: &str, unit: &str, event_type: &str) -> MeterDraft {
    MeterDraft {
        name: name.to_owned(),
        unit: unit.to_owned(),
        matches: Match { types: vec![event_type.to_owned()], ..Match::default() },
        ..MeterDraft::default()
    }
}

fn level(name: &str, unit: &str, source: MeterSource) -> MeterDraft {
    MeterDraft {
        source,
        aggregation: Aggregation::Last,
        mode: Mode::Level,
        carry: true,
        ..meter(name, unit, name)
    }
}
