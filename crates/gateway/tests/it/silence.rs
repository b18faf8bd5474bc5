//! Services that say nothing more in the middle of their answers are not waited for until the whole request must be over.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rowhouse_journal::Outcome;
use tokio::sync::mpsc;

use crate::client::Wire;
use crate::directory::route;
use crate::faulty::Faulty;
use crate::stage::Stage;

const SOON_MS: u32 = 300;

fn before(copies: &[&Faulty]) -> Stage {
    let addresses: Vec<String> = copies.iter().map(|copy| copy.address.clone()).collect();
    Stage::configured(
        |config| config.cores = 1,
        |plan| {
            plan.services[0].upstreams = addresses;
            plan.route_mut("work").idle_timeout_ms = Some(SOON_MS);
        },
    )
}

/// Sends a request that is answered so; whether the answer comes to its end.
fn is_whole(stage: &Stage, what: &str) -> bool {
    let mut wire = stage.wire();
    wire.write(asked(stage, &format!("/v1/work/{what}/m")));
    let told = wire.rest();
    assert!(told.starts_with(b"HTTP/1.1 200 OK\r\n"), "{:?}", String::from_utf8_lossy(&told));
    told.ends_with(if what == "well" { b"m" } else { b"\r\n0\r\n\r\n" })
}

fn asked(stage: &Stage, path: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: acme.example.test\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        stage.acme
    )
}

#[test]
fn an_answer_that_rests_for_too_long_is_broken_off_and_who_owes_bytes_is_at_fault() {
    let (owing, other) = (Faulty::start(), Faulty::start());
    let stage = before(&[&owing, &other]);
    for _ in 0..5 {
        assert!(!is_whole(&stage, "half-body"));
        assert!(is_whole(&stage, "well"));
    }
    for recorded in stage.records(10).iter().step_by(2) {
        let record = recorded.record();
        assert_eq!((record.outcome, record.status), (Outcome::UpstreamFailed, 200));
        assert!(record.duration_us >= u64::from(SOON_MS) * 1_000, "{} us", record.duration_us);
    }
    assert_eq!((owing.count(), other.count()), (5, 5), "in turn");
    // A stream owes nothing: what is left of the copies goes on being asked.
    for _ in 0..6 {
        assert!(!is_whole(&stage, "half-chunk"));
    }
    assert!(is_whole(&stage, "well"));
    assert_eq!((owing.count(), other.count()), (5, 12), "who owed is left out, who streamed is not");
}

#[test]
fn a_route_may_rest_for_longer_than_another() {
    let stage = Stage::configured(
        |config| (config.cores, config.idle_timeout) = (1, Duration::from_millis(SOON_MS.into())),
        |plan| {
            let mut patient = route("patient", &["POST"], "/v1/patient/gated");
            patient.idle_timeout_ms = Some(60_000);
            plan.routes.push(patient);
        },
    );
    let piece = |path: &str| {
        let mut wire: Wire = stage.wire();
        wire.write(asked(&stage, path));
        wire.until(b"piece");
        wire
    };
    let mut patient = piece("/v1/patient/gated");
    assert_eq!(piece("/v1/work/gated").rest(), b"\r\n", "by what holds where the route says nothing");
    stage.upstream.gate.notify_one();
    patient.until(b"rest");
}

/// A body that goes on for as long as somebody says something.
struct Said(mpsc::Receiver<Bytes>);

impl Body for Said {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|said| said.map(|data| Ok(Frame::data(data))))
    }
}

#[test]
fn who_listens_to_a_long_request_may_answer_late() {
    let stage = Stage::configured(
        |config| (config.cores, config.idle_timeout) = (1, Duration::from_secs(1)),
        |plan| plan.services[0].protocol = "grpc".to_owned(),
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(stage.address).await.unwrap();
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.unwrap();
        let driver = tokio::spawn(connection);
        let (say, said) = mpsc::channel(1);
        let request = Request::post("http://acme.example.test/v1/work/listening")
            .header("authorization", format!("Bearer {}", stage.acme))
            .header("content-type", "application/grpc")
            .body(Said(said))
            .unwrap();
        let mut answer = sender.send_request(request).await.unwrap().into_body();
        assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "piece");
        let begun = Instant::now();
        let mut beat = tokio::time::interval(Duration::from_millis(10));
        while begun.elapsed() < Duration::from_secs(3) {
            beat.tick().await;
            say.send(Bytes::from_static(b"x")).await.expect("it is listened to");
        }
        // Nobody says anything any more.
        let end = answer.frame().await.expect("a reset");
        assert!(end.is_err(), "{end:?}");
        assert!(begun.elapsed() >= Duration::from_secs(3));
        driver.abort();
    });
}
