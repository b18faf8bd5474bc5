//! Reported usage: taken when it is durable, counted once for ever, told apart when it is not counted.

use http::Request;
use http_body_util::Full;
use rowhouse_control::metering::INGESTION_LANE;
use serde_json::{Value, json};

use crate::metering::{A, B, Running, platform};
use crate::platform::{Platform, START_US};

fn event(id: &str, quantity: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "stamping", "type": "stamp_created",
        "time": "2026-11-21T09:59:59.9999999Z", "data": {"quantity": quantity, "note": "\u{0} is kept"}})
}

async fn post(
    platform: &Platform,
    key: &str,
    path: &str,
    body: &Value,
    prefer: Option<&str>,
) -> (u16, Value) {
    let mut request = Request::builder()
        .method("POST")
        .uri(path)
        .header("host", "control.test")
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", "application/json");
    if let Some(prefer) = prefer {
        request = request.header("prefer", prefer);
    }
    platform.send(request.body(Full::from(body.to_string())).expect("a request")).await
}

async fn reported(platform: &Platform, key: &str, body: Value) -> Value {
    let (status, answer) = post(platform, key, "/v1/usage/events", &body, Some("wait=20")).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_counts_once_however_often_it_is_sent() {
    let platform = platform().await;
    let (_, key) = platform.tenant(A, "acme", &["usage:read", "usage:create"]);
    let running = Running::start(&platform);
    let batch = json!([event("a", "1"), event("b", "2.5"), event("a", "1"), event("a", "7")]);
    let first = reported(&platform, &key, batch.clone()).await;
    assert_eq!(
        (&first["counted"], &first["duplicate"], &first["conflict"]),
        (&json!(2), &json!(1), &json!(1))
    );
    assert_eq!(first["results"][0], json!({"index": 0, "id": "a", "state": "counted"}));
    assert_eq!(first["results"][3], json!({"index": 3, "id": "a", "state": "conflict"}));

    // Three times at once, and again under a worker that was started anew.
    let (one, two, three) = tokio::join!(
        reported(&platform, &key, batch.clone()),
        reported(&platform, &key, batch.clone()),
        reported(&platform, &key, batch.clone())
    );
    for again in [one, two, three] {
        assert_eq!(
            (&again["counted"], &again["duplicate"], &again["conflict"]),
            (&json!(0), &json!(3), &json!(1))
        );
    }
    running.stop().await;
    let running = Running::start(&platform);
    assert_eq!(reported(&platform, &key, event("b", "2.5")).await["duplicate"], 1);
    // And read again from the beginning of the lane.
    running.stop().await;
    platform.execute("DELETE FROM journal.positions").await;
    let running = Running::start(&platform);
    assert_eq!(reported(&platform, &key, event("c", "1")).await["counted"], 1);
    running.stop().await;

    let span = "meter=stamps_created&from=2026-11-21T09:00:00Z&to=2026-11-21T10:00:00Z";
    let usage = platform.get(&key, &format!("/v1/usage?{span}")).await;
    assert_eq!((&usage["total"]["quantity"], &usage["total"]["events"]), (&json!("4.5"), &json!(3)));
    let explained = platform.get(&key, &format!("/v1/usage/explain?{span}")).await;
    assert_eq!(explained["events"].as_array().map(Vec::len), Some(3));
    assert_eq!(explained["events"][0]["source"], "stamping");
    let reasons = explained["left_out"].as_array().expect("a list");
    let count = |reason: &str| reasons.iter().filter(|event| event["reason"] == reason).count();
    assert_eq!((count("duplicate"), count("conflict")), (11, 4), "{explained}");
    assert_eq!(platform.ask("SELECT count(*) FROM journal.quarantine").await, "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_is_counted_after_a_restart() {
    let platform = platform().await;
    let (_, key) = platform.tenant(A, "acme", &["usage:read", "usage:create"]);
    // Nobody projects: the answer promises, it does not wait.
    let (status, taken) =
        post(&platform, &key, "/v1/usage/events", &json!([event("a", "3"), event("b", "4")]), None).await;
    assert_eq!((status, &taken["accepted"]), (202, &json!(2)), "{taken}");
    let position = taken["position"].as_str().expect("a position").to_owned();
    assert!(position.starts_with(&format!("n1.{INGESTION_LANE}.")), "{position}");
    let (status, waited) = post(&platform, &key, "/v1/usage/events", &event("c", "5"), Some("wait=0")).await;
    assert_eq!((status, &waited["accepted"]), (202, &json!(1)), "the wait is over: {waited}");

    let running = Running::start(&platform);
    assert_eq!(reported(&platform, &key, event("d", "6")).await["counted"], 1);
    running.stop().await;
    let usage = platform.get(&key, "/v1/usage?meter=stamps_created").await;
    assert_eq!((&usage["total"]["quantity"], &usage["total"]["events"]), (&json!("18"), &json!(4)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_id_of_two_tenants_are_two_events_and_the_operator_names_whose() {
    let platform = platform().await;
    let (_, acme) = platform.tenant(A, "acme", &["usage:read", "usage:create"]);
    let (bolt_id, bolt) = platform.tenant(B, "bolt", &["usage:read"]);
    let operator = platform.operator();
    let running = Running::start(&platform);
    let of = |subject: &str| {
        let mut event = event("a", "1");
        event["subject"] = subject.into();
        event
    };
    reported(&platform, &acme, event("a", "1")).await;
    let batch = json!([of("bolt"), of(&bolt_id.to_string()), of("acme"), of("nobody"), event("a", "1")]);
    let answer = reported(&platform, &operator, batch).await;
    assert_eq!((&answer["counted"], &answer["duplicate"]), (&json!(1), &json!(2)), "{answer}");
    assert_eq!(answer["rejected"][0]["code"], "metering.unknown_tenant");
    assert_eq!(answer["rejected"][1]["code"], "metering.unknown_tenant");
    for key in [&acme, &bolt] {
        let usage = platform.get(key, "/v1/usage?meter=stamps_created").await;
        assert_eq!(usage["total"]["quantity"], "1");
    }
    // A tenant reports for itself alone.
    let (status, problem) = post(&platform, &acme, "/v1/usage/events", &of("bolt"), None).await;
    assert_eq!(
        (status, &problem["code"], &problem["errors"][0]["code"]),
        (422, &json!("metering.rejected"), &json!("unknown_tenant"))
    );
    let (status, problem) = post(&platform, &bolt, "/v1/usage/events", &event("z", "1"), None).await;
    assert_eq!((status, &problem["code"]), (403, &json!("access.denied")));
    let (status, problem) =
        post(&platform, &acme, "/v1/usage/events?tenant=bolt", &event("z", "1"), None).await;
    assert_eq!((status, &problem["code"]), (404, &json!("api.not_found")));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_events_are_refused_one_by_one_and_bad_bodies_whole() {
    let platform = platform().await;
    let (_, key) = platform.tenant(A, "acme", &["usage:read", "usage:create"]);
    let with = |field: &str, value: Value| {
        let mut event = event("x", "1");
        event[field] = value;
        event
    };
    let batch = json!([
        with("type", json!("unheard_of")),
        with("data", json!({"quantity": "1e400"})),
        with("data", json!({"quantity": "0.0000000000001"})),
        with("data", json!({"quantity": "-1"})),
        with("data", json!({})),
        with("time", json!("2026-11-21T10:05:01Z")),
        with("time", json!("1969-12-31T23:59:59Z")),
        with("specversion", json!("0.3")),
        event("good", "1"),
    ]);
    let (status, taken) = post(&platform, &key, "/v1/usage/events", &batch, None).await;
    assert_eq!((status, &taken["accepted"]), (202, &json!(1)), "{taken}");
    let codes: Vec<&str> = taken["rejected"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["code"].as_str().expect("a code"))
        .collect();
    assert_eq!(
        codes,
        [
            "metering.unknown_type",
            "metering.bad_value",
            "metering.bad_value",
            "metering.negative_value",
            "metering.bad_value",
            "metering.time_in_future",
            "metering.before_tenant",
            "metering.malformed"
        ]
    );
    let (status, problem) = post(&platform, &key, "/v1/usage/events?atomic=true", &batch, None).await;
    assert_eq!((status, &problem["code"]), (422, &json!("metering.rejected")));
    let many: Vec<Value> = (0..1_001).map(|n| event(&n.to_string(), "1")).collect();
    for (body, status, code) in [
        (json!([]), 400, "metering.malformed"),
        (json!("text"), 422, "metering.rejected"),
        (json!(many), 413, "api.too_large"),
        (json!("x".repeat(5 * 1024 * 1024)), 413, "api.too_large"),
    ] {
        let (found, problem) = post(&platform, &key, "/v1/usage/events", &body, None).await;
        assert_eq!((found, problem["code"].as_str()), (status, Some(code)));
    }
    let running = Running::start(&platform);
    reported(&platform, &key, event("good", "1")).await;
    running.stop().await;
    let usage = platform.get(&key, "/v1/usage?meter=stamps_created").await;
    assert_eq!(usage["total"]["quantity"], "1", "only the good one, once");
    assert_eq!(platform.control.clock().now_us(), START_US);
}
