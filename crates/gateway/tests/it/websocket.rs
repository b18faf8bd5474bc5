//! WebSockets as a client's and a server's library speak them, and how they end.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Stdio};

use rowhouse_domain::keys::KeyState;
use rowhouse_domain::routes::{CountWhen, MeteringRule};
use rowhouse_domain::tenancy::{Service, Status};
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
    let mut server = Peer::start(&["server"]);
    let address = format!("127.0.0.1:{}", server.line());
    let stage = Stage::configured(
        |config| config.cores = 1,
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

#[test]
fn messages_pass_both_ways_and_are_counted_in_the_record() {
    let per_message = MeteringRule { count_when: CountWhen::Message, ..counts("messages", "1") };
    let (_server, stage) = stage(|plan| plan.route_mut("work").metering = vec![per_message]);
    let mut peer = client(&stage, "echo");
    assert_eq!(peer.line(), "ok");
    let recorded = stage.record();
    let record = recorded.record();
    assert_eq!((record.status, record.outcome, record.method), (101, Outcome::Served, "GET"));
    // Three there and three back; pings and closes are no messages.
    let usage: Vec<(&str, i128)> = record.usage.iter().collect();
    assert_eq!(usage, [("messages", 6 * rowhouse_domain::metering::quantity::SCALE)]);
    assert!(
        record.bytes_in > 200_000 && record.bytes_out > 200_000,
        "{} {}",
        record.bytes_in,
        record.bytes_out
    );
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
    assert_eq!(stage.records(3).len(), 3);
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
