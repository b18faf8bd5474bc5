//! An event's data as it was sent: JSON text. Numbers are read from their text, never through a float; values are
//! found by pointer (RFC 6901); and two texts with the same content have the same normal form.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::value::RawValue;

use super::quantity::Quantity;

/// Deepest nesting of event data.
pub const DEPTH_MAX: usize = 32;

/// A scalar found in data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// A number, by its text.
    Number(String),
    Text(String),
    Bool(bool),
}

impl Scalar {
    /// The quantity that a number or a string spells.
    pub fn quantity(&self) -> Option<Quantity> {
        match self {
            Scalar::Number(text) | Scalar::Text(text) => Quantity::parse(text).ok(),
            Scalar::Bool(_) => None,
        }
    }

    /// As a text, for grouping and for counting distinct values.
    pub fn into_text(self) -> String {
        match self {
            Scalar::Number(text) => normal_number(&text),
            Scalar::Text(text) => text,
            Scalar::Bool(flag) => flag.to_string(),
        }
    }
}

/// Whether `pointer` is one of RFC 6901: empty, or `/` and parts in which `~` is followed by 0 or 1.
pub fn is_pointer(pointer: &str) -> bool {
    let escapes_fit = pointer.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    (pointer.is_empty() || pointer.starts_with('/')) && escapes_fit && pointer.len() <= 256
}

/// The scalar at `pointer`; `None` where there is nothing, `null`, a list or an object.
pub fn scalar(data: &RawValue, pointer: &str) -> Option<Scalar> {
    let text = find(data, pointer)?.get();
    match text.as_bytes().first()? {
        b'"' => serde_json::from_str(text).ok().map(Scalar::Text),
        b't' | b'f' => serde_json::from_str(text).ok().map(Scalar::Bool),
        b'-' | b'0'..=b'9' => Some(Scalar::Number(text.to_owned())),
        _ => None,
    }
}

/// The value at `pointer`.
fn find<'d>(data: &'d RawValue, pointer: &str) -> Option<&'d RawValue> {
    let mut place = data;
    for part in pointer.split('/').skip(1) {
        let key = part.replace("~1", "/").replace("~0", "~");
        place = match place.get().as_bytes().first()? {
            b'{' => members(place.get())?.remove(key.as_str())?,
            b'[' => element(place.get(), &key)?,
            _ => return None,
        };
    }
    Some(place)
}

/// Members of an object; a repeated key has its last value.
fn members(text: &str) -> Option<BTreeMap<Cow<'_, str>, &RawValue>> {
    serde_json::from_str(text).ok()
}

fn element<'d>(text: &'d str, key: &str) -> Option<&'d RawValue> {
    let plain = key == "0" || (!key.starts_with('0') && key.bytes().all(|b| b.is_ascii_digit()));
    let index = key.parse::<usize>().ok().filter(|_| plain)?;
    serde_json::from_str::<Vec<&RawValue>>(text).ok()?.get(index).copied()
}

/// One text for all texts of the same content: keys sorted, no white space, numbers and strings in one spelling.
/// `None` beyond 32 levels.
pub fn normal_form(data: &RawValue) -> Option<String> {
    let mut text = String::with_capacity(data.get().len());
    normalise(data, DEPTH_MAX, &mut text)?;
    Some(text)
}

fn normalise(data: &RawValue, depth: usize, text: &mut String) -> Option<()> {
    let (raw, below) = (data.get(), depth.checked_sub(1)?);
    match raw.as_bytes().first()? {
        b'{' => {
            let mut separator = '{';
            for (key, value) in members(raw)? {
                text.push(separator);
                text.push_str(&serde_json::to_string(&key).ok()?);
                text.push(':');
                normalise(value, below, text)?;
                separator = ',';
            }
            text.push_str(if separator == '{' { "{}" } else { "}" });
        }
        b'[' => {
            let mut separator = '[';
            for value in serde_json::from_str::<Vec<&RawValue>>(raw).ok()? {
                text.push(separator);
                normalise(value, below, text)?;
                separator = ',';
            }
            text.push_str(if separator == '[' { "[]" } else { "]" });
        }
        b'"' => text.push_str(&serde_json::to_string(&serde_json::from_str::<String>(raw).ok()?).ok()?),
        b'-' | b'0'..=b'9' => text.push_str(&normal_number(raw)),
        _ => text.push_str(raw),
    }
    Some(())
}

/// `1`, `1.0` and `1e0` are one number; what is out of a quantity's range keeps its spelling.
fn normal_number(text: &str) -> String {
    Quantity::parse(text).map_or_else(|_| text.to_owned(), |quantity| quantity.to_string())
}
