//! Starting and stopping: binds the listeners, starts one thread per core, drains them at the end.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rowhouse_domain::clock::Clock;
use rowhouse_domain::context::ContextSigner;
use rowhouse_domain::directory::DirectoryWatch;
use rowhouse_domain::entropy::Entropy;
use rowhouse_domain::keys::Peppers;
use rowhouse_domain::routes::SeenBoard;
use rowhouse_journal::{Journal, LaneError};
use tokio::sync::{oneshot, watch};

use crate::connection::accept_loop;
use crate::core::{Core, Shared};
use crate::limits::{LimitTable, StoreConfig};
use crate::metrics::{CoreMetrics, MetricsReader, MetricsSnapshot};
use crate::quotas::QuotaBook;
use crate::tls::{CertificateError, Tls, TlsListen};
use crate::{discovery, probes};

/// How a gateway is set up.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Where it listens; port 0 chooses a free one.
    pub listen: SocketAddr,
    /// Where it speaks TLS, too.
    pub tls: Option<TlsListen>,
    /// What arrives in the clear is sent on to https at this port of the same host; it is served as it is if not set.
    pub https_redirect_port: Option<u16>,
    /// Threads, 1 to 256; one per core is best.
    pub cores: usize,
    /// Where the catalogue of refusals is served, without a slash at the end; problems link there.
    pub docs_url: String,
    /// Peers whose `X-Forwarded-For` is believed. Empty: nobody's.
    pub trusted_proxies: Vec<IpAddr>,
    /// Whether they say which client certificate they were shown (`Client-Cert`, RFC 9440).
    pub proxied_certificates: bool,
    /// Counters of limits kept at once, 32 bytes each.
    pub limit_slots: usize,
    /// Time for a client to greet in TLS, and to send its headers.
    pub header_timeout: Duration,
    /// How long a connection may go unused.
    pub keep_alive_timeout: Duration,
    /// How long a request's body may be waited for, all in all, before it has to come with 1 KiB a second. Not for gRPC.
    pub body_grace: Duration,
    /// Time for a whole request, where its route says nothing else.
    pub whole_timeout: Duration,
    /// How long a service may say nothing in the middle of its answer, where the route says nothing else.
    pub idle_timeout: Duration,
    /// How long open requests may go on after [`GatewayHandle::drain`].
    pub drain_timeout: Duration,
    /// Connections held open at once, per core; more wait in the listener's queue.
    pub connections_max: usize,
    /// Connections that one client address may hold open, over all cores; further ones are closed at once. Not for
    /// `trusted_proxies`, which come with the connections of many.
    pub connections_per_address_max: u32,
    /// Where limits are counted together with other gateways; each for itself if nowhere.
    pub limit_store: Option<StoreConfig>,
    /// Who is asked for the copies that DNS names; those of the system if empty.
    pub resolvers: Vec<SocketAddr>,
    /// The folder of certificates that are shown to upstreams: PEM, each `NAME.crt` (the chain, its own first) with `NAME.key`.
    pub upstream_certificates: PathBuf,
    /// How often it is recorded what passed in an answer that goes on and over a WebSocket that stays open, in whole seconds.
    pub streams_recorded: Duration,
    /// Whether requests can be decided and recorded at all.
    pub freshness: Freshness,
    /// Where it is told what is seen of upstreams.
    pub board: SeenBoard,
}

impl GatewayConfig {
    /// The shipped bounds for a listener.
    pub fn new(listen: SocketAddr) -> Self {
        GatewayConfig {
            listen,
            tls: None,
            https_redirect_port: None,
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get()),
            docs_url: "https://rowhouse.dev".to_owned(),
            trusted_proxies: Vec::new(),
            proxied_certificates: false,
            limit_slots: 1 << 20,
            header_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(60),
            body_grace: Duration::from_secs(10),
            whole_timeout: Duration::from_secs(300),
            idle_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(30),
            connections_max: 50_000,
            connections_per_address_max: 4_096,
            limit_store: None,
            resolvers: Vec::new(),
            upstream_certificates: PathBuf::from("upstream-certificates"),
            streams_recorded: Duration::from_secs(60),
            freshness: Freshness::default(),
            board: SeenBoard::default(),
        }
    }
}

/// Whether requests can be decided and recorded: who follows the control plane says that the directory is young enough, and who looks
/// after the journal that it has room. They can, unless told otherwise.
#[derive(Debug, Clone, Default)]
pub struct Freshness(Arc<AtomicU8>);

/// Bits of [`Freshness`].
const STALE: u8 = 1;
const UNRECORDED: u8 = 2;

impl Freshness {
    /// Says that the directory is too old, or is not any more.
    pub fn set_stale(&self, stale: bool) {
        self.set(STALE, stale);
    }

    /// Says that requests could not be recorded and therefore are refused, or are not any more.
    pub fn set_unrecorded(&self, unrecorded: bool) {
        self.set(UNRECORDED, unrecorded);
    }

    fn set(&self, bit: u8, on: bool) {
        match on {
            true => self.0.fetch_or(bit, Ordering::Relaxed),
            false => self.0.fetch_and(!bit, Ordering::Relaxed),
        };
    }

    /// Whether neither was said.
    pub(crate) fn serves(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// Whether the directory is too old.
    pub(crate) fn is_stale(&self) -> bool {
        self.0.load(Ordering::Relaxed) & STALE != 0
    }
}

/// What a gateway works with.
#[derive(Debug, Clone)]
pub struct Collaborators {
    /// Where the current directory stands.
    pub directory: DirectoryWatch,
    /// Peppers of API keys.
    pub peppers: Peppers,
    /// Signs what services are told about their callers.
    pub signer: ContextSigner,
    /// Wall-clock time.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
}

/// Listeners of a gateway that is going, to go on with: what waits in their queues is not lost.
#[derive(Debug, Default)]
pub struct Doors {
    /// One for each core.
    pub plain: Vec<std::net::TcpListener>,
    /// The same for TLS.
    pub tls: Vec<std::net::TcpListener>,
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("listening on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        #[source]
        /// What the system said.
        source: io::Error,
    },
    /// Certificates cannot be used.
    #[error(transparent)]
    Certificates(#[from] CertificateError),
    /// A core's lane of the journal cannot be written.
    #[error("opening lane {lane} of the journal")]
    Lane {
        /// The lane.
        lane: String,
        #[source]
        /// What the journal said.
        source: LaneError,
    },
    /// The place of the store of limits is written wrongly.
    #[error("reading where limits are counted together")]
    Store(#[source] redis::RedisError),
    /// A thread or its runtime cannot be started.
    #[error("starting a thread of the gateway")]
    Thread(#[source] io::Error),
}

/// The data plane.
#[derive(Debug)]
pub struct Gateway;

impl Gateway {
    /// Binds, opens one journal lane per core (`gateway-0`, `gateway-1`, …) and serves until drained.
    /// The journal must outlive the handle.
    pub fn start(
        config: GatewayConfig,
        collaborators: Collaborators,
        journal: &Journal,
    ) -> Result<GatewayHandle, StartError> {
        Gateway::start_behind(Doors::default(), config, collaborators, journal)
    }

    /// The same behind doors that are open already. There are as many cores as doors then: each has a queue of its own.
    pub fn start_behind(
        doors: Doors,
        config: GatewayConfig,
        collaborators: Collaborators,
        journal: &Journal,
    ) -> Result<GatewayHandle, StartError> {
        let cores = if doors.plain.is_empty() { config.cores.clamp(1, 256) } else { doors.plain.len() };
        if let Some(store) = &config.limit_store {
            store.read().map_err(StartError::Store)?;
        }
        let open = |doors: Vec<std::net::TcpListener>, at: SocketAddr| {
            let is_there = |own: &std::net::TcpListener| own.local_addr().is_ok_and(|own| own == at);
            match doors.len() == cores && doors.iter().all(is_there) {
                true => Ok(doors),
                false => listen(at, cores).map_err(|source| StartError::Listen { address: at, source }),
            }
        };
        let listeners = open(doors.plain, config.listen)?;
        let address = listeners[0].local_addr().map_err(StartError::Thread)?;
        let tls = config.tls.as_ref().map(|own| Tls::new(&own.certificates).map(Arc::new)).transpose()?;
        let mut tls_listeners = Vec::new();
        if let Some(TlsListen { listen: at, .. }) = config.tls {
            tls_listeners = open(doors.tls, at)?;
        }
        let tls_address = tls_listeners.first().map(|own| own.local_addr());
        let tls_address = tls_address.transpose().map_err(StartError::Thread)?;
        let plain = copies(&listeners).map_err(StartError::Thread)?;
        let doors = Doors { plain, tls: copies(&tls_listeners).map_err(StartError::Thread)? };
        let mut tls_listeners = tls_listeners.into_iter();
        let mut shared = Shared::new(
            LimitTable::new(config.limit_slots),
            Arc::new(QuotaBook::default()),
            config,
            collaborators,
        );
        shared.tls = tls;
        let shared = Arc::new(shared);
        let (stop, stopped) = watch::channel(Phase::Serving);
        let metrics: Vec<_> = (0..cores).map(|_| Arc::new(CoreMetrics::default())).collect();
        let mut handle = GatewayHandle {
            address,
            tls_address,
            doors,
            stop,
            threads: Vec::new(),
            metrics: MetricsReader::new(metrics.clone()),
        };
        for (index, listener) in listeners.into_iter().enumerate() {
            let name = format!("gateway-{index}");
            let lane =
                journal.lane(&name).map_err(|source| StartError::Lane { lane: name.clone(), source })?;
            let (done, ended) = oneshot::channel();
            let (shared, metrics, stopped) = (shared.clone(), metrics[index].clone(), stopped.clone());
            let listeners = (listener, tls_listeners.next());
            let (say_begun, begun) = std::sync::mpsc::sync_channel(1);
            let thread = std::thread::Builder::new().name(name).spawn(move || {
                // A local runtime cannot leave the thread it was made on.
                let made = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build_local(Default::default());
                let runtime = match made {
                    Ok(runtime) => runtime,
                    Err(error) => return drop(say_begun.send(Err(error))),
                };
                let _ = say_begun.send(Ok(()));
                run(runtime, Core::new(index, shared, lane, metrics), index == 0, listeners, stopped);
                let _ = done.send(());
            });
            handle.threads.push((thread.map_err(StartError::Thread)?, ended));
            let begun = begun.recv().expect("the thread says how it began, first of all");
            begun.map_err(StartError::Thread)?;
        }
        Ok(handle)
    }
}

/// What a core should be doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Taking connections.
    Serving,
    /// Finishing what is open.
    Draining,
    /// Ending at once.
    Cut,
}

/// A core's thread, and word of its end.
type CoreThread = (JoinHandle<()>, oneshot::Receiver<()>);

/// A running gateway. Dropping it cuts what is open; [`drain`](Self::drain) lets it finish.
#[derive(Debug)]
pub struct GatewayHandle {
    address: SocketAddr,
    tls_address: Option<SocketAddr>,
    /// Copies of the listeners, to be handed on.
    doors: Doors,
    stop: watch::Sender<Phase>,
    threads: Vec<CoreThread>,
    metrics: MetricsReader,
}

impl GatewayHandle {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it speaks TLS.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls_address
    }

    /// Copies of its listeners, for who goes on after it. Who holds them while this gateway drains keeps the doors open: who comes in
    /// meanwhile waits in their queues.
    ///
    /// # Errors
    /// If there are no descriptors left.
    pub fn doors(&self) -> io::Result<Doors> {
        Ok(Doors { plain: copies(&self.doors.plain)?, tls: copies(&self.doors.tls)? })
    }

    /// What it did so far.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.metrics.snapshot()
    }

    /// A reader of its metrics that can be kept elsewhere.
    pub fn metrics_reader(&self) -> MetricsReader {
        self.metrics.clone()
    }

    /// Takes no new connections, lets open requests finish within `drain_timeout`, and ends.
    pub async fn drain(mut self) {
        self.doors = Doors::default();
        self.stop.send_replace(Phase::Draining);
        for (_, ended) in &mut self.threads {
            // An error means that the thread panicked; joining it below is all that is left.
            let _ = ended.await;
        }
    }
}

impl Drop for GatewayHandle {
    fn drop(&mut self) {
        self.stop.send_if_modified(|phase| {
            let serving = *phase == Phase::Serving;
            if serving {
                *phase = Phase::Cut;
            }
            serving
        });
        for (thread, _) in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the gateway panicked");
            }
        }
    }
}

fn copies(doors: &[std::net::TcpListener]) -> io::Result<Vec<std::net::TcpListener>> {
    doors.iter().map(std::net::TcpListener::try_clone).collect()
}

fn run(
    runtime: tokio::runtime::LocalRuntime,
    core: Core,
    is_first: bool,
    (listener, tls_listener): (std::net::TcpListener, Option<std::net::TcpListener>),
    stopped: watch::Receiver<Phase>,
) {
    let core = std::rc::Rc::new(core);
    runtime.block_on(async {
        if let Some(store) = &core.store {
            tokio::task::spawn_local(store.clone().tend(core.shared.limits.clone()));
        }
        if is_first {
            tokio::task::spawn_local(probes::run(core.clone()));
            tokio::task::spawn_local(discovery::run(core.clone()));
            tokio::task::spawn_local(core.shared.secure.clone().tend());
            if let Some(tls) = core.shared.tls.clone() {
                tokio::task::spawn_local(tls.tend());
            }
        }
        accept_loop(core.clone(), listener, tls_listener, stopped).await;
        core.left.close();
        if let Some(store) = &core.store {
            store.leave(&core.shared.limits).await;
        }
    });
    // Requests still open are cut here and recorded as such, while the lane is still open.
    drop(runtime);
    drop(core);
}

fn listen(address: SocketAddr, count: usize) -> io::Result<Vec<std::net::TcpListener>> {
    let first = listener(address)?;
    let address = first.local_addr()?;
    let others = (1..count).map(|_| listener(address));
    std::iter::once(Ok(first)).chain(others).collect()
}

/// One of several listeners on the same port; the kernel spreads connections over them.
fn listener(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}
