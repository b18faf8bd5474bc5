//! A quantity of usage: an exact decimal with at most twelve fraction digits, |q| < 10^20.
//! Inside it is an integer of 10^-12 units, so adding never rounds and no float is ever involved.
//! On the wire it is a decimal string (`"12.5"`), written without trailing zeros.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::ratio::Ratio;

/// Fraction digits a quantity may have.
pub const DIGITS: u32 = 12;
/// 10^-12 units in one unit.
pub const SCALE: i128 = 1_000_000_000_000;
/// Exclusive bound of the absolute value, in 10^-12 units: 10^20 units.
const BOUND: i128 = 100_000_000_000_000_000_000 * SCALE;

/// An exact amount of usage in 10^-12 units; the absolute value is below 10^20 units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(i128);

/// Why a text is not a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error("not a decimal number")]
    Malformed,
    #[error("more than 12 fraction digits")]
    TooPrecise,
    #[error("outside of ±10^20")]
    OutOfRange,
}

impl Quantity {
    pub const ZERO: Quantity = Quantity(0);
    pub const ONE: Quantity = Quantity(SCALE);

    /// From a count of 10^-12 units; `None` at or beyond ±10^20 units.
    pub fn from_units(units: i128) -> Option<Self> {
        (units > -BOUND && units < BOUND).then_some(Quantity(units))
    }

    /// From a whole number; every `i64` and `u64` fits.
    pub fn from_integer(whole: impl Into<i128>) -> Option<Self> {
        whole.into().checked_mul(SCALE).and_then(Self::from_units)
    }

    /// The value in 10^-12 units.
    pub fn units(self) -> i128 {
        self.0
    }

    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    pub fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// `None` when the sum leaves the range.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Self::from_units(self.0.checked_add(other.0)?)
    }

    /// `None` when the difference leaves the range.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        Self::from_units(self.0.checked_sub(other.0)?)
    }

    /// The same number as a ratio.
    pub fn to_ratio(self) -> Ratio {
        Ratio::from_scaled(self.0, DIGITS)
    }

    /// A ratio rounded half away from zero to twelve digits; `None` beyond the range.
    pub fn rounded(ratio: &Ratio) -> Option<Self> {
        ratio.round_scaled(DIGITS as i32).and_then(Self::from_units)
    }

    /// Reads a JSON number or decimal text: optional sign, digits, fraction, exponent. Never through a float:
    /// `1.5e3` is 1500 and `1e400` is out of range.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let decimal = Decimal::split(text).ok_or(QuantityError::Malformed)?;
        decimal.units().and_then(|units| Self::from_units(units).ok_or(QuantityError::OutOfRange))
    }
}

/// A decimal text cut into its parts, leading and trailing zeros still in place.
struct Decimal<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    exponent: i64,
}

impl<'a> Decimal<'a> {
    fn split(text: &'a str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], exponent(&rest[at + 1..])?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
        let plain = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        (plain(whole) && plain(fraction)).then_some(Decimal { negative, whole, fraction, exponent })
    }

    /// The value in 10^-12 units. Work is bounded: digits that cannot matter are trimmed before any arithmetic.
    fn units(&self) -> Result<i128, QuantityError> {
        let digits = format!("{}{}", self.whole, self.fraction);
        let significant = digits.trim_start_matches('0').trim_end_matches('0');
        if significant.is_empty() {
            return Ok(0);
        }
        let dropped = (digits.len() - digits.trim_end_matches('0').len()) as i64;
        // value = significant × 10^power
        let power = self.exponent - self.fraction.len() as i64 + dropped;
        if power < -i64::from(DIGITS) {
            return Err(QuantityError::TooPrecise);
        }
        if power + significant.len() as i64 > 20 {
            return Err(QuantityError::OutOfRange);
        }
        let mantissa: i128 = significant.parse().map_err(|_| QuantityError::OutOfRange)?;
        let shift = u32::try_from(power + i64::from(DIGITS)).expect("power is between -12 and 20");
        let units = 10i128.checked_pow(shift).and_then(|p| p.checked_mul(mantissa));
        units.map(|u| if self.negative { -u } else { u }).ok_or(QuantityError::OutOfRange)
    }
}

/// The exponent's value, held within ±10^6: beyond that it decides alone.
fn exponent(text: &str) -> Option<i64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    let value = if digits.len() > 6 { 1_000_000 } else { digits.parse().unwrap_or(0) };
    Some(sign * value)
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, fraction) =
            (self.0.unsigned_abs() / SCALE as u128, self.0.unsigned_abs() % SCALE as u128);
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let digits = format!("{fraction:012}");
        write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Quantity::parse(&text).map_err(de::Error::custom)
    }
}
