//! A price: what one meter, or a subscription itself, costs in a period. Made only by
//! [`super::price_draft::PriceDraft::price`], so that a price in hand is a valid one.

use serde::{Deserialize, Serialize};

use super::{currency::Currency, model::Model};
use crate::metering::{
    ratio::Ratio,
    rounding::{Rounding, Scale},
};

/// When a fee is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    #[default]
    Arrears,
    Advance,
}

/// Whether a period without billable quantity costs what the model says of zero, or nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Zero {
    #[default]
    Charge,
    Free,
}

/// What is done to the cumulated quantity before pricing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transform {
    pub scale: Scale,
    pub round: Rounding,
}

impl Transform {
    pub fn apply(&self, quantity: &Ratio) -> Ratio {
        self.round.apply(&self.scale.apply(quantity))
    }
}

/// A valid price. Amounts are in major units of its currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    pub name: String,
    /// `None` for a fixed fee.
    pub meter: Option<String>,
    pub description: String,
    pub currency: Currency,
    pub when: When,
    pub model: Model,
    pub transform: Option<Transform>,
    /// Free units of a whole period, after `transform`.
    pub included: Ratio,
    /// Percents, 0 to 100; they multiply.
    pub discounts: Vec<Ratio>,
    /// Of a whole period.
    pub minimum: Option<Ratio>,
    /// Of a whole period.
    pub maximum: Option<Ratio>,
    pub zero: Zero,
    pub tax_code: Option<String>,
}
