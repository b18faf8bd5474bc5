//! HTTP/1 with callers, byte by byte: how requests are told apart, how the end of an answer is told, and how a connection ends.

use std::fmt::Write as _;

use crate::client::{Answer, Wire};
use crate::stage::Stage;

/// A request of acme's, with more headers and what follows them.
fn request(stage: &Stage, line: &str, rest: &str) -> String {
    format!("{line}\r\nHost: acme.example.test\r\nAuthorization: Bearer {}\r\n{rest}", stage.acme)
}

fn said(wire: &mut Wire, mark: &str) -> String {
    String::from_utf8(wire.until(mark.as_bytes())).unwrap()
}

#[test]
fn requests_in_a_row_are_told_apart_in_whatever_pieces_they_come() {
    let stage = Stage::start();
    let all = [
        "\r\n\n".to_owned(),
        request(&stage, "GET /v1/work/1 HTTP/1.1", "\r\n"),
        request(&stage, "POST /v1/work/2 HTTP/1.1", "Content-Length: 20\r\n\r\nGET / HTTP/1.1\r\n\r\n\r\n"),
        request(
            &stage,
            "POST /v1/work/3 HTTP/1.1",
            "Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nGET /\r\n0001\r\n\n\r\n0\r\nTrailer: 1\r\n\r\n",
        ),
        request(&stage, "HEAD /v1/work/4 HTTP/1.1", "\r\n").replace("\r\n", "\n"),
        request(&stage, "PATCH /v1/work/5 HTTP/1.1", "Connection: close\r\n\r\n"),
    ]
    .concat();
    for size in [1, 2, 7, 64, all.len()] {
        let mut wire = stage.wire();
        for piece in all.as_bytes().chunks(size) {
            wire.write(piece);
        }
        let told = |answer: Answer| {
            let told = answer.json();
            (told["target"].as_str().unwrap().to_owned(), told["body"].as_str().unwrap().to_owned())
        };
        let told_of = |target: &str, body: &str| (target.to_owned(), body.to_owned());
        assert_eq!(told(wire.answer()), told_of("/v1/work/1", ""), "pieces of {size}");
        assert_eq!(told(wire.answer()), told_of("/v1/work/2", "GET / HTTP/1.1\r\n\r\n\r\n"));
        assert_eq!(told(wire.answer()), told_of("/v1/work/3", "GET /\n"));
        assert_eq!(wire.answer_to("HEAD").status, 200);
        assert_eq!(told(wire.answer()), told_of("/v1/work/5", ""));
        assert!(wire.is_closed());
    }
}

#[test]
fn who_waits_to_be_told_to_go_on_is_told_once_somebody_listens() {
    let stage = Stage::start();
    let expects = |length: usize| format!("Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n");
    let mut wire = stage.wire();
    wire.write(request(&stage, "POST /v1/work/a HTTP/1.1", &expects(5)));
    assert_eq!(said(&mut wire, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    let told = wire.write("hello").answer().json();
    assert_eq!(told["body"], "hello");
    assert!(!told["headers"].to_string().contains("expect"), "{told}");
    // Who does not wait needs not be told.
    let told = wire.write(request(&stage, "POST /v1/work/b HTTP/1.1", &(expects(5) + "world"))).answer();
    assert_eq!(told.json()["body"], "world");
    // What is refused is not sent at all; nobody knows whether the caller sends it now, so nothing more is read.
    wire.write(request(&stage, "POST /v1/work/c HTTP/1.1", &expects(100_001)));
    let refused = String::from_utf8(wire.rest()).unwrap();
    assert!(refused.starts_with("HTTP/1.1 413 "), "{refused}");
    assert_eq!(refused.matches("HTTP/1.1 ").count(), 1, "{refused}");
}

#[test]
fn callers_of_an_older_version_are_answered_in_it() {
    let stage = Stage::start();
    let mut once = stage.wire();
    once.write(request(&stage, "GET /v1/work/a HTTP/1.0", "\r\n"));
    let answer = String::from_utf8(once.rest()).unwrap();
    assert!(
        answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.contains("\r\nconnection: close\r\n"),
        "{answer}"
    );
    let mut kept = stage.wire();
    for _ in 0..2 {
        let again = request(&stage, "GET /v1/work/a HTTP/1.0", "Connection: keep-alive\r\n\r\n");
        let answer = kept.write(again).answer();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("keep-alive")));
    }
    // It does not know chunks: the end of the connection is the end of the answer.
    kept.write(request(&stage, "GET /v1/work/chunked HTTP/1.0", "Connection: keep-alive\r\n\r\n"));
    let answer = String::from_utf8(kept.rest()).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("transfer-encoding") && head.contains("\r\nconnection: close"), "{head}");
    serde_json::from_str::<serde_json::Value>(body).unwrap();
}

#[test]
fn answers_without_a_body_leave_the_connection_for_the_next() {
    let stage = Stage::start();
    let mut wire = stage.wire();
    let ask = |wire: &mut Wire, line: &str, rest: &str| -> Answer {
        wire.write(request(&stage, line, rest));
        wire.answer_to(if line.starts_with("HEAD") { "HEAD" } else { "GET" })
    };
    let whole = ask(&mut wire, "GET /v1/work/a HTTP/1.1", "\r\n");
    assert_ne!(whole.header("content-length"), Some("0"));
    for path in ["a", "chunked", "large"] {
        let head = ask(&mut wire, &format!("HEAD /v1/work/{path} HTTP/1.1"), "\r\n");
        assert_eq!((head.status, head.header("transfer-encoding")), (200, None), "{path}");
    }
    for status in [204, 304] {
        let none = ask(&mut wire, "GET /v1/work/a HTTP/1.1", &format!("x-answer-status: {status}\r\n\r\n"));
        assert_eq!((none.status, none.header("transfer-encoding")), (status, None));
    }
    let refused = ask(&mut wire, "HEAD /v2/nothing HTTP/1.1", "\r\n");
    assert_eq!(refused.status, 404);
    assert_eq!(ask(&mut wire, "GET /v1/work/a HTTP/1.1", "\r\n").status, 200);
}

#[test]
fn each_answer_has_a_date() {
    let stage = Stage::start();
    let own = stage.bare("GET", "/v1/work/a").host("acme.example.test").send();
    assert_eq!((own.status, own.headers.iter().filter(|(name, _)| name == "date").count()), (401, 1));
    let theirs =
        stage.ask("GET", "/v1/work/a").header("x-answer-date", "Sun, 06 Nov 1994 08:49:37 GMT").send();
    let dates: Vec<_> = theirs.headers.iter().filter(|(name, _)| name == "date").collect();
    assert_eq!(dates.len(), 1, "{dates:?}");
    assert_eq!(dates[0].1, "Sun, 06 Nov 1994 08:49:37 GMT");
}

#[test]
fn an_answer_arrives_although_its_caller_still_sends() {
    let stage = Stage::start();
    let mut wire = stage.wire();
    let large = format!("Content-Length: 90000\r\n\r\n{}", "x".repeat(40_000));
    wire.write(request(&stage, "POST /v2/nothing HTTP/1.1", &large));
    wire.try_write(&[b'x'; 40_000]);
    assert_eq!(wire.answer().status, 404);
    assert!(wire.is_closed(), "where the next request begins is not waited for");
    // A small body that is here already is passed over.
    let mut wire = stage.wire();
    wire.write(request(&stage, "POST /v2/nothing HTTP/1.1", "Content-Length: 5\r\n\r\nhello"));
    assert_eq!(wire.answer().status, 404);
    assert_eq!(wire.write(request(&stage, "GET /v1/work/a HTTP/1.1", "\r\n")).answer().status, 200);
}

#[test]
fn what_is_no_request_gets_a_bare_status_and_the_end() {
    let stage = Stage::start();
    let mut many = String::from("GET / HTTP/1.1\r\nHost: acme.example.test\r\n");
    for number in 0..101 {
        write!(many, "X-{number}: 1\r\n").unwrap();
    }
    for (said, expected) in [
        ("\x16\x03\x01\x02\x00\x01\x00\x01".to_owned(), "400 Bad Request"),
        ("nonsense\r\n\r\n".to_owned(), "400 Bad Request"),
        ("\rGET / HTTP/1.1\r\nHost: acme.example.test\r\n\r\n".to_owned(), "400 Bad Request"),
        ("GET / HTTP/3.0\r\n\r\n".to_owned(), "400 Bad Request"),
        ("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_owned(), "400 Bad Request"),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000)), "414 URI Too Long"),
        (many + "\r\n", "431 Request Header Fields Too Large"),
        (format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(300_000)), "431 Request Header Fields Too Large"),
    ] {
        let mut wire = stage.wire();
        // Somebody who was refused in the middle may not get rid of the rest.
        wire.try_write(said.as_bytes());
        let answer = String::from_utf8(wire.rest()).unwrap();
        let begin = format!("HTTP/1.1 {expected}\r\nconnection: close\r\ncontent-length: 0\r\ndate: ");
        assert!(answer.starts_with(&begin) && answer.ends_with("\r\n\r\n"), "{said:.60}: {answer}");
    }
    let metrics = stage.gateway.as_ref().unwrap().metrics();
    assert_eq!(metrics.connections_malformed, 8);
}
