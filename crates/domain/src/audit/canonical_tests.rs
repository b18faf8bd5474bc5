//! Canonical JSON: tables from RFC 8785 and of every reject code, and properties.
use proptest::prelude::*;

use super::canonical::{BYTES_MAX, INTEGER_MAX, Object, Reject, Value, decode, encode, parse};

#[test]
fn canonical_bytes_are_read_and_written_unchanged() {
    for text in [
        "{}",
        "[]",
        "true",
        r#"{"a":1,"b":[true,false,"x"],"c":{}}"#,
        r#""\b\t\n\f\r\"\\\u0001\u001f""#,
        "\"\u{7f}€😂/\"",
        "-9007199254740991",
        // RFC 8785 §3.2.3: sorted by UTF-16 code units, so the smiley (a surrogate pair) precedes U+FB33.
        "{\"\\r\":1,\"1\":2,\"\u{80}\":3,\"ö\":4,\"€\":5,\"😂\":6,\"\u{fb33}\":7}",
    ] {
        let value = decode(text.as_bytes());
        assert_eq!(value.and_then(|value| encode(&value)).as_deref(), Ok(text), "{text}");
    }
}

#[test]
fn each_reject_has_its_code() {
    for (text, code) in [
        ("1.0", "FLOAT_FORBIDDEN"),
        ("{\"a\":1e3}", "FLOAT_FORBIDDEN"),
        ("-0.5", "FLOAT_FORBIDDEN"),
        ("9007199254740992", "INT_RANGE"),
        ("-9007199254740992", "INT_RANGE"),
        ("99999999999999999999999", "INT_RANGE"),
        (r#"{"a":1,"a":1}"#, "DUP_KEY"),
        (r#"{"a":{"b":1,"\u0062":2}}"#, "DUP_KEY"),
        (r#""\u0000""#, "NUL_FORBIDDEN"),
        ("\"\0\"", "NUL_FORBIDDEN"),
        (r#""\ud800""#, "SURROGATE"),
        (r#""\udc00""#, "SURROGATE"),
        (r#""\ud800\u0041""#, "SURROGATE"),
        (r#"{"a":1, "b":2}"#, "NON_CANONICAL"),
        (r#"{"b":1,"a":2}"#, "NON_CANONICAL"),
        (r#""\ud83d\ude02""#, "NON_CANONICAL"),
        (r#""\u000A""#, "NON_CANONICAL"),
        (r#""\/""#, "NON_CANONICAL"),
        ("-0", "NON_CANONICAL"),
        ("01", "NON_CANONICAL"),
        ("1-2", "NON_CANONICAL"),
        ("{\"a\":null}", "NON_CANONICAL"),
        ("{\"a\":1}\n", "NON_CANONICAL"),
        ("{\"a\":1}{", "NON_CANONICAL"),
        ("{\"a\":1,}", "NON_CANONICAL"),
        ("", "NON_CANONICAL"),
        ("\"\u{1}\"", "NON_CANONICAL"),
        ("\"open", "NON_CANONICAL"),
    ] {
        assert_eq!(decode(text.as_bytes()).map_err(Reject::code), Err(code), "{text}");
    }
    assert_eq!(decode(b"\"\xED\xA0\x80\""), Err(Reject::Surrogate), "UTF-8 of a surrogate");
    assert_eq!(decode(b"\"\xFF\""), Err(Reject::NonCanonical), "broken UTF-8");
    assert_eq!(decode(&vec![b'1'; BYTES_MAX + 1]), Err(Reject::TooLarge));
    assert_eq!(decode("[".repeat(60_000).as_bytes()), Err(Reject::TooLarge), "deep nesting ends early");
}

#[test]
fn the_longest_leaf_has_65_535_bytes() {
    let text = |length: usize| format!("\"{}\"", "x".repeat(length - 2));
    assert!(decode(text(BYTES_MAX).as_bytes()).is_ok());
    assert_eq!(encode(&Value::Text("x".repeat(BYTES_MAX - 1))), Err(Reject::TooLarge));
}

#[test]
fn what_cannot_be_written_is_refused_by_the_encoder_too() {
    assert_eq!(encode(&Value::Integer(INTEGER_MAX + 1)), Err(Reject::IntegerRange));
    assert_eq!(encode(&Value::Integer(i64::MIN)), Err(Reject::IntegerRange));
    assert_eq!(encode(&Value::Text("a\0b".into())), Err(Reject::NulForbidden));
    let deep = (0..100).fold(Value::Bool(true), |value, _| Value::List(vec![value]));
    assert_eq!(encode(&deep), Err(Reject::TooLarge));
}

#[test]
fn any_json_of_the_same_value_parses_to_the_same_bytes() {
    let value = parse(br#" { "b" : [ 1 , 2 ] , "a" : "\u0041\/" } "#).unwrap();
    assert_eq!(encode(&value).unwrap(), r#"{"a":"A/","b":[1,2]}"#);
}

#[test]
fn serde_reads_and_writes_the_same_values() {
    let value: Value = serde_json::from_str(r#"{"b":[1,true],"a":"x"}"#).unwrap();
    assert_eq!(serde_json::to_string(&value).unwrap(), encode(&value).unwrap());
    let value: Value = serde_json::from_str(r#"{"a":null,"b":{"c":null}}"#).unwrap();
    assert_eq!(encode(&value).unwrap(), r#"{"b":{}}"#, "what others write as null is absent");
    for text in ["1.5", "null", "[null]", r#"{"a":1,"a":2}"#] {
        assert!(serde_json::from_str::<Value>(text).is_err(), "{text}");
    }
}

pub(super) fn values() -> impl Strategy<Value = Value> {
    let text = "[ -~äöü€😀\u{1}\n\u{fb33}]{0,8}";
    let simple = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        (-INTEGER_MAX..=INTEGER_MAX).prop_map(Value::Integer),
        text.prop_map(Value::Text),
    ];
    simple.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            prop::collection::vec((text, inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Object>())),
        ]
    })
}

proptest! {
    #[test]
    fn decode_undoes_encode(value in values()) {
        let text = encode(&value).unwrap();
        prop_assert_eq!(decode(text.as_bytes()), Ok(value.clone()));
        // Any other JSON writer's text of the same value means the same.
        let other = serde_json::to_string_pretty(&value).unwrap();
        prop_assert_eq!(parse(other.as_bytes()), Ok(value));
    }

    #[test]
    fn decoded_bytes_encode_to_themselves(text in "[\\[\\]{}\":,0-9a-c\\\\ ]{0,12}") {
        if let Ok(value) = decode(text.as_bytes()) {
            prop_assert_eq!(encode(&value), Ok(text));
        }
    }

    #[test]
    fn one_changed_byte_is_another_value_or_none(value in values(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = encode(&value).unwrap().into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        prop_assert_ne!(decode(&bytes), Ok(value));
    }
}
