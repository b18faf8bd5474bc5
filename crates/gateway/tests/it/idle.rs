//! Connections that are not used end; those whose client waits for us do not.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use rowhouse_gateway::{GatewayConfig, MetricsSnapshot};

use crate::stage::Stage;

/// A preface and an empty SETTINGS frame: an HTTP/2 connection on which nothing is asked.
const SETTLED: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

#[test]
fn who_says_nothing_is_not_listened_to_for_ever() {
    let soon = Duration::from_millis(50);
    let both = |config: &mut GatewayConfig| (config.header_timeout, config.keep_alive_timeout) = (soon, soon);
    let stage = Stage::configured(both, |_| {});
    let mut waiting = stage.wire();
    let head = "GET /v1/work/wait HTTP/1.1\r\nHost: acme.example.test\r\nAuthorization: Bearer ";
    waiting.write(format!("{head}{}\r\n\r\n", stage.acme));
    for said in [b"".as_slice(), b"P", b"PRI * HTTP/2.0\r\n", b"GET / HT", SETTLED] {
        let mut wire = stage.wire();
        wire.write(said);
        wire.rest();
    }
    stage.upstream.gate.notify_one();
    assert_eq!(waiting.answer().status, 200, "an answer may take its time");
}

#[test]
fn a_head_that_does_not_become_whole_is_waited_for_less_than_a_connection_that_rests() {
    let stage = Stage::configured(|config| config.header_timeout = Duration::from_millis(50), |_| {});
    let ask = format!(
        "GET /v1/stamps HTTP/1.1\r\nHost: acme.example.test\r\nAuthorization: Bearer {}\r\n",
        stage.acme
    );
    let mut resting = stage.wire();
    assert_eq!(resting.write(format!("{ask}\r\n")).answer().status, 200);
    for _ in 0..3 {
        let mut slow = stage.wire();
        slow.write(&ask);
        assert!(slow.is_closed());
    }
    assert_eq!(resting.write(format!("{ask}\r\n")).answer().status, 200);
}

#[test]
fn a_part_of_a_head_behind_a_request_is_waited_for_no_longer() {
    let stage = Stage::configured(|config| config.header_timeout = Duration::from_millis(50), |_| {});
    let ask = |stage: &Stage, path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: acme.example.test\r\nAuthorization: Bearer {}\r\n\r\n",
            stage.acme
        )
    };
    for part in
        ["G", "GET /v1/stamps HTTP/1.1\r\nX: ", &format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(9_000))]
    {
        let mut wire = stage.wire();
        wire.write(ask(&stage, "/v1/stamps") + part);
        assert_eq!(wire.answer().status, 200);
        assert!(wire.is_closed(), "{}", part.len());
    }
    // It may become whole once the request before it is answered.
    let stage = Stage::start();
    let mut wire = stage.wire();
    wire.write(ask(&stage, "/v1/work/wait") + "GET /v1/stamps HT");
    stage.upstream.gate.notify_one();
    assert_eq!(wire.answer().status, 200);
    wire.write(ask(&stage, "/v1/stamps").strip_prefix("GET /v1/stamps HT").expect("it begins so"));
    assert_eq!(wire.answer().status, 200);
}

#[test]
fn one_address_holds_its_share_of_connections_and_others_are_not_told() {
    let stage = Stage::configured(|config| config.connections_per_address_max = 3, |_| {});
    let held: Vec<_> = (0..3).map(|_| stage.wire()).collect();
    until(&stage, "all three are accepted", |metrics| metrics.connections_open == 3);
    let connect = || TcpStream::connect(stage.address).expect("the listener takes it");
    // Accepted and closed: nothing is answered to what is one too many.
    let closed = |mut stream: TcpStream| stream.read(&mut [0; 1]).map_or(true, |bytes| bytes == 0);
    assert!(closed(connect()) && closed(connect()));
    until(&stage, "both are counted", |metrics| {
        (metrics.connections_refused, metrics.connections_open) == (2, 3)
    });
    drop(held);
    until(&stage, "they are given back", |metrics| metrics.connections_open == 0);
    assert_eq!(stage.ask("GET", "/v1/stamps").send().status, 200);
    let proxied = Stage::configured(
        |config| {
            config.connections_per_address_max = 0;
            config.trusted_proxies = vec!["127.0.0.1".parse().expect("an address")];
        },
        |_| {},
    );
    assert_eq!(
        proxied.ask("GET", "/v1/stamps").send().status,
        200,
        "a proxy comes with many clients' connections"
    );
}

/// Waits until the gateway's figures are as they should become.
fn until(stage: &Stage, what: &str, become_so: impl Fn(&MetricsSnapshot) -> bool) {
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while !become_so(&stage.gateway.as_ref().expect("it runs").metrics()) {
        assert!(std::time::Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}
