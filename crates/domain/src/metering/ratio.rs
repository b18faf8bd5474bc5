//! An exact ratio of two big integers: what lies between a count and a rounded answer.
//! It is shown as a decimal where that terminates and as `a/b` in lowest terms where it does not.

use std::{
    fmt,
    ops::{Add, AddAssign, Mul, Neg, Sub},
};

use dashu_int::{IBig, UBig};
use dashu_ratio::RBig;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An exact rational number in lowest terms.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ratio(RBig);

/// The text is neither a decimal nor `a/b` with a positive `b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a decimal or a ratio")]
pub struct RatioError;

impl Default for Ratio {
    fn default() -> Self {
        Ratio::zero()
    }
}

impl Ratio {
    pub fn zero() -> Self {
        Ratio(RBig::ZERO)
    }

    pub fn one() -> Self {
        Ratio(RBig::ONE)
    }

    pub fn from_integer(value: impl Into<i128>) -> Self {
        Self::from_scaled(value.into(), 0)
    }

    /// `units` × 10^-`digits`.
    pub fn from_scaled(units: i128, digits: u32) -> Self {
        Ratio(RBig::from_parts(IBig::from(units), power_of_ten(digits)))
    }

    /// `numerator` ÷ `denominator`; `None` when the denominator is zero.
    pub fn new(numerator: i128, denominator: u128) -> Option<Self> {
        (denominator != 0).then(|| Ratio(RBig::from_parts(IBig::from(numerator), UBig::from(denominator))))
    }

    /// Reads a decimal of any length up to 100 characters, or `a/b`.
    pub fn parse(text: &str) -> Result<Self, RatioError> {
        if text.len() > 100 {
            return Err(RatioError);
        }
        match text.split_once('/') {
            None => decimal(text),
            Some((above, below)) => decimal(above)?.checked_div(&decimal(below)?).ok_or(RatioError),
        }
    }

    /// `None` when `other` is zero.
    pub fn checked_div(&self, other: &Ratio) -> Option<Ratio> {
        (!other.is_zero()).then(|| Ratio(&self.0 / &other.0))
    }

    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }

    pub fn is_negative(&self) -> bool {
        self.0 < RBig::ZERO
    }

    pub fn floor(&self) -> Ratio {
        Ratio(RBig::from(self.0.floor()))
    }

    pub fn ceil(&self) -> Ratio {
        Ratio(RBig::from(self.0.ceil()))
    }

    /// The integer nearest to `self × 10^digits`, halves away from zero; `None` beyond `i128`.
    pub fn round_scaled(&self, digits: i32) -> Option<i128> {
        i128::try_from(half_away(&self.shifted(digits))).ok()
    }

    /// Rounded to `digits` decimals (negative: to tens, hundreds …), halves away from zero.
    pub fn round(&self, digits: i32) -> Ratio {
        Ratio(RBig::from(half_away(&self.shifted(digits)))).moved(digits)
    }

    /// The greatest multiple of 10^-digits not above the number.
    pub fn floor_to(&self, digits: i32) -> Ratio {
        Ratio(RBig::from(self.shifted(digits).floor())).moved(digits)
    }

    /// The least multiple of 10^-digits not below the number.
    pub fn ceil_to(&self, digits: i32) -> Ratio {
        Ratio(RBig::from(self.shifted(digits).ceil())).moved(digits)
    }

    pub fn min(self, other: Ratio) -> Ratio {
        if other < self { other } else { self }
    }

    pub fn max(self, other: Ratio) -> Ratio {
        if other > self { other } else { self }
    }

    fn shifted(&self, digits: i32) -> RBig {
        let factor = RBig::from(power_of_ten(digits.unsigned_abs()));
        if digits < 0 { &self.0 / factor } else { &self.0 * factor }
    }

    fn moved(&self, digits: i32) -> Ratio {
        Ratio(self.shifted(-digits))
    }

    /// Fraction digits of the terminating decimal; `None` if it does not terminate.
    fn decimal_digits(&self) -> Option<u32> {
        let (twos, rest) = multiplicity(self.0.denominator().clone(), 2);
        let (fives, rest) = multiplicity(rest, 5);
        (rest == UBig::ONE).then_some(twos.max(fives))
    }
}

/// How often `prime` divides `number`, and what is left.
fn multiplicity(mut number: UBig, prime: u8) -> (u32, UBig) {
    let prime = UBig::from(prime);
    let mut times = 0;
    while (&number % &prime).is_zero() {
        number /= &prime;
        times += 1;
    }
    (times, number)
}

fn power_of_ten(digits: u32) -> UBig {
    UBig::from(10u8).pow(digits as usize)
}

/// Nearest integer; a half goes away from zero.
fn half_away(value: &RBig) -> IBig {
    let half = RBig::from_parts(IBig::ONE, UBig::from(2u8));
    if *value < RBig::ZERO { (value - half).ceil() } else { (value + half).floor() }
}

/// A plain decimal: optional minus, digits, optional fraction. No exponent.
fn decimal(text: &str) -> Result<Ratio, RatioError> {
    let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    let digits = format!("{whole}{fraction}");
    let ends_in_point = rest.ends_with('.');
    if whole.is_empty() || ends_in_point || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(RatioError);
    }
    let value = UBig::from_str_radix(&digits, 10).map_err(|_| RatioError)?;
    let magnitude = Ratio(RBig::from_parts(IBig::from(value), power_of_ten(fraction.len() as u32)));
    Ok(if negative { -magnitude } else { magnitude })
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.decimal_digits() {
            None => write!(f, "{}/{}", self.0.numerator(), self.0.denominator()),
            Some(0) => write!(f, "{}", self.0.numerator()),
            Some(digits) => {
                let scaled = self.shifted(digits as i32).trunc();
                let (sign, magnitude) = if self.is_negative() { ("-", -scaled) } else { ("", scaled) };
                let text = format!("{:0>width$}", magnitude.to_string(), width = digits as usize + 1);
                let (whole, fraction) = text.split_at(text.len() - digits as usize);
                write!(f, "{sign}{whole}.{fraction}")
            }
        }
    }
}

impl Add for Ratio {
    type Output = Ratio;
    fn add(self, other: Ratio) -> Ratio {
        Ratio(self.0 + other.0)
    }
}

impl AddAssign for Ratio {
    fn add_assign(&mut self, other: Ratio) {
        self.0 += other.0;
    }
}

impl Sub for Ratio {
    type Output = Ratio;
    fn sub(self, other: Ratio) -> Ratio {
        Ratio(self.0 - other.0)
    }
}

impl Mul for Ratio {
    type Output = Ratio;
    fn mul(self, other: Ratio) -> Ratio {
        Ratio(self.0 * other.0)
    }
}

impl<'a> Mul<&'a Ratio> for &'a Ratio {
    type Output = Ratio;
    fn mul(self, other: &Ratio) -> Ratio {
        Ratio(&self.0 * &other.0)
    }
}

impl<'a> Sub<&'a Ratio> for &'a Ratio {
    type Output = Ratio;
    fn sub(self, other: &Ratio) -> Ratio {
        Ratio(&self.0 - &other.0)
    }
}

impl Neg for Ratio {
    type Output = Ratio;
    fn neg(self) -> Ratio {
        Ratio(-self.0)
    }
}

impl std::iter::Sum for Ratio {
    fn sum<I: Iterator<Item = Ratio>>(iter: I) -> Ratio {
        iter.fold(Ratio::zero(), Add::add)
    }
}

impl Serialize for Ratio {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Ratio {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Ratio::parse(&text).map_err(de::Error::custom)
    }
}
