//! Canonical JSON (RFC 8785), restricted to what means the same everywhere: no floats, integers within
//! ±(2^53 − 1), no `null` (absent is absent), no NUL, no lone surrogates, no Unicode normalisation, at most
//! 65,535 bytes and 64 levels. The reader parses strictly, re-encodes and compares bytes, so that exactly one
//! text stands for one value.

use std::{cmp::Ordering, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};

use super::canonical_reader::Reader;

/// Most bytes of one canonical text: an entry bundle prefixes a leaf with sixteen bits of length.
pub const BYTES_MAX: usize = 65_535;
/// Deepest nesting of arrays and objects.
pub const DEPTH_MAX: usize = 64;
/// Greatest absolute integer: 2^53 − 1, what every JSON reader holds exactly.
pub const INTEGER_MAX: i64 = 9_007_199_254_740_991;

/// Why a text or a value has no place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reject {
    #[error("a number with a fraction or an exponent")]
    FloatForbidden,
    #[error("an integer beyond ±(2^53 − 1)")]
    IntegerRange,
    #[error("an object names a key twice")]
    DuplicateKey,
    #[error("a string holds the character NUL")]
    NulForbidden,
    #[error("a lone surrogate")]
    Surrogate,
    #[error("more than 65,535 bytes or 64 levels")]
    TooLarge,
    #[error("not the canonical text of a value")]
    NonCanonical,
}

impl Reject {
    /// The code that findings and `audit leaf` show.
    pub fn code(self) -> &'static str {
        match self {
            Reject::FloatForbidden => "FLOAT_FORBIDDEN",
            Reject::IntegerRange => "INT_RANGE",
            Reject::DuplicateKey => "DUP_KEY",
            Reject::NulForbidden => "NUL_FORBIDDEN",
            Reject::Surrogate => "SURROGATE",
            Reject::TooLarge => "TOO_LARGE",
            Reject::NonCanonical => "NON_CANONICAL",
        }
    }
}

/// A value that the log can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Bool(bool),
    Integer(i64),
    Text(String),
    List(Vec<Value>),
    Object(Object),
}

/// Members of an object, kept in canonical order (by UTF-16 code units) without repetition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    members: Vec<(String, Value)>,
}

impl Object {
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `key`, replacing what it had.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        let (key, value) = (key.into(), value.into());
        match self.position(&key) {
            Ok(at) => self.members[at].1 = value,
            Err(at) => self.members.insert(at, (key, value)),
        }
    }

    /// Sets `key` if there is a value; absent stays absent.
    pub fn set_some(&mut self, key: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }

    /// Adds `key`; false if it is already there.
    pub(super) fn add(&mut self, key: String, value: Value) -> bool {
        let place = self.position(&key);
        if let Err(at) = place {
            self.members.insert(at, (key, value));
        }
        place.is_err()
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.position(key).ok().map(|at| &self.members[at].1)
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        match self.get(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub fn integer(&self, key: &str) -> Option<i64> {
        match self.get(key) {
            Some(Value::Integer(number)) => Some(*number),
            _ => None,
        }
    }

    pub fn object(&self, key: &str) -> Option<&Object> {
        match self.get(key) {
            Some(Value::Object(object)) => Some(object),
            _ => None,
        }
    }

    pub fn list(&self, key: &str) -> Option<&[Value]> {
        match self.get(key) {
            Some(Value::List(list)) => Some(list),
            _ => None,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Members in canonical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.members.iter().map(|(key, value)| (key.as_str(), value))
    }

    fn position(&self, key: &str) -> Result<usize, usize> {
        if self.members.last().is_none_or(|(last, _)| utf16_order(last, key).is_lt()) {
            return Err(self.members.len());
        }
        self.members.binary_search_by(|(other, _)| utf16_order(other, key))
    }
}

/// RFC 8785 §3.2.3: names are ordered by their UTF-16 code units, not by code points.
fn utf16_order(left: &str, right: &str) -> Ordering {
    if left.is_ascii() && right.is_ascii() {
        return left.cmp(right);
    }
    left.encode_utf16().cmp(right.encode_utf16())
}

/// The canonical text of `value`.
pub fn encode(value: &Value) -> Result<String, Reject> {
    let mut text = String::with_capacity(512);
    write_value(value, DEPTH_MAX, &mut text)?;
    if text.len() > BYTES_MAX { Err(Reject::TooLarge) } else { Ok(text) }
}

/// Reads canonical bytes and nothing else.
pub fn decode(bytes: &[u8]) -> Result<Value, Reject> {
    if bytes.len() > BYTES_MAX {
        return Err(Reject::TooLarge);
    }
    let value = parse(bytes)?;
    if encode(&value)?.as_bytes() == bytes { Ok(value) } else { Err(Reject::NonCanonical) }
}

/// Reads any JSON text of a value the log can hold, whatever its order of keys and white space.
pub fn parse(bytes: &[u8]) -> Result<Value, Reject> {
    let text = std::str::from_utf8(bytes).map_err(|_| broken_utf8(bytes))?;
    Reader::new(text).document()
}

/// UTF-8 that encodes a surrogate (ED A0..BF) is named as such; other broken bytes are just not JSON.
fn broken_utf8(bytes: &[u8]) -> Reject {
    let surrogate = bytes.windows(2).any(|pair| pair[0] == 0xED && pair[1] >= 0xA0);
    if surrogate { Reject::Surrogate } else { Reject::NonCanonical }
}

fn write_value(value: &Value, depth: usize, text: &mut String) -> Result<(), Reject> {
    match value {
        Value::Bool(flag) => text.push_str(if *flag { "true" } else { "false" }),
        Value::Integer(number) => write_integer(*number, text)?,
        Value::Text(string) => write_text(string, text)?,
        Value::List(list) => write_list(list, descend(depth)?, text)?,
        Value::Object(object) => write_object(object, descend(depth)?, text)?,
    }
    Ok(())
}

pub(super) fn descend(depth: usize) -> Result<usize, Reject> {
    depth.checked_sub(1).ok_or(Reject::TooLarge)
}

fn write_integer(number: i64, text: &mut String) -> Result<(), Reject> {
    if number.unsigned_abs() > INTEGER_MAX as u64 {
        return Err(Reject::IntegerRange);
    }
    text.push_str(&number.to_string());
    Ok(())
}

fn write_list(list: &[Value], depth: usize, text: &mut String) -> Result<(), Reject> {
    text.push('[');
    for (index, value) in list.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        write_value(value, depth, text)?;
    }
    text.push(']');
    Ok(())
}

fn write_object(object: &Object, depth: usize, text: &mut String) -> Result<(), Reject> {
    text.push('{');
    for (index, (key, value)) in object.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        write_text(key, text)?;
        text.push(':');
        write_value(value, depth, text)?;
    }
    text.push('}');
    Ok(())
}

/// RFC 8785 §3.2.2.2: two-character escapes where JSON has them, `\u00xx` for other controls, all else verbatim.
fn write_text(string: &str, text: &mut String) -> Result<(), Reject> {
    text.push('"');
    for character in string.chars() {
        match character {
            '\0' => return Err(Reject::NulForbidden),
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\u{8}' => text.push_str("\\b"),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\u{c}' => text.push_str("\\f"),
            '\r' => text.push_str("\\r"),
            control if control < ' ' => text.push_str(&format!("\\u{:04x}", control as u32)),
            other => text.push(other),
        }
    }
    text.push('"');
    Ok(())
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Value::Bool(flag)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Integer(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Value::Object(object)
    }
}

impl From<Vec<Value>> for Value {
    fn from(list: Vec<Value>) -> Self {
        Value::List(list)
    }
}

impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Object {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(members: I) -> Self {
        let mut object = Object::new();
        members.into_iter().for_each(|(key, value)| object.set(key, value));
        object
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Bool(flag) => serializer.serialize_bool(*flag),
            Value::Integer(number) => serializer.serialize_i64(*number),
            Value::Text(text) => serializer.serialize_str(text),
            Value::List(list) => list.serialize(serializer),
            Value::Object(object) => object.serialize(serializer),
        }
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (key, value) in self.iter() {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Object(object) => Ok(object),
            _ => Err(de::Error::custom("expected an object")),
        }
    }
}

struct ValueVisitor;

impl<'de> de::Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a boolean, an integer, a string, a list or an object")
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        i64::try_from(number).map(Value::Integer).map_err(|_| E::custom(Reject::IntegerRange))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Object::new();
        // Absent is absent: a member that another writer set to null is not there.
        while let Some((key, value)) = map.next_entry::<String, Option<Value>>()? {
            let Some(value) = value else { continue };
            if !object.add(key, value) {
                return Err(de::Error::custom(Reject::DuplicateKey));
            }
        }
        Ok(Value::Object(object))
    }
}
