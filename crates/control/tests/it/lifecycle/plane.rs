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
    assert_eq!(mode & 0o777, 0o666, "who asks is known, so everybody may");

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

/// The status that `uid` gets for `query`, and the body.
fn asked_as(uid: u32, gid: u32, socket: &Path, query: &str) -> (u16, Option<Plane>) {
    use std::os::unix::process::CommandExt;
    let script = "use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die $!; \
        print $s \"GET $ARGV[1] HTTP/1.1\\r\\nhost: plane\\r\\nconnection: close\\r\\n\\r\\n\"; print while <$s>;";
    let path = format!("{}?{query}", rowhouse_tenantdb::plane::WATCH_PATH);
    let mut perl = std::process::Command::new("perl");
    perl.args(["-e", script]).arg(socket).arg(path).current_dir("/").uid(uid).gid(gid);
    let output = perl.output().expect("perl");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, serde_json::from_str(body).ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_is_told_what_is_its_own_and_nothing_else() {
    let mut stage = Stage::start().await;
    if stage.control().settings.deploy.ids.is_none() {
        return stage.stop().await;
    }
    let acme = stage.tenant("acme", "basic", "shared").await;
    let dune = stage.tenant("dune", "premium", "instance").await;
    let elm = stage.tenant("elm", "premium", "instance").await;
    let id = |tenant: &Value| tenant["id"].as_str().expect("an id").to_owned();
    let socket = stage.directory.join("run/plane.sock");
    let (control, path, stop) = (stage.control().clone(), socket.clone(), stage.shutdown.subscribe());
    stage.tasks.spawn(async move { tenancy::plane::serve(control, &path, stop).await.expect("a socket") });
    while UnixStream::connect(&socket).await.is_err() {
        tokio::task::yield_now().await;
    }
    let ids = stage.get("/v1/instances?tenant=dune").await["items"][0]["desired"]["ids"].clone();
    let of = |field: &str| u32::try_from(ids[field].as_u64().expect("a number")).expect("an id");
    let (server, process) = (of("server"), of("processes"));
    let ask = move |uid, query: String| {
        let socket = socket.clone();
        tokio::task::spawn_blocking(move || asked_as(uid, server, &socket, &query))
    };
    let (status, plane) = ask(process, "service=stamping".to_owned()).await.expect("asked");
    let plane = plane.expect("a plane");
    let known: Vec<String> = plane.places.keys().map(ToString::to_string).collect();
    assert_eq!((status, known, plane.cells.len(), plane.databases.len()), (200, vec![id(&dune)], 1, 1));
    assert_eq!(ask(process, format!("service=stamping&tenant={}", id(&dune))).await.expect("asked").0, 200);
    for other in [&acme, &elm] {
        let query = format!("service=stamping&tenant={}", id(other));
        assert_eq!(ask(process, query).await.expect("asked").0, 403, "another's place");
    }
    assert_eq!(ask(process, "service=printing".to_owned()).await.expect("asked").0, 403, "another service");
    for stranger in [server, process + 50, 65_534] {
        assert_eq!(ask(stranger, "service=stamping".to_owned()).await.expect("asked").0, 403, "{stranger}");
    }
    // The process for many tenants knows those that it serves: not the two with processes of their own.
    let (_, many) = ask(0, "service=stamping".to_owned()).await.expect("asked");
    let many = many.expect("a plane");
    let known: Vec<String> = many.places.keys().map(ToString::to_string).collect();
    assert_eq!((known, many.cells.len(), many.databases.len()), (vec![id(&acme)], 1, 1));
    stage.stop().await;
}
