//! Telephone numbers as they are dialled from anywhere (E.164 §6): `+`, a country's code, at most 15 digits in all.
//!
//! Which digits are the country's is not known here: whoever allows countries names the beginnings of their numbers (`+49`, `+41 79`), and
//! of those that fit the longest decides.

use std::fmt;

const DIGITS: std::ops::RangeInclusive<usize> = 8..=15;

/// A number that a text can be sent to.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Number(String);

/// A text is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a number begins with `+` and the country's code, as +49 151 23456789")]
pub struct NumberError;

fn digits(text: &str) -> Result<String, NumberError> {
    let rest = text.trim().strip_prefix('+').ok_or(NumberError)?;
    let own: String = rest.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')' | '/')).collect();
    let sound = own.bytes().all(|byte| byte.is_ascii_digit()) && !own.starts_with('0');
    if sound { Ok(own) } else { Err(NumberError) }
}

impl Number {
    /// Reads a number; spaces, dashes, dots, slashes and brackets between its digits are dropped.
    ///
    /// # Errors
    /// For what does not begin with `+` and a country's code, or has fewer than 8 or more than 15 digits.
    pub fn parse(text: &str) -> Result<Self, NumberError> {
        let own = digits(text)?;
        if DIGITS.contains(&own.len()) { Ok(Number(format!("+{own}"))) } else { Err(NumberError) }
    }

    /// As it is dialled: `+4915123456789`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// So that its owner knows it and nobody else does: `+49…6789`.
    pub fn hint(&self) -> String {
        format!("{}…{}", &self.0[..3], &self.0[self.0.len() - 4..])
    }

    /// All but the last four digits. Who pumps dials many numbers that begin alike.
    pub fn block(&self) -> &str {
        &self.0[..self.0.len() - 4]
    }

    /// The longest of `allowed` that it begins with.
    pub fn among<'a>(&self, allowed: &'a [String]) -> Option<&'a str> {
        let fits = allowed.iter().filter(|own| self.0.starts_with(own.as_str()));
        fits.max_by_key(|own| own.len()).map(String::as_str)
    }
}

/// Reads the beginning of the numbers of a country, or of a part of it: `+` and one to seven digits.
///
/// # Errors
/// For anything else.
pub fn parse_beginning(text: &str) -> Result<String, NumberError> {
    let own = digits(text)?;
    if (1..=7).contains(&own.len()) { Ok(format!("+{own}")) } else { Err(NumberError) }
}

/// Only its hint: numbers do not belong in logs.
impl fmt::Debug for Number {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.hint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_however_they_are_written() {
        for text in ["+49 151 23456789", "+49(151)2345-6789", " +49/151.2345.6789 "] {
            let number = Number::parse(text).expect(text);
            assert_eq!((number.as_str(), number.hint().as_str()), ("+4915123456789", "+49…6789"));
            assert_eq!((number.block(), format!("{number:?}").as_str()), ("+491512345", "+49…6789"));
        }
        for text in [
            "",
            "+",
            "0151 23456789",
            "+0151 23456789",
            "+49",
            "+49 151 2345678901234",
            "+49a5123456789",
            "49151234567",
            "+٤٩١٥١٢٣٤٥٦٧٨",
            "+49\r\n15123456789",
        ] {
            assert_eq!(Number::parse(text), Err(NumberError), "{text:?}");
        }
    }

    #[test]
    fn the_longest_beginning_decides() {
        let allowed = ["+4", "+49", "+4915", "+1"].map(str::to_owned);
        let of = |text: &str| Number::parse(text).expect("a number").among(&allowed).map(str::to_owned);
        assert_eq!(of("+4915123456789").as_deref(), Some("+4915"));
        assert_eq!(of("+4930123456").as_deref(), Some("+49"));
        assert_eq!(of("+33123456789"), None);
        assert_eq!(parse_beginning("+41 79").as_deref(), Ok("+4179"));
        assert!(["", "+", "49", "+4179123456", "+4x"].iter().all(|text| parse_beginning(text).is_err()));
    }
}
