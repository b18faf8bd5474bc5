//! Reads `Rowhouse-Usage`, with which a service says what a request used: a Structured Field dictionary
//! (RFC 9651), `stamps_created=3, hash_operations="12.5"`. A member that cannot be read is dropped and reported;
//! the others count all the same, because the work was done.

use super::{
    meter::{NAME_BYTES_MAX, is_meter_name},
    quantity::Quantity,
};

/// The header's name, in lower case.
pub const NAME: &str = "rowhouse-usage";
/// Members read of one header; the rest is dropped.
pub const MEMBERS_MAX: usize = 8;
/// Longest header read, in bytes.
pub const BYTES_MAX: usize = 4096;

/// What a header said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageHeader {
    /// Meter and quantity, each meter once: as RFC 9651 §4.2.2 says, its last member counts.
    pub members: Vec<(String, Quantity)>,
    pub dropped: Vec<Dropped>,
}

/// A member that was not counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The member's beginning, as sent: at most 63 characters.
    pub member: String,
    pub reason: DropReason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DropReason {
    #[error("not a member of a Structured Field dictionary")]
    Malformed,
    #[error("not the name of a meter")]
    BadName,
    #[error("not a quantity")]
    BadQuantity,
    #[error("more than eight members")]
    TooMany,
    #[error("the header is longer than 4,096 bytes")]
    TooLong,
}

/// Reads the header's value. Several header lines are joined with a comma before.
pub fn parse(value: &str) -> UsageHeader {
    let mut header = UsageHeader::default();
    if value.len() > BYTES_MAX {
        header.drop(value, DropReason::TooLong);
        return header;
    }
    for (count, text) in members(value).into_iter().enumerate() {
        let text = text.trim_matches([' ', '\t']);
        match member(text) {
            _ if count >= MEMBERS_MAX => header.drop(text, DropReason::TooMany),
            Err(reason) => header.drop(text, reason),
            Ok((meter, quantity)) => {
                header.members.retain(|(earlier, _)| *earlier != meter);
                header.members.push((meter, quantity));
            }
        }
    }
    header
}

impl UsageHeader {
    fn drop(&mut self, member: &str, reason: DropReason) {
        self.dropped.push(Dropped { member: member.chars().take(NAME_BYTES_MAX).collect(), reason });
    }
}

/// Splits at commas outside of strings. An empty header has no members.
fn members(value: &str) -> Vec<&str> {
    if value.trim_matches([' ', '\t']).is_empty() {
        return Vec::new();
    }
    let (mut quoted, mut escaped, mut start) = (false, false, 0);
    let mut members = Vec::new();
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                members.push(&value[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    members.push(&value[start..]);
    members
}

fn member(text: &str) -> Result<(String, Quantity), DropReason> {
    let (name, rest) = text.split_once('=').ok_or(DropReason::Malformed)?;
    if !is_key(name) {
        return Err(DropReason::Malformed);
    }
    if !is_meter_name(name) {
        return Err(DropReason::BadName);
    }
    let quantity = item(rest)?;
    if quantity.is_negative() { Err(DropReason::BadQuantity) } else { Ok((name.to_owned(), quantity)) }
}

/// RFC 9651 §3.1.2: a lower-case letter or `*`, then these and digits, `_`, `-`, `.`.
fn is_key(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase() || c == '*')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.*".contains(&b))
}

/// A bare item and its parameters; the parameters are read past.
fn item(text: &str) -> Result<Quantity, DropReason> {
    if let Some(rest) = text.strip_prefix('"') {
        let end = rest.find('"').ok_or(DropReason::Malformed)?;
        let (string, parameters) = (&rest[..end], &rest[end + 1..]);
        parameters_follow(parameters)?;
        return Quantity::parse(string).map_err(|_| DropReason::BadQuantity);
    }
    let end = text.find(';').unwrap_or(text.len());
    parameters_follow(&text[end..])?;
    number(text[..end].trim_end_matches(' '))
}

fn parameters_follow(text: &str) -> Result<(), DropReason> {
    let fine = text.is_empty()
        || (text.starts_with(';')
            && text[1..].trim_start_matches(' ').starts_with(|c: char| c.is_ascii_lowercase() || c == '*'));
    if fine { Ok(()) } else { Err(DropReason::Malformed) }
}

/// RFC 9651 §3.3.1, §3.3.2: an integer of at most 15 digits, or a decimal of at most 12 and 3.
fn number(text: &str) -> Result<Quantity, DropReason> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) =
        digits.split_once('.').map_or((digits, None), |(whole, fraction)| (whole, Some(fraction)));
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let fits = match fraction {
        None => plain(whole) && whole.len() <= 15,
        Some(fraction) => plain(whole) && plain(fraction) && whole.len() <= 12 && fraction.len() <= 3,
    };
    if !fits {
        return Err(DropReason::Malformed);
    }
    Quantity::parse(text).map_err(|_| DropReason::BadQuantity)
}
