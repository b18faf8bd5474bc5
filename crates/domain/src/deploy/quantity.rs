//! Amounts of a cluster's resources, in the units that are added: thousandths of a processor, bytes. Read and written as
//! Kubernetes does (`resource.Quantity`), in the forms that people use.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Processors, in thousandths: `500m`, `2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cpu(u64);

/// Memory or storage, in bytes: `512Mi`, `4Gi`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(u64);

/// The text is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not of the form {form}")]
pub struct NotAnAmount {
    text: String,
    form: &'static str,
}

/// Units of memory, the largest first.
const UNITS: [(&str, u64); 4] = [("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
/// Most of anything: an exbibyte, a million processors.
const BYTES_MAX: u64 = 1 << 60;
const MILLIS_MAX: u64 = 1_000_000_000;

impl Cpu {
    /// Thousandths of a processor.
    pub const fn millis(millis: u64) -> Self {
        Cpu(millis)
    }

    /// Reads `500m` or `2`.
    ///
    /// # Errors
    /// Anything else, none at all, and more than a million.
    pub fn parse(text: &str) -> Result<Self, NotAnAmount> {
        let (digits, each) = text.strip_suffix('m').map_or((text, 1_000), |digits| (digits, 1));
        let millis = whole(digits).and_then(|number| number.checked_mul(each));
        let millis = millis.filter(|millis| (1..=MILLIS_MAX).contains(millis));
        millis.map(Cpu).ok_or_else(|| NotAnAmount { text: text.to_owned(), form: "`500m` or `2`" })
    }

    /// So many times as much.
    pub fn times(self, count: u32) -> Self {
        Cpu(self.0.saturating_mul(u64::from(count)))
    }

    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Cpu(self.0.saturating_add(other.0))
    }
}

impl Bytes {
    /// Bytes.
    pub const fn new(bytes: u64) -> Self {
        Bytes(bytes)
    }

    /// Gibibytes.
    pub const fn gib(gib: u64) -> Self {
        Bytes(gib << 30)
    }

    /// Whole mebibytes of it.
    pub const fn mib(self) -> u64 {
        self.0 >> 20
    }

    /// Reads `512Mi`, `4Gi`, or bytes.
    ///
    /// # Errors
    /// Anything else, none at all, and more than an exbibyte.
    pub fn parse(text: &str) -> Result<Self, NotAnAmount> {
        let unit =
            UNITS.iter().find_map(|(unit, each)| text.strip_suffix(unit).map(|digits| (digits, *each)));
        let (digits, each) = unit.unwrap_or((text, 1));
        let bytes = whole(digits).and_then(|number| number.checked_mul(each));
        let bytes = bytes.filter(|bytes| (1..=BYTES_MAX).contains(bytes));
        bytes.map(Bytes).ok_or_else(|| NotAnAmount { text: text.to_owned(), form: "`512Mi` or `4Gi`" })
    }

    /// So many times as much.
    pub fn times(self, count: u32) -> Self {
        Bytes(self.0.saturating_mul(u64::from(count)))
    }

    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Bytes(self.0.saturating_add(other.0))
    }
}

fn whole(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

impl fmt::Display for Cpu {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.is_multiple_of(1_000) {
            true => write!(out, "{}", self.0 / 1_000),
            false => write!(out, "{}m", self.0),
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, each)| self.0 > 0 && self.0.is_multiple_of(*each)) {
            Some((unit, each)) => write!(out, "{}{unit}", self.0 / each),
            None => write!(out, "{}", self.0),
        }
    }
}

impl TryFrom<String> for Cpu {
    type Error = NotAnAmount;
    fn try_from(text: String) -> Result<Self, NotAnAmount> {
        Cpu::parse(&text)
    }
}

impl TryFrom<String> for Bytes {
    type Error = NotAnAmount;
    fn try_from(text: String) -> Result<Self, NotAnAmount> {
        Bytes::parse(&text)
    }
}

impl From<Cpu> for String {
    fn from(own: Cpu) -> String {
        own.to_string()
    }
}

impl From<Bytes> for String {
    fn from(own: Bytes) -> String {
        own.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_read_as_kubernetes_reads_them() {
        assert_eq!((Cpu::parse("500m"), Cpu::parse("2")), (Ok(Cpu(500)), Ok(Cpu(2_000))));
        assert_eq!((Bytes::parse("1Gi"), Bytes::parse("512Mi")), (Ok(Bytes(1 << 30)), Ok(Bytes(512 << 20))));
        assert_eq!((Cpu(2_000).to_string(), Cpu(1_500).to_string()), ("2".to_owned(), "1500m".to_owned()));
        assert_eq!(
            (Bytes::gib(4).to_string(), Bytes(1_000).to_string()),
            ("4Gi".to_owned(), "1000".to_owned())
        );
        assert_eq!(Bytes::gib(1024).to_string(), "1Ti");
        for bad in
            ["", "0", "0m", "m", "-1", "+1", "1.5", " 1", "1 ", "1k", "99999999999999999999", "1000001"]
        {
            assert!(Cpu::parse(bad).is_err(), "{bad}");
        }
        for bad in ["", "0", "0Gi", "Gi", "-1Gi", "1.5Gi", "1GiB", "1G", "99999999999Ti"] {
            assert!(Bytes::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn amounts_are_read_back(millis in 1..MILLIS_MAX, bytes in 1..BYTES_MAX) {
            prop_assert_eq!(Cpu::parse(&Cpu(millis).to_string()), Ok(Cpu(millis)));
            prop_assert_eq!(Bytes::parse(&Bytes(bytes).to_string()), Ok(Bytes(bytes)));
        }
    }
}
