//! The CBOR of authenticators (CTAP 2.2 §8): definite lengths, at most eight levels, no tags, no floats, no key twice: what has two
//! readings has none. Numbers in a longer form than need be are read, for there are password managers that write them.

use super::WebauthnFault;

const DEPTH_MAX: usize = 8;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item<'a> {
    /// Of either sign.
    Integer(i128),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Text.
    Text(&'a str),
    /// Several.
    List(Vec<Item<'a>>),
    /// Keys with values.
    Map(Vec<(Item<'a>, Item<'a>)>),
    /// `true`, `false` or `null`.
    Simple(u8),
}

impl<'a> Item<'a> {
    /// The value of an integer key.
    pub fn at(&self, key: i128) -> Option<&Item<'a>> {
        self.find(&Item::Integer(key))
    }

    /// The value of a text key.
    pub fn named(&self, key: &str) -> Option<&Item<'a>> {
        match self {
            Item::Map(pairs) => pairs
                .iter()
                .find(|(own, _)| matches!(own, Item::Text(text) if *text == key))
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub fn integer(&self) -> Option<i128> {
        if let Item::Integer(value) = self { Some(*value) } else { None }
    }

    /// The bytes, if they are.
    pub fn bytes(&self) -> Option<&'a [u8]> {
        if let Item::Bytes(value) = self { Some(value) } else { None }
    }

    fn find(&self, key: &Item<'_>) -> Option<&Item<'a>> {
        match self {
            Item::Map(pairs) => pairs.iter().find(|(own, _)| own == key).map(|(_, value)| value),
            _ => None,
        }
    }
}

/// The first value of `input`, and what follows it.
pub fn read(input: &[u8]) -> Result<(Item<'_>, &[u8]), WebauthnFault> {
    item(input, 0)
}

/// The only value of `input`.
pub fn read_all(input: &[u8]) -> Result<Item<'_>, WebauthnFault> {
    match read(input)? {
        (item, []) => Ok(item),
        _ => Err(WebauthnFault::Malformed),
    }
}

fn item(input: &[u8], depth: usize) -> Result<(Item<'_>, &[u8]), WebauthnFault> {
    let bad = WebauthnFault::Malformed;
    if depth > DEPTH_MAX {
        return Err(bad);
    }
    let (first, rest) = input.split_first().ok_or(bad)?;
    let (value, rest) = argument(first & 31, rest)?;
    let length = || usize::try_from(value).map_err(|_| bad);
    match first >> 5 {
        0 => Ok((Item::Integer(i128::from(value)), rest)),
        1 => Ok((Item::Integer(-1 - i128::from(value)), rest)),
        2 => rest.split_at_checked(length()?).map(|(own, rest)| (Item::Bytes(own), rest)).ok_or(bad),
        3 => {
            let (own, rest) = rest.split_at_checked(length()?).ok_or(bad)?;
            Ok((Item::Text(std::str::from_utf8(own).map_err(|_| bad)?), rest))
        }
        4 => list(length()?, rest, depth),
        5 => map(length()?, rest, depth),
        7 if matches!(first & 31, 20..=22) => Ok((Item::Simple(first & 31), rest)),
        _ => Err(bad),
    }
}

fn list(length: usize, mut rest: &[u8], depth: usize) -> Result<(Item<'_>, &[u8]), WebauthnFault> {
    let mut all = Vec::new();
    for _ in 0..length {
        let (own, after) = item(rest, depth + 1)?;
        all.push(own);
        rest = after;
    }
    Ok((Item::List(all), rest))
}

fn map(length: usize, mut rest: &[u8], depth: usize) -> Result<(Item<'_>, &[u8]), WebauthnFault> {
    let mut all: Vec<(Item<'_>, Item<'_>)> = Vec::new();
    for _ in 0..length {
        let (key, after) = item(rest, depth + 1)?;
        let (value, after) = item(after, depth + 1)?;
        if !matches!(key, Item::Integer(_) | Item::Text(_)) || all.iter().any(|(own, _)| *own == key) {
            return Err(WebauthnFault::Malformed);
        }
        all.push((key, value));
        rest = after;
    }
    Ok((Item::Map(all), rest))
}

/// The number that follows the first byte.
fn argument(low: u8, rest: &[u8]) -> Result<(u64, &[u8]), WebauthnFault> {
    let width = match low {
        0..=23 => return Ok((u64::from(low), rest)),
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => return Err(WebauthnFault::Malformed),
    };
    let (own, rest) = rest.split_at_checked(width).ok_or(WebauthnFault::Malformed)?;
    Ok((own.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte)), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_has_two_readings_is_refused() {
        for bad in [
            &[0x5f, 0x41, 0x00, 0xff][..],         // indefinite
            &[0xa2, 0x01, 0x01, 0x18, 0x01, 0x02], // a key twice, in two forms
            &[0xa1, 0x80, 0x01],                   // a list as a key
            &[0xc0, 0x01],                         // a tag
            &[0xf9, 0x00, 0x00],                   // a float
            &[0x42, 0x00],                         // cut
            &[0x61, 0xff],                         // no UTF-8
            &[0x9a, 0xff, 0xff, 0xff, 0xff],       // a list that is not there
            &[0x81; 40],                           // too deep
            &[],
        ] {
            assert!(read_all(bad).is_err(), "{bad:x?}");
        }
        assert_eq!(read_all(&[0x38, 0x63]), Ok(Item::Integer(-100)));
        assert_eq!(read_all(&[0x3b, 255, 255, 255, 255, 255, 255, 255, 255]), Ok(Item::Integer(-(1 << 64))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_all(&bytes);
        }
    }
}
