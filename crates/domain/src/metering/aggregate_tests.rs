//! Aggregation: a table of every kind with ties, gaps, stubs and daylight-saving days; and the laws that order does
//! not matter and that parts add up.
use jiff::{Timestamp, tz::TimeZone};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::{
    aggregate::{Event, Span, Value, aggregate},
    meter::{Aggregation, Bucket, Measure, Mode, Resolution},
    quantity::Quantity,
    ratio::Ratio,
    simulate::{SimulateError, Simulated, Simulation, simulate},
};

/// Berlin since 1996, by rule: no zone files are needed.
fn berlin() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

fn run(simulation: Json, zone: TimeZone) -> Result<Simulated, SimulateError> {
    simulate(&serde_json::from_value::<Simulation>(simulation).unwrap(), zone)
}

fn november(meter: Json, level: &str, events: &[(&str, &str, &str)]) -> Simulated {
    let events: Vec<_> = events
        .iter()
        .map(|(id, day, value)| json!({"id": id, "time": format!("2026-11-{day}Z"), "value": value}))
        .collect();
    let period = json!({"from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z", "zone": "UTC"});
    run(json!({"meter": meter, "period": period, "level_at_start": level, "events": events}), TimeZone::UTC)
        .unwrap()
}

#[test]
fn the_published_example_comes_out_to_the_letter() {
    let simulated = november(
        json!({"aggregation": "time_weighted", "mode": "delta"}),
        "0",
        &[("a", "16T00:00:00", "10")],
    );
    assert_eq!(
        serde_json::to_value(&simulated).unwrap(),
        json!({"quantity": "5", "exact": "5", "events": {"counted": 1, "duplicate": 0, "conflict": 0, "outside": 0}, "buckets": [], "level_at_end": "10"})
    );
}

#[test]
fn every_aggregation_with_ties_gaps_and_levels() {
    let events: &[(&str, &str, &str)] = &[
        ("b", "11T00:00:00", "4"),
        ("a", "11T00:00:00", "7"),
        ("c", "21T00:00:00", "1"),
        ("d", "21T00:00:00", "7"),
    ];
    for (meter, level, expected, at_end) in [
        (json!({"aggregation": "count"}), "9", "4", None),
        (json!({"aggregation": "sum"}), "9", "19", None),
        (json!({"aggregation": "max"}), "9", "7", Some("7")),
        (json!({"aggregation": "min"}), "9", "1", Some("7")),
        (json!({"aggregation": "avg"}), "9", "4.75", None),
        (json!({"aggregation": "unique"}), "9", "3", None),
        (json!({"aggregation": "last", "mode": "level"}), "9", "7", Some("7")),
        (json!({"aggregation": "last", "mode": "delta"}), "9", "28", Some("28")),
        (json!({"aggregation": "time_weighted", "mode": "level"}), "9", "20/3", Some("7")),
        (json!({"aggregation": "time_weighted", "mode": "delta"}), "3", "13", Some("22")),
        (
            json!({"aggregation": "sum", "scale": {"divide": "3"}, "round": {"mode": "ceil", "digits": 1}}),
            "0",
            "6.4",
            None,
        ),
        (json!({"aggregation": "sum", "bucket": "day"}), "0", "19", None),
        (json!({"aggregation": "max", "bucket": "day", "carry": true}), "9", "203", Some("7")),
        (json!({"aggregation": "max", "bucket": "day"}), "0", "14", Some("7")),
    ] {
        let simulated = november(meter.clone(), level, events);
        assert_eq!(
            (simulated.exact.to_string().as_str(), simulated.level_at_end.map(|level| level.to_string())),
            (expected, at_end.map(str::to_owned)),
            "{meter}"
        );
    }
    for (aggregation, expected) in [
        ("count", "0"),
        ("sum", "0"),
        ("max", "9"),
        ("min", "9"),
        ("avg", "0"),
        ("unique", "0"),
        ("last", "9"),
        ("time_weighted", "9"),
    ] {
        assert_eq!(
            november(json!({"aggregation": aggregation}), "9", &[]).exact.to_string(),
            expected,
            "{aggregation} without events"
        );
    }
}

#[test]
fn an_event_at_the_border_belongs_to_the_new_period_only() {
    let sum = json!({"aggregation": "sum"});
    let events = [("a", "01T00:00:00", "1"), ("b", "30T23:59:59.999999", "2"), ("c", "30T23:59:59", "4")];
    assert_eq!(november(sum.clone(), "0", &events).quantity.to_string(), "7");
    let outside = json!({"meter": sum, "period": {"from": "2026-11-01T00:00:00Z", "to": "2026-11-30T00:00:00Z"}, "events": [{"id": "a", "time": "2026-11-30T00:00:00Z", "value": "1"}]});
    let simulated = run(outside, TimeZone::UTC).unwrap();
    assert_eq!((simulated.events.outside, simulated.quantity), (1, Quantity::ZERO));
}

#[test]
fn repeats_are_duplicates_and_other_content_a_conflict() {
    let simulated = november(
        json!({"aggregation": "sum"}),
        "0",
        &[
            ("a", "02T00:00:00", "1"),
            ("a", "02T00:00:00", "1.0"),
            ("a", "02T00:00:00", "2"),
            ("b", "02T00:00:00", "1"),
        ],
    );
    assert_eq!(
        serde_json::to_value(simulated.events).unwrap(),
        json!({"counted": 2, "duplicate": 1, "conflict": 1, "outside": 0})
    );
    assert_eq!(simulated.quantity.to_string(), "2");
}

#[test]
fn levels_may_fall_and_values_may_not() {
    assert_eq!(
        november(json!({"aggregation": "last"}), "9", &[("a", "02T00:00:00", "-4")]).quantity.to_string(),
        "5"
    );
    let refused = |meter: Json| {
        run(
            json!({"meter": meter, "period": {"from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z"}, "events": [{"id": "a", "time": "2026-11-02T00:00:00Z", "value": "-1"}]}),
            TimeZone::UTC,
        )
    };
    assert_eq!(refused(json!({"aggregation": "sum"})), Err(SimulateError::BadValue(0)));
    assert_eq!(refused(json!({"aggregation": "last", "mode": "level"})), Err(SimulateError::BadValue(0)));
    assert_eq!(refused(json!({"aggregation": "sum", "negative": true})).unwrap().quantity.to_string(), "-1");
}

#[test]
fn a_stub_is_weighed_against_its_whole_period() {
    let stub = json!({"meter": {"aggregation": "time_weighted", "mode": "level"}, "level_at_start": "10", "events": [],
        "period": {"from": "2026-11-01T00:00:00Z", "to": "2026-11-16T00:00:00Z", "whole": {"from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z"}}});
    assert_eq!(run(stub.clone(), TimeZone::UTC).unwrap().quantity.to_string(), "5");
    let mut backwards = stub.clone();
    backwards["period"]["from"] = json!("2026-10-31T00:00:00Z");
    assert_eq!(run(backwards, TimeZone::UTC), Err(SimulateError::Period));
    let mut empty = stub;
    empty["period"]["to"] = json!("2026-11-01T00:00:00Z");
    assert_eq!(run(empty, TimeZone::UTC), Err(SimulateError::Period));
}

#[test]
fn days_are_those_of_the_zone_on_clock_changes_too() {
    // 24 hours of the day of 25 October 2026 in Berlin are 25; of 29 March, 23.
    let day = |from: &str, to: &str, meter: Json, events: Json| {
        run(json!({"meter": meter, "period": {"from": from, "to": to}, "events": events}), berlin()).unwrap()
    };
    let hours = |from: &str, to: &str| {
        let from: Timestamp = from.parse().unwrap();
        let to: Timestamp = to.parse().unwrap();
        let mut events = Vec::new();
        let mut at = from;
        while at < to {
            events.push(json!({"id": at.to_string(), "time": at.to_string(), "value": "1"}));
            at = at.checked_add(jiff::SignedDuration::from_mins(30)).unwrap();
        }
        json!(events)
    };
    let (from, to) = ("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z");
    let sum = day(from, to, json!({"aggregation": "sum", "bucket": "day"}), hours(from, to));
    assert_eq!((sum.buckets.len(), sum.quantity.to_string().as_str()), (1, "50"));
    let sum = day(from, to, json!({"aggregation": "max", "bucket": "hour"}), hours(from, to));
    assert_eq!((sum.buckets.len(), sum.quantity.to_string().as_str()), (25, "25"));
    let (from, to) = ("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z");
    let max = day(from, to, json!({"aggregation": "max", "bucket": "hour"}), hours(from, to));
    assert_eq!(max.buckets.len(), 23);
}

#[test]
fn a_day_counts_whole_with_its_highest_level() {
    let simulated = november(
        json!({"aggregation": "time_weighted", "mode": "level", "resolution": "day"}),
        "1",
        &[("a", "10T12:00:00", "31"), ("b", "10T13:00:00", "1")],
    );
    assert_eq!(simulated.exact.to_string(), "2", "(29 × 1 + 31) ÷ 30");
}

#[test]
fn bounds_are_kept() {
    let many: Vec<_> = (0..10_001)
        .map(|n| json!({"id": n.to_string(), "time": "2026-11-02T00:00:00Z", "value": "1"}))
        .collect();
    let period = json!({"from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z"});
    assert_eq!(
        run(json!({"meter": {}, "period": period, "events": many}), TimeZone::UTC),
        Err(SimulateError::TooLarge)
    );
    let years = json!({"from": "2020-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z"});
    assert_eq!(
        run(json!({"meter": {"bucket": "hour"}, "period": years, "events": []}), TimeZone::UTC),
        Err(SimulateError::TooLarge)
    );
    let most = json!([{"id": "a", "time": "2026-11-02T00:00:00Z", "value": "99999999999999999999"}, {"id": "b", "time": "2026-11-02T00:00:00Z", "value": "99999999999999999999"}]);
    assert_eq!(
        run(json!({"meter": {}, "period": period, "events": most}), TimeZone::UTC),
        Err(SimulateError::OutOfRange)
    );
    assert!(matches!(
        run(json!({"meter": {"carry": true}, "period": period, "events": []}), TimeZone::UTC),
        Err(SimulateError::Meter(_))
    ));
}

const DAY_US: i64 = 86_400_000_000;

fn instant(us: i64) -> Timestamp {
    Timestamp::from_microsecond(1_790_000_000_000_000 + us).unwrap()
}

fn measures() -> impl Strategy<Value = Measure> {
    use Aggregation::*;
    let aggregation = prop::sample::select(vec![Count, Sum, Max, Min, Avg, Unique, Last, TimeWeighted]);
    let bucket = prop::option::of(prop::sample::select(vec![Bucket::Hour, Bucket::Day]));
    (aggregation, any::<bool>(), bucket, any::<bool>()).prop_map(|(aggregation, level, bucket, days)| {
        Measure {
            aggregation,
            mode: if level { Mode::Level } else { Mode::Delta },
            resolution: if days && aggregation == TimeWeighted { Resolution::Day } else { Resolution::Exact },
            bucket: bucket.filter(|_| !days),
            negative: true,
            ..Measure::default()
        }
    })
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec((0i64..12, -50i128..50), 0..30).prop_map(|raw| {
        (0..)
            .zip(raw)
            .map(|(id, (step, value)): (u32, _)| Event {
                at: instant(step * DAY_US / 4),
                id: format!("{id:03}"),
                value: Value::Number(Quantity::from_integer(value).unwrap()),
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn order_of_arrival_never_matters(measure in measures(), events in events(), seed in any::<u64>()) {
        let span = Span { from: instant(0), to: instant(2 * DAY_US), whole: (instant(0), instant(3 * DAY_US)), zone: berlin() };
        let level = Ratio::from_integer(5);
        let mut shuffled = events.clone();
        shuffled.sort_by_key(|event| (event.id.as_bytes()[2] as u64).wrapping_mul(seed | 1).rotate_left(7) ^ seed);
        prop_assert_eq!(aggregate(&measure, &span, &level, &events), aggregate(&measure, &span, &level, &shuffled));
    }

    #[test]
    fn parts_of_a_period_add_up(events in events(), cut in 1i64..12, aggregation in 0usize..3, level_mode in any::<bool>()) {
        let aggregation = [Aggregation::Count, Aggregation::Sum, Aggregation::TimeWeighted][aggregation];
        let measure = Measure { aggregation, mode: if level_mode { Mode::Level } else { Mode::Delta }, negative: true, ..Measure::default() };
        let (from, middle, to) = (instant(0), instant(cut * DAY_US / 4), instant(3 * DAY_US));
        let part = |from, to, level: &Ratio| aggregate(&measure, &Span { from, to, whole: (instant(0), instant(3 * DAY_US)), zone: TimeZone::UTC }, level, &events);
        let start = Ratio::from_integer(5);
        let whole = part(from, to, &start);
        let first = part(from, middle, &start);
        let second = part(middle, to, &first.level_at_end.clone().unwrap_or_default());
        prop_assert_eq!(first.raw + second.raw, whole.raw);
        prop_assert_eq!(second.level_at_end, whole.level_at_end);
    }
}
