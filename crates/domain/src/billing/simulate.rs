//! The price simulator: the same rating as on an invoice, on quantities that are given. Stores nothing and needs
//! no tenant.

use serde::{Deserialize, Serialize};

use super::{
    currency::Currency,
    money::{Money, MoneyError},
    price_draft::{PriceDraft, Problem},
    rating::{Billed, Measured, Rating, rate},
};
use crate::metering::{quantity::Quantity, ratio::Ratio};

/// What is asked.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceSimulation {
    pub currency: String,
    pub price: PriceDraft,
    /// Of the whole period so far.
    pub quantity: Quantity,
    /// What earlier lines of the period covered.
    #[serde(default)]
    pub billed: Option<BilledText>,
    /// Part of the whole period: a decimal or `a/b`, 0 to 1.
    #[serde(default)]
    pub share: Option<Ratio>,
    /// Whether this is the last line of the period.
    #[serde(default = "yes", rename = "final")]
    pub last: bool,
}

/// What was billed, as text.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BilledText {
    pub quantity: Quantity,
    pub amount: String,
}

fn yes() -> bool {
    true
}

/// Rates the price, or says everything that is wrong, with pointers into the request.
pub fn simulate(simulation: &PriceSimulation) -> Result<Rating, Vec<Problem>> {
    let currency = Currency::parse(&simulation.currency)
        .map_err(|_| problem("/currency", "billing.bad_currency", "unknown currency"))?;
    let price = simulation
        .price
        .price(currency)
        .map_err(|problems| problems.into_iter().map(below_price).collect::<Vec<_>>())?;
    if price.currency != currency {
        return Err(problem(
            "/price/currency",
            "billing.currency_mismatch",
            "the price has another currency",
        ));
    }
    let share = simulation.share.clone().unwrap_or_else(Ratio::one);
    if share.is_negative() || share > Ratio::one() {
        return Err(problem("/share", "billing.bad_price", "a share from 0 to 1"));
    }
    let billed = simulation.billed.as_ref().map(|billed| billed.read(currency)).transpose()?;
    let measured = Measured { quantity: simulation.quantity.to_ratio(), share, last: simulation.last };
    rate(&price, &measured, &billed.unwrap_or_else(|| Billed::nothing(currency)))
        .map_err(|_| problem("/quantity", "billing.out_of_range", "beyond what can be billed"))
}

impl BilledText {
    fn read(&self, currency: Currency) -> Result<Billed, Vec<Problem>> {
        let amount = Money::parse(&self.amount, currency).map_err(|error| match error {
            MoneyError::OutOfRange => {
                problem("/billed/amount", "billing.out_of_range", "beyond what can be billed")
            }
            _ => problem("/billed/amount", "billing.bad_price", "not an amount of the currency"),
        })?;
        Ok(Billed { quantity: self.quantity.to_ratio(), amount })
    }
}

fn problem(pointer: &str, code: &'static str, detail: &'static str) -> Vec<Problem> {
    vec![Problem { pointer: pointer.to_owned(), code, detail }]
}

fn below_price(problem: Problem) -> Problem {
    Problem { pointer: format!("/price{}", problem.pointer), ..problem }
}
