//! Bodies: streamed both ways, counted, bounded.

use std::time::Duration;

use rowhouse_journal::{Fault, Outcome};

use crate::stage::Stage;

#[test]
fn bodies_pass_in_both_framings_and_are_counted() {
    let stage = Stage::start();
    let answer = stage.ask("POST", "/v1/work/a").body("hello").send();
    assert_eq!(answer.json()["body"], "hello");
    let mut wire = stage.wire();
    wire.write(format!(
        "POST /v1/work/chunked HTTP/1.1\r\nHost: acme.example.test\r\nAuthorization: Bearer {}\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
        stage.acme
    ));
    wire.write("5\r\nhello\r\n").write("6\r\n world\r\n").write("0\r\n\r\n");
    let chunked = wire.answer();
    assert_eq!(chunked.json()["body"], "hello world");
    let records = stage.records(2);
    let mut bytes: Vec<_> = records.iter().map(|r| (r.record().bytes_in, r.record().bytes_out)).collect();
    bytes.sort_unstable();
    assert_eq!(bytes, [(5, answer.body.len() as u64), (11, chunked.body.len() as u64)]);
}

#[test]
fn a_body_beyond_the_routes_bound_is_refused() {
    let stage = Stage::start();
    let said = stage.ask("POST", "/v1/work/a").header("Content-Length", 100_001).send();
    assert_eq!(said.refusal(), (413, "routes.body_too_large".to_owned()));
    assert_eq!(stage.upstream.count(), 0, "refused before anything was read");

    let mut wire = stage.wire();
    wire.write(format!(
        "POST /v1/work/a HTTP/1.1\r\nHost: acme.example.test\r\nAuthorization: Bearer {}\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
        stage.acme
    ));
    let piece = [b"4e20\r\n".as_slice(), &[b'x'; 20_000], b"\r\n"].concat();
    while wire.try_write(&piece) {}
    let answer = wire.answer();
    assert_eq!(answer.refusal(), (413, "routes.body_too_large".to_owned()));
    let exactly = stage.ask("POST", "/v1/work/a").body(vec![b'x'; 100_000]).send();
    assert_eq!(exactly.status, 200);
}

#[test]
fn a_body_that_is_framed_wrongly_is_the_clients_fault() {
    let stage = Stage::with(|plan| plan.services[0].first_byte_timeout_ms = 50);
    let mut wire = stage.wire();
    wire.write(format!(
        "POST /v1/work/a HTTP/1.1\r\nHost: acme.example.test\r\nAuthorization: Bearer {}\r\n\
         Transfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        stage.acme
    ));
    let answer = wire.answer();
    assert_eq!(answer.refusal(), (400, "routes.malformed_request".to_owned()));
    assert_eq!(stage.record().record().fault, Fault::Caller);
}

#[test]
fn a_body_that_comes_too_slowly_is_not_waited_for() {
    let stage = Stage::configured(|config| config.body_grace = Duration::from_millis(50), |_| {});
    for framing in ["Content-Length: 1000\r\n\r\nx", "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"] {
        let mut wire = stage.wire();
        wire.write(format!(
            "POST /v1/work/a HTTP/1.1\r\nHost: acme.example.test\r\nAuthorization: Bearer {}\r\n{framing}",
            stage.acme
        ));
        let answer = wire.answer();
        assert_eq!(answer.refusal(), (400, "routes.malformed_request".to_owned()));
        assert!(answer.text().contains("too slowly"), "{}", answer.text());
        assert!(wire.is_closed());
    }
    // Who has sent all of it may wait for the answer for longer.
    let mut waiting = stage.wire();
    waiting.write(format!(
        "POST /v1/work/wait HTTP/1.1\r\nHost: acme.example.test\r\nAuthorization: Bearer {}\r\nContent-Length: 2\r\n\r\n{{}}",
        stage.acme
    ));
    let mut slow = stage.wire();
    slow.write(format!(
        "POST /v1/work/a HTTP/1.1\r\nHost: acme.example.test\r\nAuthorization: Bearer {}\r\nContent-Length: 9\r\n\r\n",
        stage.acme
    ));
    assert_eq!(slow.answer().status, 400);
    stage.upstream.gate.notify_one();
    assert_eq!(waiting.answer().status, 200);
}

#[test]
fn a_client_that_goes_away_in_the_middle_is_recorded() {
    let stage = Stage::start();
    let head = |path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: acme.example.test\r\nAuthorization: Bearer {}\r\n\r\n",
            stage.acme
        )
    };
    let mut reading = stage.wire();
    reading.write(head("/v1/work/endless"));
    reading.until(b"\r\n\r\n");
    drop(reading);
    let recorded = stage.record();
    let record = recorded.record();
    assert_eq!((record.outcome, record.status, record.fault), (Outcome::ClientAborted, 200, Fault::Caller));

    let mut waiting = stage.wire();
    waiting.write(head("/v1/work/wait"));
    let arrived = stage.upstream.arrived.clone();
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(arrived.notified());
    drop(waiting);
    stage.until_all_have_gone();
    assert_eq!(stage.records(0).len(), 1, "its service is heard out first");
    stage.upstream.gate.notify_one();
    for recorded in stage.records(2) {
        assert_eq!((recorded.record().outcome, recorded.record().status), (Outcome::ClientAborted, 200));
    }
}

#[test]
fn answers_without_a_body_are_complete_at_once() {
    let stage = Stage::start();
    let head = stage.ask("HEAD", "/v1/stamps").send();
    assert_eq!((head.status, head.body.len()), (200, 0));
    let none = stage.ask("GET", "/v1/stamps").header("x-answer-status", "304").send();
    assert_eq!(none.status, 304);
    assert!(stage.records(2).iter().all(|recorded| recorded.record().outcome == Outcome::Served));
}

#[test]
fn a_large_answer_streams_through() {
    let stage = Stage::start();
    let answer = stage.ask("GET", "/v1/work/large").send();
    assert_eq!(answer.body.len(), 8 << 20);
    assert_eq!(stage.record().record().bytes_out, 8 << 20);
}

#[test]
fn an_answer_before_the_body_is_read_is_passed_on() {
    let stage = Stage::start();
    let mut wire = stage.wire();
    wire.write(format!(
        "POST /v1/work/early HTTP/1.1\r\nHost: acme.example.test\r\nAuthorization: Bearer {}\r\n\
         Content-Length: 1000\r\n\r\nx",
        stage.acme
    ));
    assert_eq!(wire.answer().status, 403);
    assert_eq!(stage.record().record().status, 403);
    // The connection that still waits for the rest of that body is not used again.
    assert_eq!(stage.ask("GET", "/v1/stamps").send().status, 200);
}
