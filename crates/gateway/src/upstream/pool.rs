//! Idle connections, per address. Each core has its own; none is handed to another core.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::client::conn::http2;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::routes::{Circuit, Health, PeakEwma};
use tokio::net::TcpStream;

use super::http1::{Scratch, Wire};
use crate::body::UpstreamBody;
use crate::probes::Probes;

/// Idle HTTP/1.1 connections kept per address and core.
const IDLE_MAX: usize = 256;
/// What a failure counts as at least, in time.
const FAILURE_COSTS_US: u64 = 1_000_000;
/// Looks, one a second, after which an idle connection is closed.
const IDLE_LOOKS_MAX: u32 = 60;

/// One running copy of a service.
pub(crate) struct Upstream {
    /// `host:port`.
    pub(crate) address: Arc<str>,
    /// Whether it is spoken to in HTTP/2, with prior knowledge.
    pub(crate) http2: bool,
    /// Requests that it has not answered.
    in_flight: Cell<u32>,
    health: Cell<Health>,
    /// Up while its active checks fail.
    probed_out: Arc<AtomicBool>,
    latency: Cell<PeakEwma>,
    scratch: Scratch,
    idle: RefCell<Vec<Wire>>,
    shared: RefCell<Option<http2::SendRequest<UpstreamBody>>>,
}

/// A request on its way to a copy, until it is dropped.
pub(crate) struct InFlight(Rc<Upstream>);

impl InFlight {
    /// Counts one more.
    pub(crate) fn at(upstream: &Rc<Upstream>) -> Self {
        upstream.in_flight.set(upstream.in_flight.get() + 1);
        InFlight(upstream.clone())
    }
}

impl std::ops::Deref for InFlight {
    type Target = Upstream;

    fn deref(&self) -> &Upstream {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
    }
}

/// What one core knows of a service, or of a tenant's own copies of it, from how its requests ended.
#[derive(Default)]
pub(crate) struct Care {
    pub(crate) circuit: RefCell<Circuit>,
    /// What repeating requests is paid from.
    pub(crate) credit: Credit,
}

/// A tenth of the requests may be repeated: each pays in one, and a repetition takes ten.
pub(crate) struct Credit(Cell<u32>);

const REPETITION: u32 = 10;
const CREDIT_MAX: u32 = 1_000;

impl Default for Credit {
    fn default() -> Self {
        Credit(Cell::new(10 * REPETITION))
    }
}

impl Credit {
    /// A request came.
    pub(crate) fn pay_in(&self) {
        self.0.set((self.0.get() + 1).min(CREDIT_MAX));
    }

    /// Whether a repetition can be paid; then it is.
    pub(crate) fn take(&self) -> bool {
        let left = self.0.get().checked_sub(REPETITION);
        left.inspect(|left| self.0.set(*left)).is_some()
    }
}

impl Upstream {
    /// Requests that it has not answered.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }

    /// Whether it failed so often that it is not to be asked now.
    pub(crate) fn is_out(&self, now_us: i64) -> bool {
        self.probed_out.load(Ordering::Relaxed) || self.health.get().is_out(now_us)
    }

    /// What it costs to ask it, by how long it takes and what it has to do.
    pub(crate) fn cost(&self, now_us: i64) -> f64 {
        self.latency.get().cost(now_us, self.in_flight.get())
    }

    /// Notes how long it took. Who fails fast is not to draw all requests for that.
    pub(crate) fn took(&self, now_us: i64, us: u64, failed: bool) {
        let mut latency = self.latency.get();
        latency.note(now_us, if failed { us.max(FAILURE_COSTS_US) } else { us });
        self.latency.set(latency);
    }

    /// Notes how a request ended.
    pub(crate) fn note(&self, now_us: i64, failed: bool) {
        let mut health = self.health.get();
        if failed {
            health.failed(now_us);
            if health.is_out(now_us) && !self.health.get().is_out(now_us) {
                tracing::warn!(
                    upstream = &*self.address,
                    "an upstream fails again and again and is left out"
                );
            }
        } else {
            health.succeeded();
        }
        self.health.set(health);
    }

    /// An idle connection that was open when last heard of.
    pub(crate) fn take_idle(&self) -> Option<Wire> {
        let mut idle = self.idle.borrow_mut();
        std::iter::from_fn(|| idle.pop()).find(Wire::is_quiet)
    }

    /// Keeps a connection for the next request.
    pub(crate) fn put_idle(&self, mut wire: Wire) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < IDLE_MAX {
            wire.idle_looks = 0;
            idle.push(wire);
        }
    }

    /// A connection over a socket that was just connected.
    pub(crate) fn wire(&self, stream: TcpStream) -> Wire {
        Wire::new(stream, self.scratch.clone())
    }

    /// Closes idle connections that the upstream has closed, or that nobody has needed for a minute.
    fn look(&self) {
        self.idle.borrow_mut().retain_mut(|wire| {
            wire.idle_looks += 1;
            wire.idle_looks < IDLE_LOOKS_MAX && wire.is_quiet()
        });
    }

    /// The HTTP/2 connection, if it is open.
    pub(crate) fn shared(&self) -> Option<http2::SendRequest<UpstreamBody>> {
        self.shared.borrow().as_ref().filter(|sender| !sender.is_closed()).cloned()
    }

    /// Keeps the HTTP/2 connection for all requests to come.
    pub(crate) fn share(&self, sender: http2::SendRequest<UpstreamBody>) {
        *self.shared.borrow_mut() = Some(sender);
    }
}

/// An address, and whether it is spoken to in HTTP/2.
type Place = (Arc<str>, bool);

/// A service, and the tenant that has copies of its own.
type Cared = (Arc<str>, Option<TenantId>);

/// All upstreams that one core knows.
#[derive(Default)]
pub(crate) struct Pools {
    upstreams: RefCell<HashMap<Place, Rc<Upstream>>>,
    cares: RefCell<HashMap<Cared, Rc<Care>>>,
    scratch: Scratch,
    probes: Arc<Probes>,
}

impl Pools {
    /// No upstreams yet; `probes` says which are out.
    pub(crate) fn new(probes: Arc<Probes>) -> Self {
        Pools { probes, ..Pools::default() }
    }

    /// The upstream at an address; its connections outlive versions of the directory.
    pub(crate) fn upstream(&self, address: &str, http2: bool) -> Rc<Upstream> {
        let address: Arc<str> = Arc::from(address);
        let mut upstreams = self.upstreams.borrow_mut();
        let fresh = || {
            Rc::new(Upstream {
                address: address.clone(),
                http2,
                in_flight: Cell::new(0),
                health: Cell::default(),
                probed_out: self.probes.flag(&address),
                latency: Cell::default(),
                scratch: self.scratch.clone(),
                idle: RefCell::default(),
                shared: RefCell::default(),
            })
        };
        upstreams.entry((address.clone(), http2)).or_insert_with(fresh).clone()
    }

    /// What is known of a service, or of a tenant's own copies of it.
    pub(crate) fn care(&self, service: &Arc<str>, tenant: Option<TenantId>) -> Rc<Care> {
        self.cares.borrow_mut().entry((service.clone(), tenant)).or_default().clone()
    }

    /// Lets go of addresses that nobody uses any more.
    pub(crate) fn forget_unused(&self) {
        self.upstreams.borrow_mut().retain(|_, upstream| Rc::strong_count(upstream) > 1);
    }

    /// Looks after idle connections; to be called once a second.
    pub(crate) fn look(&self) {
        self.upstreams.borrow().values().for_each(|upstream| upstream.look());
    }
}
