//! How a listener of ours serves HTTP/1: so many connections and no more, so that who says nothing, or little, or does not read what he
//! asked for, takes neither all descriptors of the process nor anybody's place.
//!
//! A connection has one of the silent's places until it has asked for something whole, and again when that is answered. When those are taken, the
//! one that has been silent longest goes, of the newcomer's own network first. What is asked has a place of another kind, which it keeps
//! until it is answered; who finds none is told so. A proxy that is trusted to say where calls come from is many guests, not one.

mod body;
mod guest;
mod steady;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rowhouse_domain::refusal::{MEDIA_TYPE, kind};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower_service::Service as _;

use self::body::{Heard, Told};
use self::guest::{Guest, Places};
use self::steady::Steady;

/// Pause after a connection could not be accepted: out of descriptors, most likely.
const PAUSE: Duration = Duration::from_millis(10);

/// What a listener lets in.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Connections at once that have not asked for something whole, and as many that have; at least 1.
    pub connections_max: usize,
    /// Of these, of one network (an IPv4 address, or the /64 of an IPv6 address); at least 1.
    pub of_one_max: usize,
    /// Longest time in which the head of a request must have come, from the end of the one before on.
    pub head: Duration,
    /// Longest time without a byte of a body that is awaited, or of an answer that is taken.
    pub stall: Duration,
    /// Whose connections are counted by themselves.
    pub proxies: Vec<IpAddr>,
}

impl Bounds {
    /// For so many connections, a quarter of which may be of one network.
    pub fn of(connections_max: usize, proxies: &[IpAddr]) -> Self {
        Bounds {
            connections_max,
            of_one_max: connections_max.div_ceil(4),
            head: Duration::from_secs(30),
            stall: Duration::from_secs(20),
            proxies: proxies.to_vec(),
        }
    }
}

/// Serves `router` until told to stop, and then until what is under way is answered.
pub async fn listen(listener: TcpListener, router: Router, bounds: Bounds, mut stop: watch::Receiver<bool>) {
    let (places, ending) = (Arc::new(Places::new(&bounds)), stop.clone());
    let bounds = Arc::new(bounds);
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            () = told_to_stop(&mut stop) => break,
            Some(_) = open.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    // Taken before the task begins: who is in its way goes now.
                    let guest = Arc::new(Guest::enter(&places, peer.ip()));
                    open.spawn(serve((stream, peer), router.clone(), guest, bounds.clone(), ending.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    // An error means that the process ends.
    let _ = stop.wait_for(|stopping| *stopping).await;
}

async fn serve(
    (stream, peer): (TcpStream, SocketAddr),
    router: Router,
    guest: Arc<Guest>,
    bounds: Arc<Bounds>,
    mut stop: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let stall = bounds.stall;
    let service = service_fn(|request| answer((router.clone(), guest.clone()), (request, peer), stall));
    let mut served = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(bounds.head)
            .serve_connection(TokioIo::new(Steady::new(stream, stall)), service)
    );
    let mut is_stopping = false;
    loop {
        tokio::select! {
            // First the connection: what it changes about its places is seen right after.
            biased;
            ended = served.as_mut() => {
                let _ = ended.inspect_err(|error| tracing::debug!(%error, %peer, "a connection broke"));
                break;
            }
            () = guest.lost() => {
                tracing::debug!(%peer, "a connection made room for another");
                break;
            }
            () = told_to_stop(&mut stop), if !is_stopping => {
                is_stopping = true;
                served.as_mut().graceful_shutdown();
            }
        }
    }
    guest.leave();
}

async fn answer(
    (mut router, guest): (Router, Arc<Guest>),
    (request, peer): (Request<Incoming>, SocketAddr),
    stall: Duration,
) -> Result<Response<Told>, Infallible> {
    if !guest.asks() {
        return Ok(too_many().map(|body| Told::new(body, guest)));
    }
    let mut request = request.map(|body| Body::new(Heard::new(body, guest.clone(), stall)));
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = router.call(request).await?;
    Ok(response.map(|body| Told::new(body, guest)))
}

/// 503 `api.busy`, and the connection ends.
fn too_many() -> Response<Body> {
    let own = &kind::RATE_LIMITED;
    let told = json!({
        "title": own.title, "status": own.status, "code": own.code,
        "detail": "Too many calls are under way. Ask again in a second.",
    });
    let mut response = Response::new(Body::from(told.to_string()));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
