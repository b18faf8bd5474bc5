//! Rating one price: always on the whole period so far, minus what was already billed for it. So parts add up to
//! the whole for every model, and a run repeated bills nothing.
//!
//! measure → transform → included → model → discounts → maximum → minimum → round → already billed

use serde::{Serialize, ser::SerializeStruct};

use super::{
    currency::Currency,
    model::{Piece, PieceKind},
    money::{Computed, Money, MoneyError},
    price::Price,
    step::Step,
};
use crate::metering::{quantity::Quantity, ratio::Ratio};

/// What earlier lines of this price covered in this period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Billed {
    pub quantity: Ratio,
    pub amount: Money,
}

impl Billed {
    pub fn nothing(currency: Currency) -> Self {
        Billed { quantity: Ratio::zero(), amount: Money::zero(currency) }
    }

    fn is_nothing(&self) -> bool {
        self.quantity.is_zero() && self.amount.minor() == 0
    }
}

/// How much there is to rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Of the whole period so far.
    pub quantity: Ratio,
    /// Part of the whole period that is billed, 0 to 1: it prorates flat amounts, allowances and bounds.
    pub share: Ratio,
    /// Whether this is the last line of the period: only then the minimum is due.
    pub last: bool,
}

impl Measured {
    /// A whole period at its end.
    pub fn whole(quantity: Ratio) -> Self {
        Measured { quantity, share: Ratio::one(), last: true }
    }
}

/// Quantities on the way to the billable one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quantities {
    pub measured: Ratio,
    pub transformed: Ratio,
    pub included: Ratio,
    pub billable: Ratio,
}

/// The calculation for one cumulated quantity, all exact.
#[derive(Clone, Debug)]
struct Chain {
    quantities: Quantities,
    pieces: Vec<Piece>,
    gross: Ratio,
    discount: Ratio,
    cap: Ratio,
    true_up: Ratio,
}

/// One shown piece of a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Detail {
    pub kind: PieceKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<u32>,
    pub quantity: Ratio,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit_price: Option<Ratio>,
    pub amount: Computed,
}

/// A rated price: gross − discount − cap + true_up + correction = net, in rounded amounts and in exact ones.
/// Quantities and amounts are those of this line; what was billed before is already taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rating {
    pub currency: Currency,
    pub quantity: Quantities,
    pub details: Vec<Detail>,
    pub gross: Computed,
    pub discount: Computed,
    pub cap: Computed,
    pub true_up: Computed,
    /// What rounding, or an earlier line, left over.
    pub correction: Computed,
    pub net: Computed,
    /// Net per measured unit to twelve digits; `None` where nothing was measured.
    pub average_unit_price: Option<Quantity>,
    /// How the whole period's amount came about.
    pub steps: Vec<Step>,
}

/// Rates `measured` under `price`. Fails only beyond the bounds of an amount.
pub fn rate(price: &Price, measured: &Measured, billed: &Billed) -> Result<Rating, MoneyError> {
    let currency = price.currency;
    if billed.amount.currency() != currency {
        return Err(MoneyError::CurrencyMismatch);
    }
    let whole = chain(price, &measured.quantity, measured);
    let before = (!billed.is_nothing())
        .then(|| chain(price, &billed.quantity, &Measured { last: false, ..measured.clone() }));
    let part = whole.minus(before.as_ref());
    let total = whole.total();
    let rounded = Money::rounded(&total, currency)?;
    let net =
        Computed { money: rounded.checked_sub(billed.amount)?, exact: &total - &billed.amount.to_ratio() };
    let round = |exact: &Ratio| Computed::round(exact.clone(), currency);
    let (gross, discount) = (round(&part.gross)?, round(&part.discount)?);
    let (cap, true_up) = (round(&part.cap)?, round(&part.true_up)?);
    let shown =
        gross.money.checked_sub(discount.money)?.checked_sub(cap.money)?.checked_add(true_up.money)?;
    let correction = Computed { money: net.money.checked_sub(shown)?, exact: &net.exact - &part.total() };
    let average = net.exact.checked_div(&part.quantities.measured);
    Ok(Rating {
        currency,
        details: part.pieces.iter().map(|piece| piece.detail(currency)).collect::<Result<_, _>>()?,
        average_unit_price: average.and_then(|average| Quantity::rounded(&average)),
        steps: steps(price, measured, &whole, &total, rounded, billed),
        quantity: part.quantities,
        gross,
        discount,
        cap,
        true_up,
        correction,
        net,
    })
}

/// §3.2 of the price rules for one cumulated quantity. A quantity below zero is priced as zero.
fn chain(price: &Price, quantity: &Ratio, measured: &Measured) -> Chain {
    let share = &measured.share;
    let transformed =
        price.transform.as_ref().map_or_else(|| quantity.clone(), |transform| transform.apply(quantity));
    let usable = transformed.clone().max(Ratio::zero());
    let included = (&price.included * share).min(usable.clone());
    let billable = &usable - &included;
    let pieces = price.model.pieces(&billable, share, price.zero);
    let gross: Ratio = pieces.iter().map(|piece| piece.amount.clone()).sum();
    let discounted = price.discounts.iter().fold(gross.clone(), |amount, percent| &amount * &rest(percent));
    let capped = price
        .maximum
        .as_ref()
        .map_or_else(|| discounted.clone(), |maximum| (maximum * share).min(discounted.clone()));
    let minimum = price.minimum.as_ref().filter(|_| measured.last).map(|minimum| minimum * share);
    let raised = minimum.map_or_else(|| capped.clone(), |minimum| minimum.max(capped.clone()));
    Chain {
        quantities: Quantities { measured: quantity.clone(), transformed, included, billable },
        pieces,
        discount: &gross - &discounted,
        cap: &discounted - &capped,
        true_up: &raised - &capped,
        gross,
    }
}

/// What a discount of `percent` leaves of one.
fn rest(percent: &Ratio) -> Ratio {
    Ratio::one() - percent * &Ratio::from_scaled(1, 2)
}

impl Chain {
    fn total(&self) -> Ratio {
        self.gross.clone() - self.discount.clone() - self.cap.clone() + self.true_up.clone()
    }

    /// The difference to an earlier calculation of the same period.
    fn minus(&self, before: Option<&Chain>) -> Chain {
        let Some(before) = before else { return self.clone() };
        let (now, then) = (&self.quantities, &before.quantities);
        Chain {
            quantities: Quantities {
                measured: &now.measured - &then.measured,
                transformed: &now.transformed - &then.transformed,
                included: &now.included - &then.included,
                billable: &now.billable - &then.billable,
            },
            pieces: difference(&self.pieces, &before.pieces),
            gross: &self.gross - &before.gross,
            discount: &self.discount - &before.discount,
            cap: &self.cap - &before.cap,
            true_up: &self.true_up - &before.true_up,
        }
    }
}

/// Pieces of the same kind and tier are subtracted; what is left empty is dropped.
fn difference(now: &[Piece], before: &[Piece]) -> Vec<Piece> {
    let mut pieces = now.to_vec();
    for earlier in before {
        match pieces.iter_mut().find(|piece| (piece.kind, piece.tier) == (earlier.kind, earlier.tier)) {
            Some(piece) => {
                piece.quantity = &piece.quantity - &earlier.quantity;
                piece.amount = &piece.amount - &earlier.amount;
            }
            None => pieces.push(Piece {
                quantity: -earlier.quantity.clone(),
                amount: -earlier.amount.clone(),
                ..earlier.clone()
            }),
        }
    }
    pieces.retain(|piece| !piece.quantity.is_zero() || !piece.amount.is_zero());
    pieces.sort_by_key(|piece| (piece.tier, piece.kind));
    pieces
}

impl Piece {
    fn detail(&self, currency: Currency) -> Result<Detail, MoneyError> {
        Ok(Detail {
            kind: self.kind,
            tier: self.tier,
            quantity: self.quantity.clone(),
            unit_price: self.unit_price.clone(),
            amount: Computed::round(self.amount.clone(), currency)?,
        })
    }
}

fn steps(
    price: &Price,
    measured: &Measured,
    whole: &Chain,
    total: &Ratio,
    rounded: Money,
    billed: &Billed,
) -> Vec<Step> {
    let quantities = &whole.quantities;
    let details = whole.pieces.iter().filter_map(|piece| piece.detail(price.currency).ok()).collect();
    vec![
        Step::Measure { quantity: quantities.measured.clone(), events: None },
        Step::Transform { quantity: quantities.transformed.clone() },
        Step::Include {
            included: quantities.included.clone(),
            quantity: quantities.billable.clone(),
            share: measured.share.clone(),
        },
        Step::Rate { model: price.model.name(), details, amount: whole.gross.clone() },
        Step::Discount { percents: price.discounts.clone(), amount: whole.discount.clone() },
        Step::Maximum { maximum: price.maximum.clone(), amount: whole.cap.clone() },
        Step::Minimum { minimum: price.minimum.clone(), due: measured.last, amount: whole.true_up.clone() },
        Step::Round {
            mode: "half_away",
            digits: price.currency.digits(),
            exact: total.clone(),
            result: rounded.to_string(),
        },
        Step::AlreadyBilled { quantity: billed.quantity.clone(), amount: billed.amount.to_string() },
    ]
}

/// The answer of the price simulator.
impl Serialize for Rating {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Rating", 10)?;
        object.serialize_field("currency", &self.currency)?;
        object.serialize_field("quantity", &self.quantity)?;
        object.serialize_field("details", &self.details)?;
        object.serialize_field("gross", &self.gross)?;
        object.serialize_field("discount", &self.discount)?;
        object.serialize_field("cap", &self.cap)?;
        object.serialize_field("true_up", &self.true_up)?;
        object.serialize_field("correction", &self.correction)?;
        object.serialize_field("net", &self.net)?;
        object.serialize_field("average_unit_price", &self.average_unit_price)?;
        object.end()
    }
}
