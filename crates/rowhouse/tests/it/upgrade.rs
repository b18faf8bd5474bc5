//! The binary is replaced while requests come: another process takes the doors over, and no request fails. What a client does
//! whose kept connection closes before anything of the answer came is what RFC 9110 §9.2.2 says of a GET: it asks again on a new one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::interval;

use crate::platform::{Call, Platform, Tenant, text};

/// What clients have seen.
#[derive(Default)]
pub struct Seen {
    answered: AtomicU64,
    /// Closed before anything of an answer came.
    closed: AtomicU64,
    failures: std::sync::Mutex<Vec<String>>,
    enough: AtomicBool,
}

impl Seen {
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits until so many more requests were answered.
    pub async fn more(&self, count: u64) {
        let goal = self.answered() + count;
        let begun = tokio::time::Instant::now();
        let mut beat = interval(Duration::from_millis(20));
        while self.answered() < goal {
            beat.tick().await;
            assert!(
                begun.elapsed() < crate::platform::PATIENCE,
                "nobody answers: {:?}",
                self.failures.lock()
            );
        }
    }
}

type Connection = SendRequest<Empty<Bytes>>;

async fn connect(port: u16) -> Result<Connection, String> {
    let stream =
        TcpStream::connect(("127.0.0.1", port)).await.map_err(|error| format!("connecting: {error}"))?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Why a request was not answered with 200.
enum Failure {
    /// The connection closed before anything of the answer came.
    Closed,
    /// Anything else.
    Other(String),
}

/// One request on a connection that is kept as long as the gateway keeps it, or on a new one.
async fn ask(kept: &mut Option<Connection>, port: u16, tenant: &Tenant) -> Result<(), Failure> {
    // What said that it is over is over; nothing was sent on it.
    let mut open = kept.take();
    if let Some(connection) = &mut open
        && connection.ready().await.is_err()
    {
        open = None;
    }
    let mut connection = match open {
        Some(connection) => connection,
        None => connect(port).await.map_err(Failure::Other)?,
    };
    let request = Request::get("/v1/notes/7")
        .header("host", "localhost")
        .header("x-tenant-code", &tenant.code)
        .header("x-api-key", &tenant.key)
        .body(Empty::new())
        .expect("a request");
    // No head of an answer came.
    let answer = connection.send_request(request).await.map_err(|_| Failure::Closed)?;
    let status = answer.status();
    let body = answer.into_body().collect().await;
    body.map_err(|error| Failure::Other(format!("reading: {error:?}")))?;
    *kept = Some(connection);
    if status == 200 { Ok(()) } else { Err(Failure::Other(format!("answered {status}"))) }
}

/// Asks again and again, until it is enough.
pub async fn client(seen: Arc<Seen>, port: u16, tenant: Tenant, keeps: bool) {
    let mut kept = None;
    let mut beat = interval(Duration::from_millis(500));
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !seen.enough.load(Ordering::Relaxed) {
        beat.tick().await;
        match ask(&mut kept, port, &tenant).await {
            Ok(()) => drop(seen.answered.fetch_add(1, Ordering::Relaxed)),
            Err(Failure::Closed) => drop(seen.closed.fetch_add(1, Ordering::Relaxed)),
            Err(Failure::Other(error)) => seen.failures.lock().expect("no panic while held").push(error),
        }
        kept = kept.filter(|_| keeps);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_binary_is_replaced_and_no_request_fails() {
    let platform = Platform::start().await;
    let tenant = platform.tenant("acme-upgrade", "professional", "shared").await;
    platform.until(200, || Call::get("/v1/notes/7").tenant(&tenant)).await;
    let first = platform.pid();
    let seen = Arc::<Seen>::default();
    let clients: Vec<_> = (0..6)
        .map(|number| {
            tokio::spawn(client(seen.clone(), platform.gateway_port(), tenant.clone(), number % 3 != 0))
        })
        .collect();
    for _ in 0..2 {
        seen.more(20).await;
        platform.upgrade().await;
    }
    seen.more(20).await;
    seen.ends(clients).await;
    assert_ne!(platform.pid(), first);
    assert_eq!(platform.gateway(Call::get("/v1/notes/7").tenant(&tenant)).await.status, 200);
    // Three were asked besides.
    seen.is_counted(&platform, &tenant, 3).await;
}

impl Seen {
    /// Ends the clients; none of them may have failed.
    pub async fn ends(&self, clients: Vec<tokio::task::JoinHandle<()>>) {
        self.enough.store(true, Ordering::Relaxed);
        for client in clients {
            client.await.expect("no panic");
        }
        let failures = self.failures.lock().expect("no panic while held").clone();
        assert!(failures.is_empty(), "{} of {} failed: {failures:?}", failures.len(), self.answered());
    }

    /// Nothing that was served is lost from the count, and nothing is in it twice. So many were asked besides.
    pub async fn is_counted(&self, platform: &Platform, tenant: &Tenant, besides: u64) {
        let (answered, closed) = (self.answered(), self.closed.load(Ordering::Relaxed));
        println!("{answered} requests answered over upgrades; asked again: {closed}");
        // What was closed before its answer may have been served all the same.
        let (least, most) = (answered + besides, answered + besides + closed);
        counted_between(platform, tenant, (least, most)).await;
    }
}

async fn counted_between(platform: &Platform, tenant: &Tenant, (least, most): (u64, u64)) {
    let begun = tokio::time::Instant::now();
    let mut beat = interval(Duration::from_millis(200));
    loop {
        beat.tick().await;
        let path = format!("/v1/usage?tenant={}&meter=api_calls&step=total", tenant.code);
        let answer = platform.operate(Call::get(&path)).await;
        let counted: u64 = text(&answer["total"]["quantity"]).parse().expect("a whole number");
        assert!(counted <= most, "{counted} counted, {most} asked");
        if counted >= least {
            return;
        }
        assert!(begun.elapsed() < crate::platform::PATIENCE, "{counted} counted, {least} answered");
    }
}
