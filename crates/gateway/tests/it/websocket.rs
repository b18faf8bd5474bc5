//! WebSockets as a client's and a server's library speak them, and how they end.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use rowhouse_domain::keys::KeyState;
use rowhouse_domain::routes::{CountWhen, MeteringRule};
use rowhouse_domain::tenancy::{Service, Status};
use rowhouse_gateway::GatewayConfig;
use rowhouse_journal::Outcome;

use crate::client::Wire;
use crate::directory::{ACME, Plan, counts};
use crate::grpc::python;
use crate::stage::Stage;

/// A Python process that says a line for each thing that happens.
struct Peer {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Peer {
    fn start(arguments: &[&str]) -> Self {
        let mut command = python("websocket_peers.py");
        let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Peer { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An echo service, and a stage whose route leads there.
fn stage(change: impl FnOnce(&mut Plan)) -> (Peer, Stage) {
    stage_with(|_| (), change)
}

fn stage_with(configure: impl FnOnce(&mut GatewayConfig), change: impl FnOnce(&mut Plan)) -> (Peer, Stage) {
    let mut server = Peer::start(&["server"]);
    let address = format!("127.0.0.1:{}", server.line());
    let stage = Stage::configured(
        |config| {
            config.cores = 1;
            configure(config);
        },
        |plan| {
            plan.services[0].upstreams = vec![address];
            plan.route_mut("work").websocket = true;
            change(plan);
        },
    );
    (server, stage)
}

fn client(stage: &Stage, what: &str) -> Peer {
    Peer::start(&["client", what, &stage.address.to_string(), &stage.acme])
}

/// A message counts as one, and the call as one.
fn counted(plan: &mut Plan) {
    let per_message = MeteringRule { count_when: CountWhen::Message, ..counts("messages", "1") };
    plan.route_mut("work").metering = vec![counts("api_calls", "1"), per_message];
}

const ONE: i128 = rowhouse_domain::metering::quantity::SCALE;

#[test]
fn messages_pass_both_ways_and_are_counted_in_the_records() {
    let (_server, stage) = stage(counted);
    let mut peer = client(&stage, "echo");
    assert_eq!(peer.line(), "ok");
    let recorded = stage.records(2);
    let (first, last) = (recorded[0].record(), recorded[1].record());
    for record in [&first, &last] {
        assert_eq!((record.status, record.outcome, record.method), (101, Outcome::Served, "GET"));
        assert_eq!((record.request_id, record.api_key), (first.request_id, first.api_key));
    }
    assert_eq!((first.continues, last.continues), (true, false));
    let usage = |record: &rowhouse_journal::RequestRecord<'_>| -> Vec<(String, i128)> {
        record.usage.iter().map(|(meter, units)| (meter.to_owned(), units)).collect()
    };
    // Three there and three back; pings and closes are no messages.
    assert_eq!(usage(&first), [("api_calls".to_owned(), ONE), ("messages".to_owned(), 0)]);
    assert_eq!(usage(&last), [("messages".to_owned(), 6 * ONE)]);
    assert_eq!((first.bytes_in, first.bytes_out), (0, 0));
    assert!(last.bytes_in > 200_000 && last.bytes_out > 200_000, "{} {}", last.bytes_in, last.bytes_out);
}

#[test]
fn what_passes_is_recorded_while_it_lasts_and_each_message_once() {
    let (_server, stage) = stage_with(|config| config.streams_recorded = Duration::from_secs(1), counted);
    let mut peer = client(&stage, "wait");
    assert_eq!(peer.line(), "open");
    let messages = |stage: &Stage| -> (usize, i128) {
        let all = stage.records(1);
        let sum = all.iter().flat_map(|own| {
            own.record()
                .usage
                .iter()
                .collect::<Vec<_>>()
                .into_iter()
                .map(|(meter, units)| (meter.to_owned(), units))
                .collect::<Vec<_>>()
        });
        (all.len(), sum.filter(|(meter, _)| meter == "messages").map(|(_, units)| units).sum::<i128>() / ONE)
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    // What it opened with has come back already.
    for round in 2..=4 {
        peer.child.stdin.as_mut().unwrap().write_all(b"still\n").unwrap();
        assert_eq!(peer.line(), "still");
        // It is in the journal, which outlives the process, while the socket is open.
        while messages(&stage).1 < 2 * round {
            assert!(Instant::now() < deadline, "{:?}", messages(&stage));
            std::thread::park_timeout(Duration::from_millis(20));
        }
        assert_eq!(messages(&stage).1, 2 * round);
    }
    let (records, _) = messages(&stage);
    let mut stage = stage;
    stage.publish(|plan| plan.keys[0].1.standing.state = KeyState::Revoked);
    assert!(peer.line().starts_with("1008"));
    let all = stage.records(records + 1);
    let ends: Vec<bool> = all.iter().map(|own| own.record().continues).collect();
    assert!(
        ends.split_last().is_some_and(|(last, others)| !last && others.iter().all(|own| *own)),
        "{ends:?}"
    );
    let calls = all.iter().filter(|own| own.record().usage.iter().any(|(meter, _)| meter == "api_calls"));
    assert_eq!((messages(&stage).1, calls.count()), (8, 1));
}

#[test]
fn who_may_not_any_more_is_told_so() {
    let (mut server, mut stage) = stage(|_| {});
    for (change, code) in [
        (
            &(|plan: &mut Plan| plan.keys[0].1.standing.state = KeyState::Revoked) as &dyn Fn(&mut Plan),
            "keys.",
        ),
        (
            &|plan: &mut Plan| {
                let tenant = plan.tenant_mut(ACME);
                (tenant.status, tenant.service) = (Status::Suspended, Service::Suspended);
            },
            "tenancy.",
        ),
        (&|plan: &mut Plan| plan.routes.retain(|route| route.name != "work"), "routes."),
    ] {
        let mut peer = client(&stage, "wait");
        assert_eq!(peer.line(), "open");
        // A change that concerns somebody else changes nothing.
        stage.publish(|plan| plan.services[0].connect_timeout_ms += 1);
        peer.child.stdin.as_mut().unwrap().write_all(b"still\n").unwrap();
        assert_eq!(peer.line(), "still");
        let state = plan_state(&stage);
        stage.publish(|plan| change(plan));
        let said = peer.line();
        assert!(said.starts_with(&format!("1008 {code}")), "{said}");
        assert_eq!(server.line(), "1008", "the service hears of it");
        stage.publish(|plan| restore(plan, state));
    }
    assert_eq!(stage.records(6).len(), 6, "one when it began and one at its end");
}

type State = (KeyState, Status, Service, Vec<rowhouse_domain::routes::RouteDefinition>);

fn plan_state(stage: &Stage) -> State {
    let tenant = stage.plan.tenants.iter().find(|tenant| tenant.id == ACME).unwrap();
    let key = &stage.plan.keys[0].1;
    (key.standing.state, tenant.status, tenant.service, stage.plan.routes.clone())
}

fn restore(plan: &mut Plan, (key, status, service, routes): State) {
    plan.keys[0].1.standing.state = key;
    let tenant = plan.tenant_mut(ACME);
    (tenant.status, tenant.service) = (status, service);
    plan.routes = routes;
}

#[test]
fn a_gateway_that_goes_says_so() {
    let (_server, mut stage) = stage(|_| {});
    let mut peer = client(&stage, "wait");
    assert_eq!(peer.line(), "open");
    let gateway = stage.gateway.take().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(gateway.drain());
    assert_eq!(peer.line(), "1001 going away");
}

#[test]
fn who_is_not_let_in_gets_no_websocket() {
    let (_server, mut stage) = stage(|_| {});
    let mut stranger = Peer::start(&["client", "echo", &stage.address.to_string(), "nobody"]);
    assert_eq!(stranger.line(), "refused 401");
    stage.publish(|plan| plan.route_mut("work").websocket = false);
    assert_eq!(client(&stage, "echo").line(), "refused 426", "the service sees no upgrade");
}

/// Requests that look like an upgrade and are none: the service gets one plain request or none, and what follows on the
/// connection is read as what it is.
#[test]
fn what_only_looks_like_an_upgrade_is_none() {
    let mut stage = Stage::with(|plan| plan.route_mut("work").websocket = true);
    let head = |stage: &Stage, more: &str| {
        let host = "Host: acme.example.test";
        format!("GET /v1/work/x HTTP/1.1\r\n{host}\r\nAuthorization: Bearer {}\r\n{more}", stage.acme)
    };
    for more in [
        "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\nSec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\nContent-Length: 3\r\n\r\nabc",
        // A service that does not want to: its answer is an answer.
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n\r\n",
    ] {
        let before = stage.upstream.count();
        let mut wire = stage.wire();
        wire.write(format!("{}{}", head(&stage, more), head(&stage, "Connection: close\r\n\r\n")));
        let said = String::from_utf8_lossy(&wire.rest()).into_owned();
        let statuses: Vec<&str> = said.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
        assert_eq!(statuses, ["200", "200"], "{more:?}: {said}");
        assert_eq!(stage.upstream.count() - before, 2);
    }
    // An answer of 101 to what asked for nothing, or without what a WebSocket has, is no answer.
    for (answer, more) in [
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", ""),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nSec-WebSocket-Accept: x\r\nConnection: Upgrade\r\n\r\n",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n",
        ),
    ] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
            let _ = std::io::Read::read(&mut stream, &mut [0; 1]);
        });
        stage.publish(|plan| plan.services[0].upstreams = vec![address]);
        let mut wire: Wire = stage.wire();
        wire.write(head(&stage, &format!("{more}\r\n")));
        assert_eq!(wire.answer().refusal(), (502, "routes.upstream_failed".to_owned()));
        drop(wire);
        served.join().unwrap();
    }
}

#[test]
fn what_a_client_says_before_it_is_answered_is_not_lost() {
    let (_server, stage) = stage(|_| ());
    let mut wire = stage.wire();
    let head = format!(
        "GET /v1/work/socket HTTP/1.1\r\nHost: acme.example.test\r\nAuthorization: Bearer {}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        stage.acme
    );
    // A text of five letters, masked with zeros (RFC 6455 §5.2).
    let frame = [&[0x81, 0x85, 0, 0, 0, 0], b"hello".as_slice()].concat();
    wire.write([head.as_bytes(), &frame].concat());
    let answer = String::from_utf8(wire.until(b"\r\n\r\n")).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert_eq!(wire.until(b"hello"), b"\x81\x05hello");
}
