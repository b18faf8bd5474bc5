//! Usage events: reading, values, identity and content.
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::value::RawValue;

use super::{
    claim::Claim,
    content,
    event::{EventError, UsageEvent, parse, parse_batch, parse_binary},
    meter::{Aggregation, Match, Meter, MeterDraft, ValueDraft},
};

const STAMP: &str = r#"{"specversion":"1.0","id":"st-8812","source":"stamping","type":"stamp_created","subject":"acme",
  "time":"2026-11-21T10:00:00Z","traceparent":"00-x","data":{"quantity":"1","region":"eu"}}"#;

fn event(data: &str) -> UsageEvent {
    parse(&format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t","data":{data}}}"#)).unwrap()
}

fn meter(change: impl FnOnce(&mut MeterDraft)) -> Meter {
    let mut draft = MeterDraft {
        name: "m".into(),
        unit: "u".into(),
        matches: Match { types: vec!["t".into()], ..Match::default() },
        ..MeterDraft::default()
    };
    change(&mut draft);
    draft.meter().unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn a_cloud_event_is_read() {
    let event = parse(STAMP).unwrap();
    assert_eq!(
        (event.id.as_str(), event.source.as_str(), event.event_type.as_str()),
        ("st-8812", "stamping", "stamp_created")
    );
    assert_eq!((event.subject.as_deref(), event.time), (Some("acme"), Some(at("2026-11-21T10:00:00Z"))));
    assert_eq!(event.value(&meter(|_| {})).unwrap().to_string(), "1");
}

#[test]
fn what_is_no_cloud_event_is_refused() {
    for (from, to) in [
        (r#""1.0""#, r#""0.3""#),
        (r#""st-8812""#, r#""""#),
        (r#""st-8812""#, "7"),
        (r#""source":"stamping","#, ""),
        ("2026-11-21T10:00:00Z", "yesterday"),
        (r#""data""#, r#""data_base64":"AA==","data""#),
        (r#""data""#, r#""datacontenttype":"text/xml","data""#),
        (r#""id":"#, r#""id":"x","id":"#),
        ("}}", "}"),
    ] {
        let text = STAMP.replacen(from, to, 1);
        assert_ne!(text, STAMP);
        assert_eq!(parse(&text).map(|_| ()), Err(EventError::Malformed), "{text}");
    }
    let large = STAMP.replacen("eu", &"x".repeat(70_000), 1);
    assert_eq!(parse(&large).map(|_| ()), Err(EventError::TooLarge));
    assert_eq!(EventError::TooLarge.code(), "metering.too_large");
}

#[test]
fn a_batch_is_judged_event_by_event() {
    let batch = parse_batch(&format!("[{STAMP}, {{\"id\":1}}, {STAMP}]")).unwrap();
    let fine: Vec<bool> = batch.iter().map(Result::is_ok).collect();
    assert_eq!(fine, [true, false, true]);
    assert!(parse_batch(STAMP).is_none());
}

#[test]
fn binary_mode_takes_attributes_from_headers() {
    let attribute = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut attributes = BTreeMap::from([
        attribute("specversion", "1.0"),
        attribute("id", "1"),
        attribute("source", "s"),
        attribute("type", "t"),
    ]);
    let event = parse_binary(&attributes, r#" {"quantity":2.5} "#).unwrap();
    assert_eq!(event.value(&meter(|_| {})).unwrap().to_string(), "2.5");
    assert!(parse_binary(&attributes, "{").is_err());
    attributes.remove("id");
    assert!(parse_binary(&attributes, "{}").is_err());
}

#[test]
fn values_are_read_from_their_text() {
    let plain = meter(|_| {});
    for (data, expected) in [
        (r#"{"quantity":0.1}"#, Ok("0.1")),
        (r#"{"quantity":12345678901234567890.123456789012}"#, Ok("12345678901234567890.123456789012")),
        (r#"{"quantity":"1.50"}"#, Ok("1.5")),
        (r#"{"quantity":1,"quantity":2}"#, Ok("2")),
        (r#"{"quantity":1e400}"#, Err(EventError::BadValue)),
        (r#"{"quantity":"NaN"}"#, Err(EventError::BadValue)),
        (r#"{"quantity":0.0000000000001}"#, Err(EventError::BadValue)),
        (r#"{"quantity":null}"#, Err(EventError::BadValue)),
        (r#"{"quantity":true}"#, Err(EventError::BadValue)),
        (r#"{"quantity":[1]}"#, Err(EventError::BadValue)),
        (r#"{}"#, Err(EventError::BadValue)),
        (r#"7"#, Err(EventError::BadValue)),
        (r#"{"quantity":-1}"#, Err(EventError::NegativeValue)),
    ] {
        assert_eq!(event(data).value(&plain).map(|q| q.to_string()), expected.map(str::to_owned), "{data}");
    }
    let negative = meter(|draft| draft.negative = true);
    assert_eq!(event(r#"{"quantity":-1}"#).value(&negative).unwrap().to_string(), "-1");
    let sum =
        meter(|draft| draft.value = Some(ValueDraft::Pointers(vec!["/a~1b".into(), "/list/1/x".into()])));
    assert_eq!(event(r#"{"a/b":1,"list":[0,{"x":"2.5"}]}"#).value(&sum).unwrap().to_string(), "3.5");
    let count = meter(|draft| draft.aggregation = Aggregation::Count);
    assert_eq!(event("{}").value(&count).unwrap().to_string(), "1");
    let unique = meter(|draft| {
        draft.aggregation = Aggregation::Unique;
        draft.value = Some(ValueDraft::Pointer("/user".into()));
    });
    assert_eq!(event(r#"{"user":1.0}"#).distinct_value(&unique), Ok("1".into()));
}

#[test]
fn dimensions_are_short_scalars() {
    let meter = meter(|draft| {
        draft.dimensions = BTreeMap::from([("region".into(), "/region".into()), ("ok".into(), "/ok".into())])
    });
    let found = event(r#"{"region":"eu","ok":true,"quantity":1}"#).dimensions(&meter).unwrap();
    assert_eq!(found, BTreeMap::from([("region".into(), "eu".into()), ("ok".into(), "true".into())]));
    assert_eq!(event("{}").dimensions(&meter), Ok(BTreeMap::new()));
    let long = format!(r#"{{"region":"{}"}}"#, "x".repeat(129));
    assert_eq!(event(&long).dimensions(&meter), Err(EventError::BadDimension));
}

#[test]
fn times_are_bounded_on_both_sides() {
    let event = parse(STAMP).unwrap();
    let ahead = SignedDuration::from_mins(5);
    let check = |now: &str, since: &str| event.check_time(at(now), ahead, at(since));
    assert_eq!(check("2026-11-21T09:55:00Z", "2020-01-01T00:00:00Z"), Ok(()));
    assert_eq!(check("2026-11-21T09:54:59Z", "2020-01-01T00:00:00Z"), Err(EventError::TimeInFuture));
    assert_eq!(check("2030-01-01T00:00:00Z", "2026-11-21T10:00:00Z"), Ok(()), "any other age");
    assert_eq!(check("2030-01-01T00:00:00Z", "2026-11-21T10:00:01Z"), Err(EventError::BeforeTenant));
}

#[test]
fn a_claim_tells_identities_apart() {
    let claim = Claim::of(b"tenant", "source", "id");
    assert_eq!(claim, Claim::of(b"tenant", "source", "id"));
    for other in [
        Claim::of(b"tenant", "sourcei", "d"),
        Claim::of(b"tenants", "ource", "id"),
        Claim::of(b"tenant", "source", "id2"),
        Claim::of(b"", "tenantsource", "id"),
    ] {
        assert_ne!(claim, other);
    }
    // printf of lengths and parts through sha256sum, computed apart from this code.
    assert_eq!(Claim::of(b"t", "s", "i").to_string(), "d2dea66a55ae0c8fc3482f155eb22d1a");
}

#[test]
fn the_same_content_in_another_spelling_is_a_duplicate() {
    let digest = |data: &str| event(data).content_digest().unwrap();
    assert_eq!(digest(r#"{"a":1,"b":[1.50,"é"]}"#), digest(r#" { "b" : [ 1.5 , "\u00e9" ] , "a" : 1.0 } "#));
    for other in [r#"{"a":1,"b":[1.5]}"#, r#"{"a":"1","b":[1.5,"é"]}"#, r#"{"a":1,"b":["é",1.5]}"#] {
        assert_ne!(digest(r#"{"a":1,"b":[1.5,"é"]}"#), digest(other));
    }
    let later = STAMP.replacen("10:00", "10:01", 1);
    assert_ne!(parse(STAMP).unwrap().content_digest(), parse(&later).unwrap().content_digest());
    let deep = format!("{}{}", "[".repeat(50), "]".repeat(50));
    assert_eq!(event(&deep).content_digest(), Err(EventError::Malformed));
}

#[test]
fn pointers_follow_rfc_6901() {
    let data: Box<RawValue> =
        serde_json::from_str(r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"m~n":8," ":7}"#).unwrap();
    for (pointer, expected) in [
        ("/foo/0", Some("bar")),
        ("/", Some("0")),
        ("/a~1b", Some("1")),
        ("/c%d", Some("2")),
        ("/m~0n", Some("8")),
        ("/ ", Some("7")),
        ("/foo/2", None),
        ("/foo/00", None),
        ("/foo/-", None),
        ("/foo", None),
        ("", None),
        ("/foo/0/x", None),
    ] {
        assert_eq!(
            content::scalar(&data, pointer).map(|scalar| scalar.into_text()).as_deref(),
            expected,
            "{pointer}"
        );
    }
    assert!(!content::is_pointer("foo") && !content::is_pointer("/a~2") && !content::is_pointer("/a~"));
}
