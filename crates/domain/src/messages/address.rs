//! E-mail addresses: what RFC 5321 accepts without quoting, in at most 254 octets. The domain is kept in lower case; the
//! local part as it was given, because it belongs to its host.
//!
//! Two addresses are one person's when their keys are equal: the local part folded to lower case too. No provider in use
//! tells `Ana` from `ana`, and who could register the other spelling would be taken for the owner.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest address, in octets (RFC 5321 §4.5.3.1.3, less the brackets).
const ADDRESS_MAX: usize = 254;
const LOCAL_MAX: usize = 64;
const LABEL_MAX: usize = 63;

/// An address that mail can be sent to.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address {
    text: String,
    at: usize,
}

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Longer than 254 octets, or 64 before the `@`.
    #[error("an address has at most 254 characters, 64 of them before the `@`")]
    TooLong,
    /// No `@`, or something before it that would need quotes.
    #[error("before the `@` stand letters, digits and !#$%&'*+-/=?^_`{{|}}~, with single dots between them")]
    Local,
    /// Not a host name of at least two labels.
    #[error("after the `@` stands a domain such as example.com, in its ASCII form")]
    Domain,
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// For what would need quoting or is no address at all; see [`AddressError`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.len() > ADDRESS_MAX {
            return Err(AddressError::TooLong);
        }
        let at = text.rfind('@').ok_or(AddressError::Local)?;
        let (local, domain) = (&text[..at], &text[at + 1..]);
        if local.len() > LOCAL_MAX {
            return Err(AddressError::TooLong);
        }
        if local.is_empty() || !local.split('.').all(is_atom) {
            return Err(AddressError::Local);
        }
        let labels: Vec<_> = domain.split('.').collect();
        let top_has_letter = labels.last().is_some_and(|top| top.bytes().any(|b| b.is_ascii_alphabetic()));
        if labels.len() < 2 || !labels.iter().all(|label| is_label(label)) || !top_has_letter {
            return Err(AddressError::Domain);
        }
        Ok(Address { text: format!("{local}@{}", domain.to_ascii_lowercase()), at })
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What stands before the `@`.
    pub fn local(&self) -> &str {
        &self.text[..self.at]
    }

    /// What stands after it, in lower case.
    pub fn domain(&self) -> &str {
        &self.text[self.at + 1..]
    }

    /// What two spellings of one address have in common.
    pub fn key(&self) -> String {
        self.text.to_ascii_lowercase()
    }

    /// Enough to recognise one's own by, and to tell nobody: `a…@example.com`.
    pub fn hint(&self) -> String {
        format!("{}…@{}", &self.text[..1], self.domain())
    }
}

/// Whether `text` is an atom of RFC 5321 §4.1.2.
fn is_atom(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b);
    !text.is_empty() && text.bytes().all(plain)
}

fn is_label(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    (1..=LABEL_MAX).contains(&text.len())
        && text.bytes().all(plain)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

impl fmt::Debug for Address {
    /// Only the hint: addresses are personal data, and debug output ends in logs.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Address({})", self.hint())
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        Address::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_an_address() {
        for good in
            ["a@b.co", "ana+tag@Acme.Example", "o'brien@mail.example.com", "x!#$%&'*/=?^_`{|}~-@e.org"]
        {
            assert!(Address::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "@",
            "a@",
            "@b.co",
            "a b@c.de",
            "a@b",
            "a@b..co",
            "a@-b.co",
            "a@b-.co",
            ".a@b.co",
            "a.@b.co",
            "a..b@c.de",
            "\"a\"@b.co",
            "a@b.co\r\nBcc: x@y.zz",
            "a\r\n@b.co",
            "a@b.co ",
            " a@b.co",
            "a@1.2.3.4",
            "a@[1.2.3.4]",
            "a,b@c.de",
            "<a@b.co>",
            "a@b_c.de",
            "ä@b.co",
            "a@ä.co",
            "a\0@b.co",
            "a@@b.co",
            "a@b@c.de",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Address::parse(&format!("{}@b.co", "a".repeat(65))), Err(AddressError::TooLong));
        assert!(Address::parse(&format!("a@{}.co", "b".repeat(64))).is_err());
    }

    #[test]
    fn spellings_have_one_key_and_debug_tells_nothing() {
        let address = Address::parse("Ana.Maria@ACME.example").expect("good");
        assert_eq!(address.as_str(), "Ana.Maria@acme.example");
        assert_eq!((address.local(), address.domain()), ("Ana.Maria", "acme.example"));
        assert_eq!(address.key(), Address::parse("ana.maria@acme.EXAMPLE").expect("good").key());
        assert_eq!(format!("{address:?}"), "Address(A…@acme.example)");
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_one_line_of_visible_ascii(text in ".*@.*|[a-zA-Z0-9.@+_-]{0,80}") {
            if let Ok(address) = Address::parse(&text) {
                prop_assert!(address.as_str().bytes().all(|b| b.is_ascii_graphic()));
                prop_assert_eq!(Address::parse(address.as_str()), Ok(address));
            }
        }
    }
}
