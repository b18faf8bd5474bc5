//! Connections from clients: accepting, speaking HTTP/1.1 or HTTP/2 (h2c, by its preface), ending in good order.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::HeaderValue;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::addresses::Counted;
use crate::core::Core;
use crate::framing::Framing;
use crate::gateway::Phase;
use crate::idle::{Found, Use, Watched};
use crate::metrics::bump;
use crate::path::serve;
use crate::seen::seen;
use crate::stream::Stream;
use crate::tls::Shown;
use crate::websocket::{Tunnel, carry};

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
    /// What it says about its requests before they are parsed.
    pub(crate) heard: Heard,
    /// What the connection turns into once its last answer has left.
    pub(crate) tunnel: RefCell<Option<Tunnel>>,
}

/// What a connection's bytes say about its requests, and of the one that is being served.
#[derive(Clone, Default)]
pub(crate) struct Heard(Rc<HeardCells>);

#[derive(Default)]
struct HeardCells {
    framing: RefCell<Framing>,
    /// Of the request that is being served: HTTP/1 has one at a time, and HTTP/2 frames its requests otherwise.
    given_twice: Cell<Option<bool>>,
}

impl Heard {
    /// To be called for each request before it is served, in their order.
    fn next(&self) {
        self.0.given_twice.set(self.0.framing.borrow_mut().next_was_given_twice());
    }

    /// Whether the request's framing was given twice, or cannot be known to have been given once.
    pub(crate) fn given_twice(&self) -> bool {
        self.0.given_twice.get() != Some(false)
    }
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
    let mut builder = auto::Builder::new(LocalExecutor);
    // The time for heads is ours to watch.
    builder.http1().header_read_timeout(None);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(200).max_header_list_size(64 * 1024);
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
async fn finish(
    core: &Rc<Core>,
    builder: &Rc<auto::Builder<LocalExecutor>>,
    doors: Doors,
    mut stopped: watch::Receiver<Phase>,
) {
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

fn welcome(core: &Rc<Core>, builder: &Rc<auto::Builder<LocalExecutor>>, (stream, peer, is_tls): Guest) {
    let (core, builder) = (core.clone(), builder.clone());
    let Some(counted) = count(&core, peer.ip().to_canonical()) else {
        bump(&core.metrics.connections_refused, 1);
        return;
    };
    // A failure means that the peer has gone already, which reading will tell.
    let _ = stream.set_nodelay(true);
    bump(&core.metrics.connections, 1);
    let ticket = core.drain.ticket();
    tokio::task::spawn_local(async move {
        let Some((stream, shown)) = greeted(&core, stream, is_tls).await else {
            bump(&core.metrics.connections_malformed, 1);
            bump(&core.metrics.connections_closed, 1);
            return drop((ticket, counted));
        };
        let heard = Heard::default();
        let peer = Rc::new(peer_of(&core, peer, is_tls, (shown, heard.clone())));
        let seen = Rc::new(Use::default());
        let stream = Watched { stream, seen: seen.clone() };
        let tapped = Rc::new(RefCell::new(Some(Tapped { stream, heard, greeted: false })));
        let io = TokioIo::new(Lent { own: tapped.clone(), peer: peer.clone() });
        let serving = (core.clone(), seen.clone(), peer.clone());
        let service = service_fn(move |request| {
            let (core, peer) = (serving.0.clone(), serving.2.clone());
            let answering = serving.1.answer();
            serving.1.is_last.set(core.drain.draining());
            peer.heard.next();
            async move { Ok::<_, Infallible>(answering.until_sent(serve(core, peer, request).await)) }
        });
        let mut connection = pin!(builder.serve_connection(io, service));
        let mut registered = false;
        let mut told = false;
        let mut patience = Patience::new(&core);
        let mut farewell = Farewell::default();
        let ended = poll_fn(|cx| {
            if !registered {
                registered = true;
                ticket.register(cx.waker());
            }
            let ends = patience.ends(&seen, cx);
            let goes = ticket.draining() && (seen.http2.get() || farewell.is_due(&seen, ticket.rounds()));
            if !told && (ends != Ends::No || goes) {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
            match connection.as_mut().poll(cx) {
                Poll::Pending if ends == Ends::AtOnce => Poll::Ready(Ok(())),
                polled => polled,
            }
        });
        let ended = ended.await;
        // Taken in any case: the tunnel knows the peer that holds it.
        let tunnel = peer.tunnel.take();
        match (ended, tunnel, tapped.take()) {
            (Ok(()), Some(tunnel), Some(tapped)) => {
                carry(&core, &peer, tunnel, tapped.stream, || ticket.draining()).await;
            }
            (Err(error), ..) if is_malformed(&*error) => bump(&core.metrics.connections_malformed, 1),
            _ => {}
        }
        bump(&core.metrics.connections_closed, 1);
        drop((ticket, counted));
    });
}

/// Counts the connection with those of its address, if the address is one client's. `None`: it has too many.
fn count(core: &Core, address: IpAddr) -> Option<Option<Counted>> {
    let config = &core.shared.config;
    if config.trusted_proxies.contains(&address) {
        return Some(None);
    }
    core.shared.addresses.open(address, config.connections_per_address_max).map(Some)
}

/// How long a connection may go on without being used, or with a request that does not become whole: for
/// `header_timeout` and at most a quarter more. An unused one is told to end, and cut after the same time again. One
/// whose client does not take its answer is cut after as long as a request may take.
struct Patience {
    look: tokio::time::Interval,
    unused: u32,
    incomplete: u32,
    stuck: u32,
    stuck_max: u32,
    told: bool,
}

/// A round of silence when the gateway ends.
const SILENCE: Duration = Duration::from_secs(1);

/// Looks within `header_timeout`.
const LOOKS: u32 = 4;

/// How an HTTP/1 connection ends when the gateway does. A client that is about to ask cannot know that we are about to go, and an
/// answer whose head has left cannot say any more that it was the last. So a connection gets one more answer, which
/// says so, unless it stays unused for a whole round of silence.
#[derive(Default)]
struct Farewell {
    unused_since: Option<u32>,
}

impl Farewell {
    fn is_due(&mut self, seen: &Use, rounds: u32) -> bool {
        if seen.answers() {
            self.unused_since = None;
            return seen.is_last.get();
        }
        rounds > *self.unused_since.get_or_insert(rounds) + 1
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ends {
    No,
    InGoodOrder,
    AtOnce,
}

impl Patience {
    fn new(core: &Core) -> Self {
        let config = &core.shared.config;
        let every = (config.header_timeout / LOOKS).max(Duration::from_millis(1));
        let looks = config.whole_timeout.as_millis().div_ceil(every.as_millis());
        let stuck_max = u32::try_from(looks).unwrap_or(u32::MAX);
        let mut look = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Patience { look, unused: 0, incomplete: 0, stuck: 0, stuck_max, told: false }
    }

    fn ends(&mut self, seen: &Use, cx: &mut Context<'_>) -> Ends {
        let mut ends = Ends::No;
        while self.look.poll_tick(cx).is_ready() {
            ends = ends.max(self.after(seen.look(), seen));
        }
        ends
    }

    fn after(&mut self, found: Found, seen: &Use) -> Ends {
        // Saying good-bye moves bytes too.
        let unused = found == Found::Idle || (self.told && !seen.answers());
        self.unused = if unused { self.unused + 1 } else { 0 };
        self.incomplete = match found {
            Found::Incomplete => self.incomplete + 1,
            Found::Idle if self.incomplete > 0 => self.incomplete + 1,
            _ => 0,
        };
        self.stuck = if found == Found::Stuck { self.stuck + 1 } else { 0 };
        match () {
            () if self.stuck > self.stuck_max || self.incomplete > LOOKS => Ends::AtOnce,
            () if self.unused <= LOOKS => Ends::No,
            () if self.told => Ends::AtOnce,
            () => {
                (self.told, self.unused) = (true, 0);
                Ends::InGoodOrder
            }
        }
    }
}

fn peer_of(core: &Core, peer: SocketAddr, is_tls: bool, (shown, heard): (Shown, Heard)) -> Peer {
    let address = peer.ip().to_canonical();
    let trusted = core.shared.config.trusted_proxies.contains(&address);
    Peer {
        address,
        address_text: HeaderValue::try_from(address.to_string()).expect("addresses are visible ASCII"),
        trusted,
        tells_certificates: trusted && core.shared.config.proxied_certificates,
        scheme: if is_tls { "https" } else { "http" },
        shown,
        heard,
        tunnel: RefCell::default(),
    }
}

fn is_malformed(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse)
}

/// A stream that hyper has until the connection turns into something else. hyper could hand it back only if it could be
/// sent between threads; so it is lent, and taken back when hyper is done. What the client says from then on, hyper
/// does not get to read.
struct Lent {
    own: Rc<RefCell<Option<Tapped>>>,
    peer: Rc<Peer>,
}

impl Lent {
    fn with<T>(&self, act: impl FnOnce(Pin<&mut Tapped>) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match self.own.borrow_mut().as_mut() {
            Some(own) => act(Pin::new(own)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncRead for Lent {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.peer.tunnel.borrow().is_some() {
            return Poll::Pending;
        }
        self.with(|own| own.poll_read(cx, buf))
    }
}

impl AsyncWrite for Lent {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|own| own.poll_write(cx, buf))
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|own| own.poll_flush(cx))
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|own| own.poll_shutdown(cx))
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(|own| own.poll_write_vectored(cx, bufs))
    }
    fn is_write_vectored(&self) -> bool {
        self.own.borrow().as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }
}

/// A stream whose bytes are heard before they are parsed.
struct Tapped {
    stream: Watched<Stream>,
    heard: Heard,
    /// Whether anything was said yet.
    greeted: bool,
}

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            let bytes = &buf.filled()[before..];
            if !self.greeted && !bytes.is_empty() {
                // No method of HTTP/1 begins like the preface of HTTP/2 (RFC 9113 §3.4).
                self.greeted = true;
                self.stream.seen.http2.set(bytes.starts_with(b"PRI"));
            }
            self.heard.0.framing.borrow_mut().hear(bytes);
        }
        read
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
