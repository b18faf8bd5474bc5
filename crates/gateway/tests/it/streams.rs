//! Answers that go on for long leave records while they do, so that what dies with the process is a minute's at most.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rowhouse_domain::metering::quantity::SCALE;
use rowhouse_journal::Outcome;

use crate::directory::counts;
use crate::stage::{Recorded, Stage};

fn stage(protocol: &str) -> Stage {
    Stage::configured(
        |config| config.streams_recorded = Duration::from_secs(1),
        |plan| {
            plan.services[0].protocol = protocol.to_owned();
            plan.route_mut("work").metering.push(counts("stamps_created", "1"));
        },
    )
}

/// Whether it continues, bytes out, and what it counts.
fn told(recorded: &Recorded) -> (bool, u64, i128) {
    let record = recorded.record();
    assert_eq!((record.outcome, record.status), (Outcome::Served, 200));
    let counted = record.usage.iter().map(|(_, units)| units).sum::<i128>();
    (record.continues, record.bytes_out, counted / SCALE)
}

#[test]
fn an_answer_that_goes_on_is_recorded_while_it_does() {
    let stage = stage("http1");
    let mut wire = stage.wire();
    wire.write(format!(
        "GET /v1/work/gated HTTP/1.1\r\nHost: acme.example.test\r\nAuthorization: Bearer {}\r\n\r\n",
        stage.acme
    ));
    wire.until(b"piece");
    assert_eq!(told(&stage.records(1)[0]), (true, 5, 1), "all that it counts for is on the disk");
    stage.upstream.gate.notify_one();
    wire.until(b"rest");
    let records: Vec<_> = stage.records(2).iter().map(told).collect();
    assert_eq!(records, [(true, 5, 1), (false, 4, 0)], "each tells what came since the one before");
}

#[test]
fn a_grpc_stream_that_goes_on_is_recorded_while_it_does() {
    let stage = stage("grpc");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let records = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(stage.address).await.unwrap();
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.unwrap();
        let driver = tokio::spawn(connection);
        let request = Request::post("http://acme.example.test/v1/work/gated")
            .header("authorization", format!("Bearer {}", stage.acme))
            .header("content-type", "application/grpc")
            .body(Empty::<Bytes>::new())
            .unwrap();
        let mut answer = sender.send_request(request).await.unwrap().into_body();
        let first = answer.frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "piece");
        assert_eq!(told(&stage.records(1)[0]), (true, 5, 1));
        stage.upstream.gate.notify_one();
        assert_eq!(answer.collect().await.unwrap().to_bytes(), "rest");
        driver.abort();
        stage.records(2)
    });
    assert_eq!(records.iter().map(told).collect::<Vec<_>>(), [(true, 5, 1), (false, 4, 0)]);
}
