//! Ending in good order.

use std::net::TcpStream;
use std::time::Duration;

use crate::directory::counts;
use crate::stage::Stage;

#[test]
fn open_requests_finish_and_new_connections_are_refused() {
    let mut stage = Stage::start();
    let mut wire = stage.wire();
    let mut idle = stage.wire();
    assert_eq!(idle.ask(&stage.ask("GET", "/v1/stamps")).status, 200);
    wire.write(format!(
        "GET /v1/work/wait HTTP/1.1\r\nHost: acme.example.test\r\nAuthorization: Bearer {}\r\n\r\n",
        stage.acme
    ));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(stage.upstream.arrived.notified());
    let gateway = stage.gateway.take().unwrap();
    let address = stage.address;
    let draining = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(gateway.drain());
    });
    assert!(idle.is_closed(), "an idle connection is closed at once");
    while TcpStream::connect(address).is_ok() {
        std::thread::yield_now();
    }
    assert!(!draining.is_finished());
    stage.upstream.gate.notify_one();
    let answer = wire.answer();
    assert_eq!(answer.status, 200);
    draining.join().unwrap();
    assert_eq!(stage.records(2).len(), 2);
}

#[test]
fn what_goes_on_for_too_long_is_cut_and_recorded() {
    let mut stage = Stage::configured(
        |config| config.drain_timeout = Duration::from_millis(50),
        |plan| plan.route_mut("work").metering.push(counts("stamps_created", "1")),
    );
    let mut wire = stage.wire();
    wire.write(format!(
        "GET /v1/work/wait HTTP/1.1\r\nHost: acme.example.test\r\nAuthorization: Bearer {}\r\n\r\n",
        stage.acme
    ));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(stage.upstream.arrived.notified());
    runtime.block_on(stage.gateway.take().unwrap().drain());
    assert!(wire.is_closed());
    let recorded = stage.record();
    assert_eq!(recorded.record().status, 499);
    assert!(!recorded.record().usage.is_empty(), "the service had it, and perhaps has done it");
}
