//! An invoice as it would be now: a plan rated over a tenant's usage of a period. The running cost, a preview and
//! a draft are this one calculation. Σ net of the lines = subtotal; without tax rules the tax is 0.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::{
    currency::Currency,
    money::{Computed, Money, MoneyError},
    plan::Plan,
    price::Price,
    rating::{Billed, Detail, Measured, Rating, rate},
    step::Step,
};
use crate::metering::ratio::Ratio;

/// The name under which an earlier invoice's line for the plan's minimum stands in [`Basis::billed`].
pub const PLAN_MINIMUM: &str = "plan_minimum";

/// A tenant's usage of one meter in the period so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterUsage {
    pub quantity: Ratio,
    /// Events behind it, where that is known.
    pub events: Option<u64>,
}

/// What an invoice is made of.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    pub plan: &'a Plan,
    pub period: &'a Period,
    /// By meter; a meter without usage may be absent.
    pub usage: &'a BTreeMap<String, MeterUsage>,
    /// By price (and [`PLAN_MINIMUM`]), what earlier lines of the period covered.
    pub billed: &'a BTreeMap<String, Billed>,
    /// How many the subscription is for: multiplies flat prices.
    pub quantity: &'a Ratio,
    /// Part of the whole period that this one covers.
    pub share: &'a Ratio,
    /// Whether the period ends with this invoice: only then minimums are due.
    pub last: bool,
}

/// The time an invoice is about, half-open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Period {
    pub from: Timestamp,
    pub to: Timestamp,
    /// IANA name.
    pub zone: String,
}

/// The invoice object. Ids, numbers and dates are for the caller to fill in; a preview has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Invoice {
    pub id: Option<String>,
    pub number: Option<String>,
    pub state: &'static str,
    pub currency: Currency,
    pub tenant: Option<String>,
    pub issued_on: Option<String>,
    pub due_on: Option<String>,
    pub period: Period,
    pub lines: Vec<Line>,
    pub subtotal: Computed,
    pub discounts: Computed,
    pub credits_before_tax: Computed,
    pub taxable: Computed,
    pub tax_groups: Vec<TaxGroup>,
    pub tax: Computed,
    pub rounding: Computed,
    pub total: Computed,
    pub credits: Vec<CreditUse>,
    pub paid: Computed,
    pub due: Computed,
    /// Why the draft cannot be issued.
    pub problems: Vec<String>,
    pub digest: Option<String>,
}

/// What a line charges for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LineKind {
    Flat,
    Usage,
    Minimum,
}

/// One line; gross − discount − cap + true_up + correction = net.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    pub id: Option<String>,
    pub kind: LineKind,
    pub price: Option<String>,
    pub meter: Option<String>,
    pub description: String,
    pub quantity: Ratio,
    pub details: Vec<Detail>,
    pub gross: Computed,
    pub discount: Computed,
    pub cap: Computed,
    pub true_up: Computed,
    pub correction: Computed,
    pub net: Computed,
    pub coupons: Computed,
    pub credits_before_tax: Computed,
    pub taxable: Computed,
    pub tax_groups: Vec<u32>,
    /// How the amount came about; shown by explain, not with the invoice.
    #[serde(skip)]
    pub steps: Vec<Step>,
}

/// Tax of one jurisdiction, category and rate. Empty as long as there are no tax rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaxGroup {
    pub group: u32,
    pub jurisdiction: String,
    pub category: String,
    pub rate: Ratio,
    pub taxable: Computed,
    pub tax: Computed,
    pub exemption: Option<String>,
    pub note: Option<String>,
}

/// A credit that pays part of the total.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CreditUse {
    pub grant: String,
    pub amount: Computed,
}

/// The draft of an invoice. Fails only beyond the bounds of an amount, or when something was billed in another
/// currency before.
pub fn draft(basis: &Basis<'_>) -> Result<Invoice, MoneyError> {
    let currency = basis.plan.currency;
    let mut lines =
        basis.plan.prices.iter().map(|price| line(price, basis)).collect::<Result<Vec<_>, _>>()?;
    lines.extend(minimum_line(basis, &lines)?);
    let subtotal = sum(currency, lines.iter().map(|line| line.net.money))?;
    let zero = Computed::zero(currency);
    Ok(Invoice {
        id: None,
        number: None,
        state: "draft",
        currency,
        tenant: None,
        issued_on: None,
        due_on: None,
        period: basis.period.clone(),
        lines,
        subtotal: subtotal.into(),
        discounts: zero.clone(),
        credits_before_tax: zero.clone(),
        taxable: subtotal.into(),
        tax_groups: Vec::new(),
        tax: zero.clone(),
        rounding: zero.clone(),
        total: subtotal.into(),
        credits: Vec::new(),
        paid: zero,
        due: subtotal.into(),
        problems: Vec::new(),
        digest: None,
    })
}

fn sum(currency: Currency, mut amounts: impl Iterator<Item = Money>) -> Result<Money, MoneyError> {
    amounts.try_fold(Money::zero(currency), Money::checked_add)
}

fn line(price: &Price, basis: &Basis<'_>) -> Result<Line, MoneyError> {
    let usage = price.meter.as_ref().and_then(|meter| basis.usage.get(meter));
    let quantity = match (&price.meter, usage) {
        (None, _) => basis.quantity.clone(),
        (Some(_), Some(usage)) => usage.quantity.clone(),
        (Some(_), None) => Ratio::zero(),
    };
    let measured = Measured { quantity, share: basis.share.clone(), last: basis.last };
    let billed = basis.billed.get(&price.name).cloned();
    let mut rating = rate(price, &measured, &billed.unwrap_or_else(|| Billed::nothing(price.currency)))?;
    if let Some(Step::Measure { events, .. }) = rating.steps.first_mut() {
        *events = usage.and_then(|usage| usage.events);
    }
    Ok(rated_line(price, rating))
}

fn rated_line(price: &Price, rating: Rating) -> Line {
    Line {
        id: None,
        kind: if price.meter.is_some() { LineKind::Usage } else { LineKind::Flat },
        price: Some(price.name.clone()),
        meter: price.meter.clone(),
        description: price.description.clone(),
        quantity: rating.quantity.measured,
        details: rating.details,
        gross: rating.gross,
        discount: rating.discount,
        cap: rating.cap,
        true_up: rating.true_up,
        correction: rating.correction,
        coupons: Computed::zero(rating.currency),
        credits_before_tax: Computed::zero(rating.currency),
        taxable: rating.net.money.into(),
        net: rating.net,
        tax_groups: Vec::new(),
        steps: rating.steps,
    }
}

/// What is missing to the plan's minimum, counting everything billed for the period.
fn minimum_line(basis: &Basis<'_>, lines: &[Line]) -> Result<Option<Line>, MoneyError> {
    let currency = basis.plan.currency;
    let Some(minimum) = basis.plan.minimum.as_ref().filter(|_| basis.last) else { return Ok(None) };
    let minimum = Money::rounded(&(minimum * basis.share), currency)?;
    let before = basis.billed.values().map(|billed| billed.amount);
    let reached = sum(currency, lines.iter().map(|line| line.net.money).chain(before))?;
    let missing = minimum.checked_sub(reached)?;
    Ok((missing.minor() > 0).then(|| true_up_line(missing, &basis.plan.name, minimum)))
}

fn true_up_line(missing: Money, plan: &str, minimum: Money) -> Line {
    let zero = Computed::zero(missing.currency());
    Line {
        id: None,
        kind: LineKind::Minimum,
        price: None,
        meter: None,
        description: format!("Minimum of the plan {plan}"),
        quantity: Ratio::one(),
        details: Vec::new(),
        gross: zero.clone(),
        discount: zero.clone(),
        cap: zero.clone(),
        true_up: missing.into(),
        correction: zero.clone(),
        net: missing.into(),
        coupons: zero.clone(),
        credits_before_tax: zero,
        taxable: missing.into(),
        tax_groups: Vec::new(),
        steps: vec![Step::Minimum {
            minimum: Some(minimum.to_ratio()),
            due: true,
            amount: missing.to_ratio(),
        }],
    }
}
