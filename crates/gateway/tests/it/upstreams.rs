//! Copies of services: which one is asked, and what happens if it does not answer.

use std::net::TcpListener;

use rowhouse_journal::{Fault, Outcome};

use crate::directory::ACME;
use crate::stage::Stage;
use crate::upstream::Upstream;

/// An address where nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn copies_take_turns() {
    let second = Upstream::start("second");
    let stage = Stage::configured(
        |config| config.cores = 1,
        |plan| plan.services[0].upstreams.push(second.address.to_string()),
    );
    let names: Vec<String> = (0..4)
        .map(|_| stage.ask("GET", "/v1/stamps").send().json()["upstream"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["shared", "second", "shared", "second"]);
}

#[test]
fn a_tenants_own_copies_win() {
    let own = Upstream::start("own");
    let stage = Stage::with(|plan| {
        let address = own.address.to_string();
        plan.tenant_mut(ACME).upstreams = vec![(0, vec![address.as_str().into()])];
    });
    assert_eq!(stage.ask("GET", "/v1/stamps").send().json()["upstream"], "own");
    let bolt = stage.bare("GET", "/v1/stamps").host("bolt.example.test").key(&stage.bolt).send();
    assert_eq!(bolt.json()["upstream"], "shared");
}

#[test]
fn a_copy_that_is_gone_is_passed_over() {
    let stage = Stage::with(|plan| plan.services[0].upstreams.insert(0, nobody()));
    for _ in 0..4 {
        assert_eq!(stage.ask("POST", "/v1/stamps").body("once").send().json()["body"], "once");
    }
    assert_eq!(stage.upstream.count(), 4);
}

#[test]
fn no_copy_at_all() {
    let mut stage = Stage::with(|plan| plan.services[0].upstreams = vec![nobody(), nobody()]);
    let refused = stage.ask("GET", "/v1/stamps").send();
    assert_eq!(refused.refusal(), (503, "routes.no_upstream".to_owned()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    stage.publish(|plan| plan.services[0].upstreams.clear());
    assert_eq!(stage.ask("GET", "/v1/stamps").send().refusal(), (503, "routes.no_upstream".to_owned()));
    for recorded in stage.records(2) {
        let record = recorded.record();
        assert_eq!((record.outcome, record.fault), (Outcome::UpstreamFailed, Fault::Upstream));
    }
}

#[test]
fn a_copy_that_answers_nonsense_or_hangs_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let broken = std::thread::spawn(move || {
        for answer in ["nonsense\r\n\r\n", ""] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 4096];
            let _ = std::io::Read::read(&mut stream, &mut buffer);
            let _ = std::io::Write::write_all(&mut stream, answer.as_bytes());
        }
    });
    let stage = Stage::with(|plan| plan.services[0].upstreams = vec![address]);
    for _ in 0..2 {
        let refused = stage.ask("POST", "/v1/stamps").send();
        assert_eq!(refused.refusal(), (502, "routes.upstream_failed".to_owned()));
    }
    broken.join().unwrap();
    assert!(stage.records(2).iter().all(|recorded| recorded.record().usage.is_empty()));
}

#[test]
fn a_slow_copy_is_given_up() {
    let mut stage = Stage::with(|plan| plan.services[0].first_byte_timeout_ms = 50);
    let refused = stage.ask("GET", "/v1/work/wait").send();
    assert_eq!(refused.refusal(), (504, "routes.upstream_timeout".to_owned()));
    stage.publish(|plan| {
        plan.services[0].first_byte_timeout_ms = 10_000;
        plan.route_mut("work").timeout_ms = Some(50);
    });
    assert_eq!(stage.ask("GET", "/v1/work/wait").send().status, 504, "the route's own time is shorter");
    assert_eq!(stage.records(2)[0].record().fault, Fault::Upstream);
    assert_eq!(stage.ask("GET", "/v1/stamps").send().status, 200);
}

#[test]
fn an_answer_that_breaks_off_reaches_the_client_as_such() {
    let stage = Stage::start();
    let mut wire = stage.wire();
    wire.write(format!(
        "GET /v1/work/broken HTTP/1.1\r\nHost: acme.example.test\r\nAuthorization: Bearer {}\r\n\r\n",
        stage.acme
    ));
    let all = String::from_utf8(wire.rest()).unwrap();
    assert!(all.starts_with("HTTP/1.1 200") && !all.ends_with("0\r\n\r\n"), "{all}");
    let recorded = stage.record();
    let record = recorded.record();
    assert_eq!(
        (record.outcome, record.fault, record.status),
        (Outcome::UpstreamFailed, Fault::Upstream, 200)
    );
}

#[test]
fn connections_are_used_again() {
    let stage = Stage::configured(|config| config.cores = 1, |_| {});
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let counted = std::thread::spawn(move || {
        // One connection, three requests; a second connection would never be accepted.
        let (mut stream, _) = listener.accept().unwrap();
        for _ in 0..3 {
            let mut seen = Vec::new();
            while !seen.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                std::io::Read::read_exact(&mut stream, &mut byte).unwrap();
                seen.push(byte[0]);
            }
            std::io::Write::write_all(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .unwrap();
        }
    });
    let mut stage = stage;
    stage.publish(|plan| plan.services[0].upstreams = vec![address]);
    for _ in 0..3 {
        assert_eq!(stage.ask("GET", "/v1/stamps").send().text(), "ok");
    }
    counted.join().unwrap();
}

#[test]
fn a_service_of_http_1_0_is_answered_in_our_version() {
    let mut stage = Stage::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            std::io::Read::read_exact(&mut stream, &mut byte).unwrap();
            seen.push(byte[0]);
        }
        std::io::Write::write_all(&mut stream, b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
    });
    stage.publish(|plan| plan.services[0].upstreams = vec![address]);
    let mut wire = stage.wire();
    wire.write(format!(
        "GET /v1/stamps HTTP/1.1\r\nHost: acme.example.test\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        stage.acme
    ));
    let all = String::from_utf8(wire.rest()).unwrap();
    assert!(all.starts_with("HTTP/1.1 200") && all.ends_with("ok"), "{all}");
    served.join().unwrap();
}

/// A service of its own making: answers each connection's requests with what `answer` says, for ever.
fn service(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let (mut seen, mut byte) = (Vec::new(), [0]);
                while std::io::Read::read_exact(&mut stream, &mut byte).is_ok() {
                    seen.push(byte[0]);
                    if seen.ends_with(b"\r\n\r\n") {
                        seen.clear();
                        let _ = std::io::Write::write_all(&mut stream, answer.as_bytes());
                        if answer.is_empty() {
                            return;
                        }
                    }
                }
            });
        }
    });
    address
}

const UNAVAILABLE: &str = "HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy";

#[test]
fn what_can_be_repeated_is_sent_to_another_copy() {
    for answer in [UNAVAILABLE, ""] {
        let failing = service(answer);
        let stage = Stage::configured(
            |config| config.cores = 1,
            |plan| plan.services[0].upstreams.insert(0, failing),
        );
        for _ in 0..4 {
            assert_eq!(stage.ask("GET", "/v1/stamps").send().json()["upstream"], "shared", "{answer:?}");
        }
        let once = stage.ask("POST", "/v1/stamps").send();
        let expected = if answer.is_empty() { 502 } else { 503 };
        assert_eq!(once.status, expected, "what may have been done is not done twice");
    }
}

#[test]
fn a_copy_that_fails_again_and_again_is_left_out_for_a_while() {
    let failing = service(UNAVAILABLE);
    let stage = Stage::configured(|config| config.cores = 1, |plan| plan.services[0].upstreams.push(failing));
    let statuses = |count: usize| -> Vec<u16> {
        (0..count).map(|_| stage.ask("POST", "/v1/stamps").send().status).collect()
    };
    assert_eq!(statuses(10).iter().filter(|status| **status == 503).count(), 5);
    assert_eq!(statuses(6), [200; 6], "it is not asked");
    stage.hand.advance_us(10_000_000);
    assert_eq!(statuses(2).iter().filter(|status| **status == 503).count(), 1, "tried again");
    assert_eq!(statuses(6), [200; 6], "and left out for longer");
}

#[test]
fn a_service_that_fails_is_left_alone_and_tried_carefully() {
    let failing = service(UNAVAILABLE);
    let mut stage =
        Stage::configured(|config| config.cores = 1, |plan| plan.services[0].upstreams = vec![failing]);
    for _ in 0..20 {
        assert_eq!(stage.ask("POST", "/v1/stamps").send().text(), "busy");
    }
    let refused = stage.ask("GET", "/v1/stamps").send();
    assert_eq!(refused.refusal(), (503, "routes.circuit_open".to_owned()));
    assert!(refused.header("retry-after").is_some());
    let well = vec![stage.upstream.address.to_string()];
    stage.publish(|plan| plan.services[0].upstreams = well);
    assert_eq!(
        stage.ask("GET", "/v1/stamps").send().status,
        503,
        "a new version of the directory changes nothing"
    );
    stage.hand.advance_us(5_000_000);
    for _ in 0..5 {
        assert_eq!(stage.ask("GET", "/v1/stamps").send().status, 200);
    }
}
