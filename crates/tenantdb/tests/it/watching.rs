//! Planes from the control plane's socket: news, places that move, and starting without it.

use std::path::Path;

use rowhouse_tenantdb::plane::Plane;
use rowhouse_tenantdb::{Access, Databases, Source, Watch, place};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::house::{House, NOW_S, SERVICE, context, header, tenant};

/// Answers one request on `listener` with `plane` and returns its first line.
async fn answer(listener: &UnixListener, plane: Option<&Plane>) -> String {
    let (mut stream, _) = listener.accept().await.expect("a service asks");
    let line = first_line(&mut stream).await;
    let body = plane.map(|plane| serde_json::to_string(plane).expect("plain")).unwrap_or_default();
    let status = if plane.is_some() { "200 OK" } else { "204 No Content" };
    let length = if plane.is_some() { format!("content-length: {}\r\n", body.len()) } else { String::new() };
    let answer = format!("HTTP/1.1 {status}\r\n{length}\r\n{body}");
    stream.write_all(answer.as_bytes()).await.expect("answered");
    line
}

async fn first_line(stream: &mut UnixStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.expect("a whole head"));
    }
    String::from_utf8(request).expect("text").lines().next().expect("a line").to_owned()
}

fn watching(directory: &Path) -> Watch {
    Watch {
        socket: directory.join("control.sock"),
        service: SERVICE.to_owned(),
        tenant: None,
        cache: directory.join("plane.json"),
    }
}

#[tokio::test]
async fn a_moved_tenant_is_followed_to_its_new_epoch_within_one_begin() {
    let house = House::shared().await;
    let watch = watching(house.cluster.directory());
    let listener = UnixListener::bind(&watch.socket).expect("a socket");
    let mut plane = house.plane(10);
    let (databases, line) =
        tokio::join!(Databases::open(Source::Watch(watch)), answer(&listener, Some(&plane)));
    let databases = databases.expect("opens");
    assert_eq!(line, "GET /internal/v1/tenantdb/watch?service=stamping&after=0 HTTP/1.1");
    let context = databases.context(&header(1), NOW_S).expect("the plane brought the gateway's key");
    databases.begin(&context, Access::Read).await.expect("begins").commit().await.expect("ends");

    place::set_epoch(&house.cell, &house.place(1).0, 2).await.expect("raised");
    plane.version = 2;
    plane.places.get_mut(&tenant(1)).expect("placed").epoch = 2;
    let news = async {
        assert!(answer(&listener, None).await.contains("after=1"));
        answer(&listener, Some(&plane)).await
    };
    let (transaction, line) = tokio::join!(databases.begin(&context, Access::Write), news);
    assert!(line.contains("after=1 "));
    transaction.expect("at the new epoch").commit().await.expect("ends");
}

#[tokio::test]
async fn a_service_starts_from_disk_while_the_control_plane_is_away() {
    let house = House::shared().await;
    let watch = watching(house.cluster.directory());
    let listener = UnixListener::bind(&watch.socket).expect("a socket");
    let plane = house.plane(10);
    let (databases, _) =
        tokio::join!(Databases::open(Source::Watch(watch.clone())), answer(&listener, Some(&plane)));
    drop(databases.expect("opens"));
    drop(listener);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(&watch.cache).expect("kept on disk").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600, "it holds keys");
    let alone = Databases::open(Source::Watch(watch.clone())).await.expect("from disk");
    alone.begin(&context(1), Access::Read).await.expect("begins").commit().await.expect("ends");
}

#[tokio::test]
async fn a_plane_of_another_service_is_not_taken_from_disk_or_socket() {
    let house = House::shared().await;
    let watch = Watch { service: "other".to_owned(), ..watching(house.cluster.directory()) };
    let wrong = house.plane(10);
    std::fs::write(&watch.cache, serde_json::to_vec(&wrong).expect("plain")).expect("written");
    let listener = UnixListener::bind(&watch.socket).expect("a socket");
    let right = Plane { service: "other".to_owned(), version: 7, ..wrong.clone() };
    let control = async {
        answer(&listener, None).await;
        answer(&listener, Some(&wrong)).await;
        answer(&listener, Some(&right)).await;
    };
    let (databases, ()) = tokio::join!(Databases::open(Source::Watch(watch)), control);
    assert_eq!(format!("{:?}", databases.expect("opens")), "Databases(plane 7)");
}
