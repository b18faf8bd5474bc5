//! Meters: the shipped ones, and every rule with its pointer.
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{catalogue::default_meters, meter::MeterDraft};

#[test]
fn the_shipped_meters_keep_the_rules() {
    let meters: Vec<_> = default_meters().iter().map(|draft| draft.meter().unwrap()).collect();
    let names: Vec<_> = meters.iter().map(|meter| meter.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "hash_operations",
            "stamps_created",
            "api_calls",
            "storage_gb",
            "bandwidth_gb",
            "transactions",
            "users",
            "locations"
        ]
    );
    for draft in default_meters() {
        let text = serde_json::to_string(&draft).unwrap();
        assert_eq!(serde_json::from_str::<MeterDraft>(&text).unwrap(), draft, "{text}");
    }
    let none = BTreeMap::new();
    let takers =
        |event_type: &str| meters.iter().filter(|meter| meter.matches_event(event_type, &none)).count();
    assert_eq!(
        (takers("stamp_created"), takers("storage_gb"), takers("api_call"), takers("stamp")),
        (1, 1, 0, 0)
    );
}

#[test]
fn every_mistake_has_its_pointer() {
    let sound = json!({"name": "m", "unit": "u", "match": {"types": ["t"]}});
    let with = |field: &str, value: Value| {
        let mut meter = sound.clone();
        meter[field] = value;
        meter
    };
    assert!(serde_json::from_value::<MeterDraft>(sound.clone()).unwrap().meter().is_ok());
    for (meter, pointer) in [
        (with("name", json!("M")), "/name"),
        (with("name", json!("m".repeat(64))), "/name"),
        (with("unit", json!("")), "/unit"),
        (with("unit_code", json!("c62")), "/unit_code"),
        (with("match", json!({})), "/match/types"),
        (with("match", json!({"types": ["t", "t"]})), "/match/types"),
        (with("match", json!({"types": ["t"], "status_class": 6})), "/match/status_class"),
        (with("match", json!({"types": ["t"], "dimensions": {"region": "eu"}})), "/match/dimensions"),
        (with("mode", json!("level")), "/mode"),
        (with("carry", json!(true)), "/carry"),
        (with("resolution", json!("day")), "/resolution"),
        (with("scale", json!({"divide": "0"})), "/scale"),
        (with("round", json!({"mode": "ceil", "digits": 13})), "/round/digits"),
        (with("value", json!([])), "/value"),
        (with("value", json!("quantity")), "/value"),
        (with("value", json!(["/a", "/b", "/c", "/d", "/e"])), "/value"),
        (with("dimensions", json!({"region": "region"})), "/dimensions"),
    ] {
        let problems = serde_json::from_value::<MeterDraft>(meter.clone()).unwrap().meter().unwrap_err();
        assert_eq!(
            problems.iter().map(|problem| problem.pointer.as_str()).collect::<Vec<_>>(),
            [pointer],
            "{meter}"
        );
    }
    let unique = json!({"name": "m", "unit": "u", "match": {"types": ["t"]}, "aggregation": "unique", "value": {"constant": "1"}});
    assert_eq!(
        serde_json::from_value::<MeterDraft>(unique).unwrap().meter().unwrap_err()[0].pointer,
        "/value"
    );
    assert!(serde_json::from_value::<MeterDraft>(with("agregation", json!("sum"))).is_err());
}
