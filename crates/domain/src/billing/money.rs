//! Money: an integer of minor units and its currency. On the wire `{"amount":"12.34","currency":"EUR"}`; money
//! that was computed says beside it what it was before rounding.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer, de, ser::SerializeStruct};

use super::currency::Currency;
use crate::metering::ratio::Ratio;

/// Exclusive bound of an amount, in minor units.
pub const MINOR_BOUND: i128 = 1_000_000_000_000_000;

/// An amount of money; |minor| < 10^15.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Money {
    minor: i128,
    currency: Currency,
}

/// Why an amount cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("not an amount of the currency's digits")]
    Malformed,
    #[error("an amount of 10^15 minor units or more")]
    OutOfRange,
    #[error("two currencies in one calculation")]
    CurrencyMismatch,
}

impl Money {
    pub fn zero(currency: Currency) -> Self {
        Money { minor: 0, currency }
    }

    pub fn from_minor(minor: i128, currency: Currency) -> Result<Self, MoneyError> {
        if minor.abs() < MINOR_BOUND { Ok(Money { minor, currency }) } else { Err(MoneyError::OutOfRange) }
    }

    /// Reads a plain decimal with at most the currency's digits.
    pub fn parse(amount: &str, currency: Currency) -> Result<Self, MoneyError> {
        let exact = Ratio::parse(amount).map_err(|_| MoneyError::Malformed)?;
        let money = Self::rounded(&exact, currency)?;
        let fits = money.to_ratio() == exact && !amount.contains('/');
        if fits { Ok(money) } else { Err(MoneyError::Malformed) }
    }

    /// Rounds half away from zero to the currency's digits.
    pub fn rounded(exact: &Ratio, currency: Currency) -> Result<Self, MoneyError> {
        let minor = exact.round_scaled(currency.digits() as i32).ok_or(MoneyError::OutOfRange)?;
        Self::from_minor(minor, currency)
    }

    pub fn minor(self) -> i128 {
        self.minor
    }

    pub fn currency(self) -> Currency {
        self.currency
    }

    /// The amount in major units.
    pub fn to_ratio(self) -> Ratio {
        Ratio::from_scaled(self.minor, self.currency.digits())
    }

    pub fn checked_add(self, other: Money) -> Result<Money, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::CurrencyMismatch);
        }
        Self::from_minor(self.minor + other.minor, self.currency)
    }

    pub fn checked_sub(self, other: Money) -> Result<Money, MoneyError> {
        self.checked_add(Money { minor: -other.minor, currency: other.currency })
    }

    /// Splits by weight with the largest-remainder method; ties go to the earlier position. The parts add up to
    /// the whole. `None` for no weights, a negative weight, or weights that are all zero.
    pub fn split(self, weights: &[Ratio]) -> Option<Vec<Money>> {
        let total: Ratio = weights.iter().cloned().sum();
        if total.is_zero() || weights.iter().any(Ratio::is_negative) {
            return None;
        }
        let whole = Ratio::from_integer(self.minor.abs());
        let exact =
            weights.iter().map(|weight| (&whole * weight).checked_div(&total)).collect::<Option<Vec<_>>>()?;
        let mut parts = exact.iter().map(|part| part.floor().round_scaled(0)).collect::<Option<Vec<_>>>()?;
        let left = usize::try_from(self.minor.abs() - parts.iter().sum::<i128>()).ok()?;
        let mut order: Vec<usize> = (0..parts.len()).collect();
        order.sort_by_cached_key(|index| std::cmp::Reverse(&exact[*index] - &exact[*index].floor()));
        order.iter().take(left).for_each(|index| parts[*index] += 1);
        let sign = if self.minor < 0 { -1 } else { 1 };
        Some(parts.into_iter().map(|minor| Money { minor: sign * minor, currency: self.currency }).collect())
    }
}

/// The amount alone, with all digits of the currency: `12.30`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.minor < 0 { "-" } else { "" };
        let digits = self.currency.digits() as usize;
        let text = format!("{:0>width$}", self.minor.unsigned_abs(), width = digits + 1);
        match text.split_at(text.len() - digits) {
            (whole, "") => write!(f, "{sign}{whole}"),
            (whole, fraction) => write!(f, "{sign}{whole}.{fraction}"),
        }
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Money", 2)?;
        object.serialize_field("amount", &self.to_string())?;
        object.serialize_field("currency", &self.currency)?;
        object.end()
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Text {
            amount: String,
            currency: Currency,
        }
        let text = Text::deserialize(deserializer)?;
        Money::parse(&text.amount, text.currency).map_err(de::Error::custom)
    }
}

/// Money with what it was before rounding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Computed {
    pub money: Money,
    pub exact: Ratio,
}

impl Computed {
    /// Rounds once, half away from zero.
    pub fn round(exact: Ratio, currency: Currency) -> Result<Self, MoneyError> {
        Ok(Computed { money: Money::rounded(&exact, currency)?, exact })
    }

    pub fn zero(currency: Currency) -> Self {
        Computed { money: Money::zero(currency), exact: Ratio::zero() }
    }
}

impl From<Money> for Computed {
    fn from(money: Money) -> Self {
        Computed { money, exact: money.to_ratio() }
    }
}

impl Serialize for Computed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Computed", 3)?;
        object.serialize_field("amount", &self.money.to_string())?;
        object.serialize_field("currency", &self.money.currency)?;
        object.serialize_field("exact", &self.exact)?;
        object.end()
    }
}
