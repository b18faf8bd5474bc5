//! A service behind the gateway: tells what it saw, and misbehaves where it is asked to.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// A running service.
pub struct Upstream {
    pub address: SocketAddr,
    /// Requests that came so far.
    pub requests: Arc<AtomicU32>,
    /// Wakes what waits in `/wait`.
    pub gate: Arc<Notify>,
    /// Told when a request arrives in `/wait`.
    pub arrived: Arc<Notify>,
    _runtime: tokio::runtime::Runtime,
}

/// What the service does to be told apart.
#[derive(Clone)]
struct Manner {
    name: &'static str,
    requests: Arc<AtomicU32>,
    gate: Arc<Notify>,
    arrived: Arc<Notify>,
}

impl Upstream {
    pub fn start(name: &'static str) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let manner = Manner { name, requests: Arc::default(), gate: Arc::default(), arrived: Arc::default() };
        let upstream = Upstream {
            address,
            requests: manner.requests.clone(),
            gate: manner.gate.clone(),
            arrived: manner.arrived.clone(),
            _runtime: runtime,
        };
        upstream._runtime.spawn(serve(listener, manner));
        upstream
    }

    pub fn count(&self) -> u32 {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn serve(listener: TcpListener, manner: Manner) {
    while let Ok((stream, _)) = listener.accept().await {
        let manner = manner.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, manner.clone()));
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, manner: Manner) -> Result<Response<Told>, Infallible> {
    manner.requests.fetch_add(1, Ordering::SeqCst);
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    if path.ends_with("/wait") {
        manner.arrived.notify_one();
        manner.gate.notified().await;
    }
    if path.ends_with("/early") {
        return Ok(Response::builder().status(403).body(Told::Whole(Some(Bytes::from("no")))).unwrap());
    }
    if path.ends_with("/listening") {
        // The request is read on beside the answer.
        tokio::spawn(body.collect());
        let gate = manner.gate.clone();
        let told = Told::Gated(0, Box::pin(async move { gate.notified().await }));
        return Ok(Response::builder().body(told).unwrap());
    }
    let unread = path.ends_with("/unread");
    if unread {
        manner.arrived.notify_one();
        manner.gate.notified().await;
    }
    let body = match unread {
        false => body.collect().await.map(|body| body.to_bytes()).unwrap_or_default(),
        true => Bytes::new(),
    };
    let headers: Vec<_> = parts
        .headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    let told = json!({
        "upstream": manner.name,
        "method": parts.method.as_str(),
        "target": parts.uri.path_and_query().map(|target| target.as_str()),
        "version": format!("{:?}", parts.version),
        "authority": parts.uri.authority().map(|authority| authority.as_str()),
        "headers": headers,
        "body_bytes": body.len(),
        "body": String::from_utf8_lossy(&body[..body.len().min(100)]),
    });
    let mut response = Response::builder().header("x-own", "1");
    // What the caller asks the service to answer with.
    for (name, value) in &parts.headers {
        if let Some(name) = name.as_str().strip_prefix("x-answer-") {
            response = match name {
                "status" => response.status(value.to_str().unwrap()),
                name => response.header(name, value),
            };
        }
    }
    let whole = Bytes::from(told.to_string());
    let body = match path.rsplit('/').next() {
        Some("chunked") => Told::Pieces(vec![whole.slice(10..), whole.slice(..10)]),
        Some("broken") => Told::Broken(2),
        Some("endless") => Told::Endless,
        Some("gated") => {
            let gate = manner.gate.clone();
            Told::Gated(0, Box::pin(async move { gate.notified().await }))
        }
        Some("large") => Told::Pieces(vec![Bytes::from(vec![b'x'; 1 << 20]); 8]),
        _ => Told::Whole(Some(whole)),
    };
    Ok(response.body(body).unwrap())
}

/// The body of an answer.
pub enum Told {
    Whole(Option<Bytes>),
    /// Pieces, last first, in chunks.
    Pieces(Vec<Bytes>),
    /// Breaks off after some pieces and a pause.
    Broken(u32),
    /// Goes on for ever.
    Endless,
    /// A piece, and the rest once the gate is opened.
    Gated(u32, Pin<Box<dyn Future<Output = ()> + Send>>),
}

impl Body for Told {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let piece = match &mut *self {
            Told::Whole(bytes) => bytes.take(),
            Told::Pieces(pieces) => pieces.pop(),
            Told::Broken(0) => return Poll::Ready(Some(Err(std::io::Error::other("breaks off")))),
            // A pause, so that what was sent so far is on its way before the end.
            Told::Broken(left @ 1) => {
                *left -= 1;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Told::Broken(left) => {
                *left -= 1;
                Some(Bytes::from_static(b"piece"))
            }
            Told::Endless => Some(Bytes::from_static(&[b'x'; 4096])),
            Told::Gated(told @ 0, _) => {
                *told = 1;
                Some(Bytes::from_static(b"piece"))
            }
            Told::Gated(told @ 1, gate) => {
                std::task::ready!(gate.as_mut().poll(cx));
                *told = 2;
                Some(Bytes::from_static(b"rest"))
            }
            Told::Gated(..) => None,
        };
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self {
            Told::Whole(bytes) => {
                http_body::SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            _ => http_body::SizeHint::default(),
        }
    }
}
