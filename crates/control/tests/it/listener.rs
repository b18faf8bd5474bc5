//! What our own listeners let in: who says nothing, or little, or takes nothing, keeps nobody out.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::{get, post};
use rowhouse_control::api::{Bounds, listen};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Nothing in these tests takes so long; what does has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is too long for a caller to be silent.
const STALL: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(3_600);

/// Told when it is dropped.
struct GivenUp(Arc<Semaphore>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

struct Open {
    address: SocketAddr,
    /// What `/slow` waits for, and what it does first.
    gate: Arc<Semaphore>,
    begun: Arc<Semaphore>,
    /// What is done when the answer of `/endless` is given up.
    given_up: Arc<Semaphore>,
    stop: watch::Sender<bool>,
    listening: JoinHandle<()>,
}

impl Open {
    async fn with(bounds: Bounds) -> Self {
        let [gate, begun, given_up] = [0; 3].map(|none| Arc::new(Semaphore::new(none)));
        let (waits, begins, gives_up) = (gate.clone(), begun.clone(), given_up.clone());
        let slow = async move || {
            begins.add_permits(1);
            waits.acquire().await.expect("open").forget();
            "at last"
        };
        let endless = async move || {
            let guard = GivenUp(gives_up);
            let chunks = futures_util::stream::unfold(guard, async |guard| {
                Some((Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 4_096])), guard))
            });
            Body::from_stream(chunks)
        };
        let router = Router::new()
            .route("/", get(|| async { "here" }))
            .route("/slow", get(slow))
            .route("/read", post(|body: Bytes| async move { body.len().to_string() }))
            .route("/endless", get(endless));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, told) = watch::channel(false);
        let listening = tokio::spawn(listen(listener, router, bounds, told));
        Open { address, gate, begun, given_up, stop, listening }
    }

    /// A connection from one of loopback's addresses.
    async fn from(&self, source: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::new(source.parse().expect("an address"), 0)).expect("loopback is ours");
        socket.connect(self.address).await.expect("it is accepted")
    }

    async fn asks(&self, source: &str, path: &str) -> TcpStream {
        let mut stream = self.from(source).await;
        send(&mut stream, &format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n")).await;
        stream
    }
}

/// So few that a test fills them: eight connections, three of one network.
fn few() -> Bounds {
    Bounds { connections_max: 8, of_one_max: 3, head: LONG, stall: LONG, proxies: Vec::new() }
}

async fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.expect("it is taken");
}

/// The status of the next answer; none if the connection ends instead.
async fn answered(stream: &mut TcpStream) -> Option<u16> {
    let mut head = [0; 12];
    let read = timeout(PATIENCE, stream.read_exact(&mut head)).await.expect("answered or ended");
    read.ok()?;
    std::str::from_utf8(&head[9..]).ok()?.parse().ok()
}

async fn happens(times: u32, what: &Semaphore) {
    timeout(PATIENCE, what.acquire_many(times)).await.expect("it happens").expect("open").forget();
}

async fn is_ended(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    // Reset or closed: both are an end.
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test]
async fn who_says_nothing_makes_room_for_the_next_of_his_network() {
    let open = Open::with(few()).await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(open.from("127.0.0.1").await);
    }
    let mut other = open.from("127.0.0.2").await;
    assert_eq!(answered(&mut open.asks("127.0.0.1", "/").await).await, Some(200));
    assert!(is_ended(&mut silent[0]).await, "the oldest of his network went");
    send(&mut other, "GET / HTTP/1.1\r\nHost: here\r\n\r\n").await;
    assert_eq!(answered(&mut other).await, Some(200), "and nobody else's");
}

#[tokio::test]
async fn half_a_request_is_silence() {
    let open = Open::with(few()).await;
    let mut halves = Vec::new();
    for text in ["GET / HT", "POST /read HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\nhalf", ""] {
        let mut stream = open.from("127.0.0.1").await;
        send(&mut stream, text).await;
        halves.push(stream);
    }
    let mut kept = Vec::new();
    for half in &mut halves {
        let mut whole = open.asks("127.0.0.1", "/").await;
        assert_eq!(answered(&mut whole).await, Some(200));
        assert!(is_ended(half).await);
        kept.push(whole);
    }
}

#[tokio::test]
async fn who_is_being_answered_keeps_his_place_and_more_are_told_so() {
    let open = Open::with(few()).await;
    let mut under_way = Vec::new();
    for _ in 0..3 {
        under_way.push(open.asks("127.0.0.1", "/slow").await);
    }
    happens(3, &open.begun).await;
    let mut beyond = open.asks("127.0.0.1", "/").await;
    assert_eq!(answered(&mut beyond).await, Some(503));
    assert!(is_ended(&mut beyond).await);
    assert_eq!(answered(&mut open.asks("127.0.0.2", "/").await).await, Some(200), "others have theirs");
    for _ in 0..9 {
        assert_eq!(answered(&mut open.asks("127.0.0.3", "/").await).await, Some(200));
    }
    open.gate.add_permits(3);
    for stream in &mut under_way {
        assert_eq!(answered(stream).await, Some(200));
    }
    assert_eq!(answered(&mut open.asks("127.0.0.1", "/").await).await, Some(200), "there is room again");
}

#[tokio::test]
async fn a_trusted_proxy_is_many_guests() {
    let proxies = vec!["127.0.0.1".parse().expect("an address")];
    let open = Open::with(Bounds { proxies, ..few() }).await;
    let mut under_way = Vec::new();
    for _ in 0..6 {
        under_way.push(open.asks("127.0.0.1", "/slow").await);
    }
    assert_eq!(answered(&mut open.asks("127.0.0.1", "/").await).await, Some(200));
    open.gate.add_permits(6);
    for stream in &mut under_way {
        assert_eq!(answered(stream).await, Some(200));
    }
}

#[tokio::test]
async fn who_stalls_is_cut_off() {
    let open = Open::with(Bounds { head: STALL, stall: STALL, ..few() }).await;
    let mut silent = open.from("127.0.0.1").await;
    let mut half = open.from("127.0.0.2").await;
    send(&mut half, "POST /read HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\nhalf").await;
    let deaf = open.asks("127.0.0.3", "/endless").await;
    assert!(is_ended(&mut silent).await && is_ended(&mut half).await);
    let mut kept = open.asks("127.0.0.3", "/").await;
    assert_eq!(answered(&mut kept).await, Some(200));
    assert!(is_ended(&mut kept).await, "nobody keeps a connection that he does not use");
    happens(1, &open.given_up).await;
    drop(deaf);
}

#[tokio::test]
async fn what_is_under_way_is_answered_before_the_end() {
    let open = Open::with(few()).await;
    let mut under_way = open.asks("127.0.0.1", "/slow").await;
    let mut silent = open.from("127.0.0.2").await;
    happens(1, &open.begun).await;
    // Answered: the one before it has been taken too.
    assert_eq!(answered(&mut open.asks("127.0.0.3", "/").await).await, Some(200));
    open.stop.send_replace(true);
    assert!(is_ended(&mut silent).await);
    open.gate.add_permits(1);
    assert_eq!(answered(&mut under_way).await, Some(200));
    timeout(PATIENCE, open.listening).await.expect("it ends").expect("well");
}
