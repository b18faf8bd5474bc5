//! HTTP/1.0, HTTP/1.1 and HTTP/2 on both sides.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rowhouse_journal::Protocol;

use crate::stage::Stage;

async fn over_h2(stage: &Stage, requests: Vec<Request<Full<Bytes>>>) -> Vec<(u16, serde_json::Value)> {
    let stream = tokio::net::TcpStream::connect(stage.address).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let mut answers = Vec::new();
    for request in requests {
        sender.ready().await.unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        answers.push((status, serde_json::from_slice(&body).unwrap_or_default()));
    }
    answers
}

fn h2_request(stage: &Stage, method: &str, path: &str, body: &'static str) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(format!("http://acme.example.test{path}"))
        .header("authorization", format!("Bearer {}", stage.acme))
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(Full::new(Bytes::from_static(body.as_bytes())))
        .unwrap()
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(work)
}

#[test]
fn http2_clients_reach_http1_services() {
    let stage = Stage::start();
    let get = h2_request(&stage, "GET", "/v1/stamps", "");
    let post = h2_request(&stage, "POST", "/v1/work/a", "hello");
    let nowhere = h2_request(&stage, "GET", "/v9", "");
    let answers = run(over_h2(&stage, vec![get, post, nowhere]));
    assert_eq!(answers[0].0, 200);
    assert_eq!(answers[0].1["version"], "HTTP/1.1");
    let headers = answers[0].1["headers"].to_string();
    assert!(headers.contains(r#"["host","acme.example.test"]"#), "{headers}");
    assert!(headers.contains(r#"["cookie","a=1; b=2"]"#), "one cookie field: {headers}");
    assert_eq!((answers[1].0, &answers[1].1["body"]), (200, &"hello".into()));
    assert_eq!((answers[2].0, &answers[2].1["code"]), (404, &"routes.no_match".into()));
    assert!(stage.records(3).iter().all(|recorded| recorded.record().protocol == Protocol::Http2));
}

#[test]
fn http1_and_http2_clients_reach_http2_services() {
    let stage = Stage::with(|plan| plan.services[0].protocol = "http2".to_owned());
    let answer = stage.ask("POST", "/v1/work/a").body("hello").send();
    let seen = answer.json();
    assert_eq!((&seen["version"], &seen["body"]), (&"HTTP/2.0".into(), &"hello".into()));
    assert_eq!(seen["authority"], "acme.example.test");
    let answers = run(over_h2(&stage, vec![h2_request(&stage, "GET", "/v1/work/chunked", "")]));
    assert_eq!((answers[0].0, &answers[0].1["version"]), (200, &"HTTP/2.0".into()));
    assert_eq!(stage.records(2).len(), 2);
}

#[test]
fn http10_clients_are_answered_and_let_go() {
    let stage = Stage::start();
    let mut wire = stage.wire();
    wire.write(format!(
        "GET /v1/stamps HTTP/1.0\r\nHost: acme.example.test\r\nX-API-Key: {}\r\n\r\n",
        stage.acme
    ));
    let all = String::from_utf8(wire.rest()).unwrap();
    assert!(all.starts_with("HTTP/1.0 200"), "{all}");
}
