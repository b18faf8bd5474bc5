//! Connections from clients: accepting, speaking HTTP/1.1 or HTTP/2 (h2c, by its preface), ending in good order.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request};
use hyper::body;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::addresses::Counted;
use crate::caller::{Ended, Incoming, Line, attend};
use crate::core::Core;
use crate::gateway::Phase;
use crate::idle::{Use, Watched};
use crate::metrics::bump;
use crate::path::serve;
use crate::patience::{SILENCE, Watch};
use crate::seen::seen;
use crate::stream::{Resumed, Stream};
use crate::tls::Shown;
use crate::websocket::{Tunnel, carry};

type Http2 = http2::Builder<LocalExecutor>;

/// Spawns onto the core's own thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// Who is at the other end of a connection.
pub(crate) struct Peer {
    /// IPv4-mapped addresses are folded.
    pub(crate) address: IpAddr,
    pub(crate) address_text: HeaderValue,
    /// Whether what it says about addresses before it is believed.
    pub(crate) trusted: bool,
    /// Whether it says which certificate it was shown, and is believed.
    pub(crate) tells_certificates: bool,
    /// `https` or `http`, as it came in here.
    pub(crate) scheme: &'static str,
    /// What it has shown in its handshake, if TLS is spoken.
    pub(crate) shown: Shown,
    /// What the connection turns into once its last answer has left.
    pub(crate) tunnel: RefCell<Option<Tunnel>>,
}

/// Where clients come in.
struct Doors {
    plain: TcpListener,
    tls: Option<TcpListener>,
}

/// Who came in, from where, and whether TLS is spoken.
type Guest = (TcpStream, SocketAddr, bool);

impl Doors {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Guest>> {
        if let Some(tls) = &self.tls
            && let Poll::Ready(accepted) = tls.poll_accept(cx)
        {
            return Poll::Ready(accepted.map(|(stream, peer)| (stream, peer, true)));
        }
        self.plain.poll_accept(cx).map_ok(|(stream, peer)| (stream, peer, false))
    }
}

/// Takes connections until told to stop, then lets them finish.
pub(crate) async fn accept_loop(
    core: Rc<Core>,
    listener: std::net::TcpListener,
    tls_listener: Option<std::net::TcpListener>,
    mut stopped: watch::Receiver<Phase>,
) {
    let open = |listener| TcpListener::from_std(listener).expect("the listener does not block");
    let doors = Doors { plain: open(listener), tls: tls_listener.map(open) };
    let limit = core.shared.config.connections_max;
    let mut builder = Http2::new(LocalExecutor);
    builder.timer(TokioTimer::new()).max_concurrent_streams(200).max_header_list_size(64 * 1024);
    let builder = Rc::new(builder);
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let accepted = async {
            core.drain.below(limit).await;
            poll_fn(|cx| doors.poll_accept(cx)).await
        };
        tokio::select! {
            biased;
            _ = stopped.wait_for(|phase| *phase != Phase::Serving) => break,
            _ = second.tick() => {
                core.pools.look();
                core.shared.config.board.tell(core.number, seen(&core));
            }
            accepted = accepted => match accepted {
                Ok(guest) => welcome(&core, &builder, guest),
                Err(error) => pause_after(error).await,
            },
        }
    }
    if *stopped.borrow() == Phase::Draining {
        finish(&core, &builder, doors, stopped).await;
    }
}

/// Takes what is queued already, closes the listener, and waits for what is open.
async fn finish(core: &Rc<Core>, builder: &Rc<Http2>, doors: Doors, mut stopped: watch::Receiver<Phase>) {
    let queued = poll_fn(|cx| {
        while let Poll::Ready(Ok(guest)) = doors.poll_accept(cx) {
            welcome(core, builder, guest);
        }
        Poll::Ready(())
    });
    queued.await;
    drop(doors);
    core.drain.begin();
    let silence = async {
        loop {
            tokio::time::sleep(SILENCE).await;
            core.drain.round();
        }
    };
    tokio::select! {
        () = core.drain.below(1) => {}
        () = silence => {}
        () = tokio::time::sleep(core.shared.config.drain_timeout) => {
            tracing::warn!(open = core.drain.open(), "requests were cut: they went on after the drain timeout");
        }
        _ = stopped.wait_for(|phase| *phase == Phase::Cut) => {}
    }
}

/// Out of descriptors, most likely: going on at once would only spin.
async fn pause_after(error: io::Error) {
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(Duration::from_millis(10)).await;
}

/// Greets in TLS, if it is spoken; a client has as long for it as for the head of a request.
async fn greeted(core: &Core, stream: TcpStream, is_tls: bool) -> Option<(Stream, Shown)> {
    let Some(tls) = core.shared.tls.as_ref().filter(|_| is_tls) else {
        return Some((Stream::Plain(stream), Shown::default()));
    };
    let greeting = tls.greet(|| core.shared.directory.current(), stream);
    let greeted = tokio::time::timeout(core.shared.config.header_timeout, greeting).await;
    let (stream, shown) = greeted.ok()?.ok()?;
    Some((Stream::Tls(Box::new(stream)), shown))
}

fn welcome(core: &Rc<Core>, builder: &Rc<Http2>, (stream, peer, is_tls): Guest) {
    let (core, builder) = (core.clone(), builder.clone());
    let Some(counted) = count(&core, peer.ip().to_canonical()) else {
        bump(&core.metrics.connections_refused, 1);
        return;
    };
    // A failure means that the peer has gone already, which reading will tell.
    let _ = stream.set_nodelay(true);
    bump(&core.metrics.connections, 1);
    let ticket = core.drain.ticket();
    // What is only needed for a while has a place of its own, so that a connection that is not used holds little.
    tokio::task::spawn_local(async move {
        let Some((stream, shown)) = Box::pin(greeted(&core, stream, is_tls)).await else {
            bump(&core.metrics.connections_malformed, 1);
            bump(&core.metrics.connections_closed, 1);
            return drop((ticket, counted));
        };
        let peer = Rc::new(peer_of(&core, peer, is_tls, shown));
        let seen = Rc::new(Use::default());
        let stream = Watched { stream, seen: seen.clone() };
        let line = Rc::new(Line::new(stream, core.pools.scratch()));
        let mut watch = Watch::new(&core, &ticket, seen.clone());
        let ended = {
            let attending = pin!(attend(&core, &peer, &line, &seen));
            watch.over(attending, |_| seen.told.set(true)).await
        };
        // Taken in any case: the tunnel knows the peer that holds it.
        match (ended, peer.tunnel.take(), line.take()) {
            (Some(Ended::Switched), Some(tunnel), Some(own)) => {
                Box::pin(carry(&core, &peer, tunnel, own, || ticket.draining())).await;
            }
            (Some(Ended::Http2), _, Some(own)) => {
                Box::pin(attend_http2(&core, &peer, &builder, &mut watch, own)).await;
            }
            _ => {}
        }
        bump(&core.metrics.connections_closed, 1);
        drop((ticket, counted));
    });
}

/// Serves a connection that speaks HTTP/2, from what it has `said` on.
async fn attend_http2(
    core: &Rc<Core>,
    peer: &Rc<Peer>,
    builder: &Http2,
    watch: &mut Watch<'_>,
    (stream, said): (Watched<Stream>, Bytes),
) {
    let seen = stream.seen.clone();
    seen.http2.set(true);
    let serving = (core.clone(), peer.clone());
    let service = service_fn(move |request: Request<body::Incoming>| {
        let (core, peer) = serving.clone();
        let answering = seen.answer();
        seen.is_last.set(core.drain.draining());
        let request = request.map(|own| Incoming::http2(own, core.shared.config.body_grace));
        async move {
            let answer = serve(core, peer, request).await;
            Ok::<_, Infallible>(answering.until_sent(answer.into_response()))
        }
    });
    let io = TokioIo::new(Resumed { said, stream });
    let connection = pin!(builder.serve_connection(io, service));
    if let Some(Err(error)) = watch.over(connection, http2::Connection::graceful_shutdown).await
        && error.is_parse()
    {
        bump(&core.metrics.connections_malformed, 1);
    }
}

/// Counts the connection with those of its address, if the address is one client's. `None`: it has too many.
fn count(core: &Core, address: IpAddr) -> Option<Option<Counted>> {
    let config = &core.shared.config;
    if config.trusted_proxies.contains(&address) {
        return Some(None);
    }
    core.shared.addresses.open(address, config.connections_per_address_max).map(Some)
}

fn peer_of(core: &Core, peer: SocketAddr, is_tls: bool, shown: Shown) -> Peer {
    let address = peer.ip().to_canonical();
    let trusted = core.shared.config.trusted_proxies.contains(&address);
    Peer {
        address,
        address_text: HeaderValue::try_from(address.to_string()).expect("addresses are visible ASCII"),
        trusted,
        tells_certificates: trusted && core.shared.config.proxied_certificates,
        scheme: if is_tls { "https" } else { "http" },
        shown,
        tunnel: RefCell::default(),
    }
}
