//! The steps that explain a line: from the measured quantity of the whole period to the amount of this line.

use serde::Serialize;

use super::rating::Detail;
use crate::metering::ratio::Ratio;

/// One step. Quantities and amounts are exact and of the whole period so far; `already_billed` takes off the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    Measure {
        quantity: Ratio,
        #[serde(skip_serializing_if = "Option::is_none")]
        events: Option<u64>,
    },
    Transform {
        quantity: Ratio,
    },
    Include {
        included: Ratio,
        quantity: Ratio,
        share: Ratio,
    },
    Rate {
        model: &'static str,
        details: Vec<Detail>,
        amount: Ratio,
    },
    Discount {
        percents: Vec<Ratio>,
        amount: Ratio,
    },
    Maximum {
        maximum: Option<Ratio>,
        amount: Ratio,
    },
    /// `due` only on the last line of a period.
    Minimum {
        minimum: Option<Ratio>,
        due: bool,
        amount: Ratio,
    },
    Round {
        mode: &'static str,
        digits: u32,
        exact: Ratio,
        result: String,
    },
    AlreadyBilled {
        quantity: Ratio,
        amount: String,
    },
}
