//! Clients that leave once the service has their request, and before it has answered.

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rowhouse_domain::metering::quantity::SCALE;
use rowhouse_domain::routes::CountWhen;
use rowhouse_journal::Outcome;

use crate::directory::{ACME, counts};
use crate::stage::{DAY_US, NOON_US, Stage};

const MIDNIGHT_US: i64 = NOON_US - DAY_US / 2;

/// A service whose work counts, and a quota of so much of it.
fn stage(quota: i64, when: CountWhen) -> Stage {
    Stage::with(|plan| {
        let mut rule = counts("stamps_created", "1");
        rule.count_when = when;
        plan.route_mut("work").metering.push(rule);
        plan.quota(ACME, "stamps_created", quota, 0, MIDNIGHT_US);
    })
}

/// Sends a request, with these headers and its body, and leaves when the service works on it.
fn leave(stage: &Stage, path: &str, rest: &str) {
    let mut wire = stage.wire();
    wire.write(format!(
        "POST {path} HTTP/1.1\r\nHost: acme.example.test\r\nAuthorization: Bearer {}\r\n{rest}",
        stage.acme
    ));
    let arrived = stage.upstream.arrived.clone();
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(arrived.notified());
    drop(wire);
    stage.until_all_have_gone();
}

/// What all records together count, once there are so many.
fn used(stage: &Stage, records: usize) -> i128 {
    let records = stage.records(records);
    let units = records.iter().flat_map(|recorded| {
        assert_eq!(recorded.record().outcome, Outcome::ClientAborted);
        recorded.record().usage.iter().map(|(_, units)| units).collect::<Vec<_>>()
    });
    units.sum::<i128>() / SCALE
}

#[test]
fn what_the_service_did_is_charged_once_each() {
    for when in [CountWhen::AnsweredBelow500, CountWhen::Success, CountWhen::Answered, CountWhen::Always] {
        let stage = stage(3, when);
        for _ in 0..3 {
            leave(&stage, "/v1/work/wait", "Content-Length: 2\r\n\r\n{}");
            stage.upstream.gate.notify_one();
        }
        assert_eq!(used(&stage, 3), 3, "{when:?}");
        assert_eq!(stage.upstream.count(), 3);
        let refused = stage.ask("POST", "/v1/work/other").send();
        assert_eq!(refused.refusal(), (429, "resources.quota_exceeded".to_owned()), "{when:?}");
        assert_eq!(stage.upstream.count(), 3);
    }
}

#[test]
fn what_the_service_says_of_it_counts() {
    let stage = stage(10, CountWhen::Reported);
    leave(&stage, "/v1/work/wait", "X-Answer-Rowhouse-Usage: stamps_created=9\r\n\r\n");
    stage.upstream.gate.notify_one();
    assert_eq!(used(&stage, 1), 9);
    assert_eq!(stage.ask("POST", "/v1/work/a").send().status, 200, "nine of ten");
}

#[test]
fn what_failed_is_not_charged_and_gives_its_reservation_back() {
    let stage = stage(1, CountWhen::AnsweredBelow500);
    leave(&stage, "/v1/work/wait", "X-Answer-Status: 500\r\n\r\n");
    stage.upstream.gate.notify_one();
    assert_eq!(used(&stage, 1), 0);
    assert_eq!(stage.records(1)[0].record().status, 500);
    assert_eq!(stage.ask("POST", "/v1/work/a").send().status, 200, "there is room");
}

#[test]
fn what_was_never_answered_is_not_charged() {
    let mut stage = stage(1, CountWhen::AnsweredBelow500);
    stage.publish(|plan| plan.services[0].first_byte_timeout_ms = 1);
    let mut wire = stage.wire();
    wire.write(format!(
        "POST /v1/work/wait HTTP/1.1\r\nHost: acme.example.test\r\nAuthorization: Bearer {}\r\n\r\n",
        stage.acme
    ));
    drop(wire);
    assert!(stage.record().record().usage.is_empty());
    stage.publish(|plan| plan.services[0].first_byte_timeout_ms = 60_000);
    assert_eq!(stage.ask("POST", "/v1/work/a").send().status, 200, "there is room");
}

/// A call of gRPC whose caller waits no longer than this; its answer's status.
async fn impatient(stage: &Stage, deadline: &str) -> String {
    let stream = tokio::net::TcpStream::connect(stage.address).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    let driver = tokio::spawn(connection);
    let request = Request::post("http://acme.example.test/v1/work/wait")
        .header("authorization", format!("Bearer {}", stage.acme))
        .header("content-type", "application/grpc")
        .header("grpc-timeout", deadline)
        .body(Empty::<Bytes>::new())
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    driver.abort();
    answer.headers()["grpc-status"].to_str().unwrap().to_owned()
}

#[test]
fn who_sets_a_deadline_of_his_own_pays_for_the_work_all_the_same() {
    let stage = stage(9, CountWhen::Success);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // One that was over before the request could be sent is not charged.
    let mut deadlines = ["1n", "300m", "3S", "30S"].iter();
    while stage.upstream.count() == 0 {
        let deadline = deadlines.next().expect("one of them is long enough");
        assert_eq!(runtime.block_on(impatient(&stage, deadline)), "4", "{deadline}");
    }
    stage.upstream.gate.notify_one();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let units = loop {
        let records = stage.records(0);
        let heard = records.iter().find(|recorded| recorded.record().outcome == Outcome::ClientAborted);
        if let Some(heard) = heard {
            assert_eq!(heard.record().status, 200);
            break records
                .iter()
                .flat_map(|own| own.record().usage.iter().map(|(_, units)| units).collect::<Vec<_>>())
                .sum::<i128>();
        }
        assert!(std::time::Instant::now() < until, "its record is missing");
        std::thread::yield_now();
    };
    assert_eq!(units / SCALE, 1);
}

/// Sends half a body, waits until the service has the request, and ends it so.
fn break_off(stage: &Stage, path: &str, headers: &str, ending: Option<&str>) -> Option<(u16, String)> {
    let before = stage.upstream.count();
    let mut wire = stage.wire();
    wire.write(format!(
        "POST {path} HTTP/1.1\r\nHost: acme.example.test\r\nAuthorization: Bearer {}\r\n{headers}\
         Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        stage.acme
    ));
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while stage.upstream.count() == before {
        assert!(std::time::Instant::now() < until, "the service has not got it");
        std::thread::yield_now();
    }
    let told = ending.map(|ending| wire.write(ending).answer().refusal());
    drop(wire);
    stage.until_all_have_gone();
    told
}

#[test]
fn a_body_that_its_sender_breaks_off_is_charged() {
    // The sender goes, frames it wrongly, or sends more than the route takes.
    let too_large = format!("{:x}\r\n{}\r\n", 99_996, "x".repeat(99_996));
    let endings = [
        (None, 0, ""),
        (Some("nonsense\r\n"), 400, "routes.malformed_request"),
        (Some(too_large.as_str()), 413, "routes.body_too_large"),
    ];
    for (ending, status, code) in endings {
        for when in [CountWhen::AnsweredBelow500, CountWhen::Success, CountWhen::Always] {
            let mut stage = stage(2, when);
            stage.publish(|plan| plan.services[0].first_byte_timeout_ms = 50);
            for number in 1..=2 {
                let told = break_off(&stage, "/v1/work/a", "", ending);
                assert_eq!(told, ending.map(|_| (status, code.to_owned())));
                assert_eq!(used(&stage, number), number as i128, "{code} {when:?}");
            }
            let record = stage.records(2)[1].clone();
            if ending.is_some() {
                assert_eq!((record.record().status, record.record().refusal), (status, code));
            }
            let refused = stage.ask("POST", "/v1/work/other").send();
            assert_eq!(refused.refusal(), (429, "resources.quota_exceeded".to_owned()), "{code} {when:?}");
        }
    }
}

#[test]
fn what_the_service_says_of_half_a_body_counts() {
    for (headers, expected, status) in [
        ("X-Answer-Rowhouse-Usage: stamps_created=7\r\n", 7, 200),
        ("X-Answer-Rowhouse-Usage: stamps_created=7\r\nX-Answer-Status: 422\r\n", 7, 422),
    ] {
        let stage = stage(10, CountWhen::Reported);
        let told = break_off(&stage, "/v1/work/unread", headers, Some("nonsense\r\n"));
        assert_eq!(told, Some((400, "routes.malformed_request".to_owned())));
        stage.upstream.gate.notify_one();
        assert_eq!(used(&stage, 1), expected, "{headers}");
        assert_eq!(stage.records(1)[0].record().status, status, "what the service answered");
    }
    // One that fails by itself is not charged.
    let stage = stage(10, CountWhen::AnsweredBelow500);
    break_off(&stage, "/v1/work/unread", "X-Answer-Status: 500\r\n", None);
    stage.upstream.gate.notify_one();
    assert_eq!(used(&stage, 1), 0);
}
