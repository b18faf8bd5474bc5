//! `POST /v1/billing/simulate/price`: what a quantity would cost under a price. Stores nothing, needs no tenant.

use axum::Json;
use rowhouse_domain::billing::currency::Currency;
use rowhouse_domain::billing::money::{Money, MoneyError};
use rowhouse_domain::billing::price::Price;
use rowhouse_domain::billing::price_draft::{PriceDraft, Problem};
use rowhouse_domain::billing::rating::{Billed, Measured, Rating, rate};
use rowhouse_domain::metering::quantity::Quantity;
use rowhouse_domain::metering::ratio::Ratio;
use rowhouse_domain::refusal::{Refusal, kind};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::api::{Answer, Body, Caller};

/// A price and a quantity.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SimulatePrice {
    /// ISO 4217.
    pub currency: String,
    /// The price.
    #[schema(value_type = Object)]
    pub price: PriceDraft,
    /// How much was used in the period so far.
    #[schema(value_type = String)]
    pub quantity: Quantity,
    /// What earlier lines of the period covered.
    pub billed: Option<BilledBefore>,
    /// The part of a whole period, as in `3/5`; default 1.
    pub share: Option<String>,
    /// Whether the period ends here, so that its minimum is due; default true.
    #[serde(rename = "final")]
    pub last: Option<bool>,
}

/// What earlier lines covered.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BilledBefore {
    /// Of how much.
    #[schema(value_type = String)]
    pub quantity: Quantity,
    /// For how much, in major units.
    pub amount: String,
}

/// What a quantity would cost.
#[utoipa::path(
    post,
    path = "/v1/billing/simulate/price",
    operation_id = "billing.simulate_price",
    tag = "billing",
    request_body = SimulatePrice,
    responses((status = 200, body = serde_json::Value))
)]
pub async fn simulate_price(_caller: Caller, body: Body<SimulatePrice>) -> Answer<Json<Rating>> {
    let asked = body.value;
    let price = price(&asked)?;
    let billed = billed(&asked, price.currency)?;
    let measured = Measured {
        quantity: asked.quantity.to_ratio(),
        share: share(asked.share.as_deref())?,
        last: asked.last.unwrap_or(true),
    };
    Ok(Json(rate(&price, &measured, &billed).map_err(|error| out_of_range(&error))?))
}

fn price(asked: &SimulatePrice) -> Result<Price, Refusal> {
    let currency = Currency::parse(&asked.currency).map_err(|_| bad_currency())?;
    asked.price.price(currency).map_err(|problems| bad_price(&problems))
}

fn bad_currency() -> Refusal {
    Refusal::new(&kind::BAD_CURRENCY, "The currency is not known.").field(
        "/currency",
        "unknown",
        "a code of ISO 4217",
    )
}

fn bad_price(problems: &[Problem]) -> Refusal {
    let refusal = Refusal::new(&kind::BAD_PRICE, "The price is not well-formed.");
    problems.iter().fold(refusal, |refusal, problem| {
        let code = problem.code.rsplit('.').next().unwrap_or("bad_price");
        refusal.field(format!("/price{}", problem.pointer), code, problem.detail)
    })
}

fn billed(asked: &SimulatePrice, currency: Currency) -> Result<Billed, Refusal> {
    let Some(before) = &asked.billed else { return Ok(Billed::nothing(currency)) };
    let amount = Money::parse(&before.amount, currency).map_err(|_| {
        Refusal::new(&kind::INVALID, "The amount is not one of the currency.").field(
            "/billed/amount",
            "invalid",
            "a decimal with the currency's digits",
        )
    })?;
    Ok(Billed { quantity: before.quantity.to_ratio(), amount })
}

fn share(text: Option<&str>) -> Result<Ratio, Refusal> {
    let Some(text) = text else { return Ok(Ratio::one()) };
    let share = Ratio::parse(text).ok().filter(|share| !share.is_negative() && *share <= Ratio::one());
    share.ok_or_else(|| {
        Refusal::new(&kind::INVALID, "The share is not part of a whole.").field(
            "/share",
            "invalid",
            "0 to 1, as in `3/5`",
        )
    })
}

fn out_of_range(error: &MoneyError) -> Refusal {
    Refusal::new(&kind::OUT_OF_RANGE, format!("The price cannot be computed: {error}."))
}
