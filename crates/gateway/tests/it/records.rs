//! One record per request, whatever became of it.

use rowhouse_journal::{Class, Fault, Outcome, PrincipalKind, Protocol};

use crate::directory::ACME;
use crate::stage::{NOON_US, Stage};

#[test]
fn a_served_request_leaves_everything_that_was_decided() {
    let stage = Stage::start();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer = stage.ask("GET", "/v1/stamps/st-1?secret=1").header("traceparent", trace).send();
    let seen = answer.json();
    let recorded = stage.record();
    assert_eq!(recorded.class, Class::R);
    let record = recorded.record();
    assert_eq!(record.tenant, Some(ACME.as_u128()));
    assert_eq!((record.principal_kind, record.principal), (PrincipalKind::ApiKey, Some(1000)));
    assert_eq!(Some(record.api_key), stage.acme.rsplit('_').next().map(|body| &body[..10]));
    assert_eq!((record.service, record.route), ("stamping", "stamps.one"));
    assert_eq!(record.endpoint, "GET /v1/stamps/{stamp_id}", "never the raw path");
    assert_eq!(record.upstream, stage.upstream.address.to_string());
    assert_eq!((record.protocol, record.method, record.status), (Protocol::Http1, "GET", 200));
    assert_eq!((record.outcome, record.fault, record.refusal), (Outcome::Served, Fault::None, ""));
    assert_eq!((record.permission, record.directory_version), ("stamp:read", 1));
    assert_eq!((record.started_at_us, record.clock_stepped), (NOON_US, false));
    assert_eq!(record.bytes_out, answer.body.len() as u64);
    assert_eq!((record.client_ip, record.user_agent, record.region), ("127.0.0.1", "", "local"));
    assert_eq!(record.trace_id, Some(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736));
    assert!(record.upstream_us <= record.duration_us);
    assert_eq!(record.audit, None);
    assert!(seen["headers"].to_string().contains(trace), "passed on as it came");
}

#[test]
fn a_requests_id_is_the_same_everywhere() {
    let stage = Stage::start();
    let own = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
    let answer = stage.ask("GET", "/v1/stamps").header("X-Request-Id", own).send();
    assert_eq!(answer.header("x-request-id"), Some(own));
    assert!(answer.json()["headers"].to_string().contains(own), "the service gets it too");
    assert_eq!(stage.record().record().request_id, uuid::Uuid::parse_str(own).unwrap().as_u128());

    let other = stage.ask("GET", "/v1/stamps").header("X-Request-Id", "nonsense").send();
    let made = uuid::Uuid::parse_str(other.header("x-request-id").unwrap()).unwrap();
    assert_eq!(made.get_version_num(), 7);
    let headers = other.json()["headers"].to_string();
    assert!(
        headers.contains(&format!("00-{}-", made.simple())),
        "a new trace takes the request's id: {headers}"
    );
    let traced = |recorded: &crate::stage::Recorded| recorded.record().trace_id == Some(made.as_u128());
    assert!(stage.records(2).iter().any(traced));
}

#[test]
fn a_refusal_is_recorded_with_its_code_before_it_is_answered() {
    let stage = Stage::start();
    let rows = [
        (stage.bare("GET", "/v1/stamps").host("nobody.example.test"), "identity.no_credentials"),
        (stage.bare("GET", "/v1/stamps").host("acme.example.test").key("x"), "keys.invalid"),
        (stage.ask("GET", "/v9"), "routes.no_match"),
        (stage.bare("GET", "/v1/%00").host("acme.example.test"), "routes.malformed_request"),
    ];
    for (number, (ask, code)) in rows.into_iter().enumerate() {
        let answer = ask.send();
        let problem = answer.json();
        assert_eq!(problem["code"], code);
        assert_eq!(problem["type"], format!("https://docs.example.test/docs/errors/{code}"));
        assert!(problem["request_id"].as_str().unwrap().starts_with("request_"));
        // It can be read as soon as the answer is there.
        let records = stage.records(0);
        assert_eq!(records.len(), number + 1);
        let recorded = records.iter().find(|recorded| recorded.record().refusal == code).unwrap();
        let record = recorded.record();
        assert_eq!((record.outcome, record.fault), (Outcome::Refused, Fault::Caller));
        assert_eq!((record.status, record.bytes_out), (answer.status, answer.body.len() as u64));
    }
}

#[test]
fn a_served_request_is_recorded_before_its_last_byte_leaves() {
    let stage = Stage::start();
    for path in ["/v1/stamps", "/v1/work/chunked", "/v1/work/large"] {
        let before = stage.records(0).len();
        assert_eq!(stage.ask("GET", path).send().status, 200);
        assert_eq!(stage.records(0).len(), before + 1, "{path}");
    }
}

#[test]
fn metrics_add_up_to_the_records() {
    let stage = Stage::start();
    for _ in 0..3 {
        assert_eq!(stage.ask("GET", "/v1/stamps").send().status, 200);
    }
    assert_eq!(stage.ask("GET", "/v9").send().status, 404);
    let metrics = stage.gateway.as_ref().unwrap().metrics();
    assert_eq!(metrics.by_outcome[0], ("served", 3));
    assert_eq!(metrics.by_outcome[1], ("refused", 1));
    assert_eq!(metrics.by_status_class, [0, 3, 0, 1, 0]);
    assert_eq!(metrics.refusals, [("routes.no_match", 1)]);
    assert_eq!(metrics.duration.counts.iter().sum::<u64>(), 4);
    assert_eq!(metrics.upstream.counts.iter().sum::<u64>(), 3);
    assert_eq!(metrics.records_lost, 0);
}

#[test]
fn a_clock_that_steps_back_is_recorded_as_such() {
    let stage = Stage::configured(|config| config.cores = 1, |_| {});
    assert_eq!(stage.ask("GET", "/v1/stamps").send().status, 200);
    stage.hand.advance_us(-5_000_000);
    assert_eq!(stage.ask("GET", "/v1/stamps").send().status, 200);
    let records = stage.records(2);
    assert!(!records[0].record().clock_stepped);
    assert!(records[1].record().clock_stepped);
    assert_eq!(records[1].record().started_at_us, NOON_US);
}
