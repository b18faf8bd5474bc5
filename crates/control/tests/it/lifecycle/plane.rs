//! What services are told, over their socket.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper_util::rt::TokioIo;
use rowhouse_tenantdb::plane::Plane;
use tokio::net::UnixStream;

use super::*;

async fn watch(socket: &Path, query: &str) -> (u16, Option<Plane>) {
    let stream = UnixStream::connect(socket).await.expect("the socket");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(connection);
    let path = format!("{}?{query}", rowhouse_tenantdb::plane::WATCH_PATH);
    let request =
        Request::builder().uri(path).header("host", "plane").body(Empty::<Bytes>::new()).expect("a request");
    let answer = sender.send_request(request).await.expect("an answer");
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    (status, serde_json::from_slice(&body).ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_waits_for_news_and_gets_them_as_they_happen() {
    use std::os::unix::fs::PermissionsExt;
    let mut stage = Stage::start().await;
    let acme = stage.tenant("acme", "basic", "shared").await;
    stage.tenant("bolt", "enterprise", "database").await;
    let socket = stage.directory.join("run/plane.sock");
    let (control, path, stop) = (stage.control().clone(), socket.clone(), stage.shutdown.subscribe());
    stage.tasks.spawn(async move { tenancy::plane::serve(control, &path, stop).await.expect("a socket") });
    while UnixStream::connect(&socket).await.is_err() {
        tokio::task::yield_now().await;
    }
    let mode = std::fs::metadata(&socket).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);

    let (status, plane) = watch(&socket, "service=stamping&after=0").await;
    let plane = plane.expect("a plane");
    assert_eq!((status, plane.places.len(), plane.databases.len()), (200, 2, 2));
    let key = stage.control().context_signer.verifier();
    assert_eq!(plane.jwks[0].x, key.x());
    // One tenant's process learns of that tenant, and of its key only.
    let id = acme["id"].as_str().expect("an id");
    let (_, own) = watch(&socket, &format!("service=stamping&tenant={id}")).await;
    let own = own.expect("a plane");
    assert_eq!((own.places.len(), own.databases.len(), own.cells.len()), (1, 1, 1));
    let (_, other) = watch(&socket, "service=printing").await;
    assert_eq!(other.expect("a plane").places.len(), 0, "it has no tables anywhere");

    let query = format!("service=stamping&after={}", plane.version);
    let suspend = json!({"mode": "blocked", "reason": "x"});
    let (news, _) =
        tokio::join!(watch(&socket, &query), stage.call("POST", "/v1/tenants/acme/suspend", suspend));
    let news = news.1.expect("a plane");
    assert!(news.version > plane.version);
    assert_eq!(news.places[&id.parse().expect("an id")].rights.letters(), "");
    assert_eq!(watch(&socket, "service=stamping&colour=red").await.0, 400);
    stage.stop().await;
}
