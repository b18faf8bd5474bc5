//! The price models: functions of the billable quantity of a period so far, in pieces that can be shown.

use serde::Serialize;

use super::price::Zero;
use crate::metering::ratio::Ratio;

/// How a quantity becomes an amount. Amounts are in major units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Model {
    /// Amount × subscription quantity.
    Flat {
        amount: Ratio,
    },
    PerUnit {
        unit_price: Ratio,
    },
    /// Each tier's units at its own price.
    Graduated {
        tiers: Vec<Tier>,
    },
    /// All units at the price of the tier reached.
    Volume {
        tiers: Vec<Tier>,
    },
    /// The amount of the tier reached, all or nothing.
    VolumeFlat {
        tiers: Vec<FlatTier>,
    },
    /// Started packages above the free units.
    Package {
        size: Ratio,
        amount: Ratio,
        free_units: Ratio,
    },
}

/// A tier; `up_to` is inclusive, and absent in the last one only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    pub up_to: Option<Ratio>,
    pub unit_price: Ratio,
    /// Due when the tier is entered; the first is entered at quantity 0.
    pub flat_fee: Ratio,
    /// Units are first raised to whole packages of this size.
    pub package_size: Option<Ratio>,
}

/// A tier with one amount for everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlatTier {
    pub up_to: Option<Ratio>,
    pub amount: Ratio,
}

/// What a piece of an amount is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PieceKind {
    Unit,
    Tier,
    TierFlat,
    Package,
    Flat,
}

/// One piece of an amount, exact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub kind: PieceKind,
    /// From 1; absent outside of tiers.
    pub tier: Option<u32>,
    pub quantity: Ratio,
    pub unit_price: Option<Ratio>,
    pub amount: Ratio,
}

impl Model {
    pub fn name(&self) -> &'static str {
        match self {
            Model::Flat { .. } => "flat",
            Model::PerUnit { .. } => "per_unit",
            Model::Graduated { .. } => "graduated",
            Model::Volume { .. } => "volume",
            Model::VolumeFlat { .. } => "volume_flat",
            Model::Package { .. } => "package",
        }
    }

    /// The pieces of f(`quantity`); what is empty is left out. `share` prorates flat amounts only.
    pub(super) fn pieces(&self, quantity: &Ratio, share: &Ratio, zero: Zero) -> Vec<Piece> {
        if quantity.is_zero() && zero == Zero::Free {
            return Vec::new();
        }
        let pieces = match self {
            Model::Flat { amount } => {
                vec![priced(PieceKind::Flat, None, quantity.clone(), &(amount * share))]
            }
            Model::PerUnit { unit_price } => {
                vec![priced(PieceKind::Unit, None, quantity.clone(), unit_price)]
            }
            Model::Graduated { tiers } => graduated(tiers, quantity),
            Model::Volume { tiers } => volume(tiers, quantity),
            Model::VolumeFlat { tiers } => volume_flat(tiers, quantity),
            Model::Package { size, amount, free_units } => {
                let above = (quantity - free_units).max(Ratio::zero());
                vec![priced(PieceKind::Package, None, packages(&above, size), amount)]
            }
        };
        pieces.into_iter().filter(|piece| !piece.quantity.is_zero() || !piece.amount.is_zero()).collect()
    }
}

fn priced(kind: PieceKind, tier: Option<u32>, quantity: Ratio, unit_price: &Ratio) -> Piece {
    Piece { kind, tier, amount: &quantity * unit_price, unit_price: Some(unit_price.clone()), quantity }
}

fn fee(tier: u32, quantity: Ratio, amount: &Ratio) -> Piece {
    Piece { kind: PieceKind::TierFlat, tier: Some(tier), quantity, unit_price: None, amount: amount.clone() }
}

/// Started packages.
fn packages(quantity: &Ratio, size: &Ratio) -> Ratio {
    quantity.checked_div(size).map_or_else(|| quantity.clone(), |packages| packages.ceil())
}

/// A tier's units, raised to whole packages where it has a size.
fn raised(units: Ratio, tier: &Tier) -> Ratio {
    tier.package_size.as_ref().map_or(units.clone(), |size| &packages(&units, size) * size)
}

fn graduated(tiers: &[Tier], quantity: &Ratio) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut below = Ratio::zero();
    for (number, tier) in (1..).zip(tiers) {
        if number > 1 && *quantity <= below {
            break;
        }
        let end = tier.up_to.clone().map_or(quantity.clone(), |up_to| up_to.min(quantity.clone()));
        let units = raised(&end - &below, tier);
        pieces.push(priced(PieceKind::Tier, Some(number), units, &tier.unit_price));
        pieces.push(fee(number, Ratio::zero(), &tier.flat_fee));
        below = end;
    }
    pieces
}

/// The tier a quantity has reached. The last one has no end, so there always is one.
fn reached<'t, T>(
    tiers: &'t [T],
    quantity: &Ratio,
    up_to: impl Fn(&T) -> Option<&Ratio>,
) -> Option<(u32, &'t T)> {
    (1..).zip(tiers).find(|(_, tier)| up_to(tier).is_none_or(|up_to| quantity <= up_to))
}

fn volume(tiers: &[Tier], quantity: &Ratio) -> Vec<Piece> {
    let Some((number, tier)) = reached(tiers, quantity, |tier| tier.up_to.as_ref()) else {
        return Vec::new();
    };
    let units = raised(quantity.clone(), tier);
    vec![
        priced(PieceKind::Tier, Some(number), units, &tier.unit_price),
        fee(number, Ratio::zero(), &tier.flat_fee),
    ]
}

fn volume_flat(tiers: &[FlatTier], quantity: &Ratio) -> Vec<Piece> {
    let Some((number, tier)) = reached(tiers, quantity, |tier| tier.up_to.as_ref()) else {
        return Vec::new();
    };
    vec![fee(number, quantity.clone(), &tier.amount)]
}
