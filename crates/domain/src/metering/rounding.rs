//! How a computed quantity is scaled and rounded: once, on a period's value.

use serde::{Deserialize, Serialize};

use super::{quantity::Quantity, ratio::Ratio};

/// Multiplies or divides; the factor is above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    Multiply(Quantity),
    Divide(Quantity),
}

impl Scale {
    /// Whether the factor is above zero: what no meter or price may break.
    pub fn is_valid(&self) -> bool {
        let (Scale::Multiply(factor) | Scale::Divide(factor)) = self;
        factor.units() > 0
    }

    /// The scaled value.
    pub fn apply(&self, value: &Ratio) -> Ratio {
        match self {
            Scale::Multiply(factor) => value * &factor.to_ratio(),
            Scale::Divide(factor) => value.checked_div(&factor.to_ratio()).unwrap_or_else(|| value.clone()),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoundMode {
    #[default]
    None,
    /// Halves away from zero.
    HalfAway,
    Ceil,
    Floor,
}

/// Rounds to `digits` decimals, -12 to 12; negative digits round to tens, hundreds and so on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rounding {
    pub mode: RoundMode,
    #[serde(default)]
    pub digits: i32,
}

impl Rounding {
    pub fn is_valid(&self) -> bool {
        (-12..=12).contains(&self.digits)
    }

    pub fn apply(&self, value: &Ratio) -> Ratio {
        match self.mode {
            RoundMode::None => value.clone(),
            RoundMode::HalfAway => value.round(self.digits),
            RoundMode::Ceil => value.ceil_to(self.digits),
            RoundMode::Floor => value.floor_to(self.digits),
        }
    }
}
