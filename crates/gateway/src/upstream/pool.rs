//! Idle connections, per address. Each core has its own; none is handed to another core.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Secure;
use super::http1::Wire;
use crate::body::UpstreamBody;
use crate::probes::{Flag, Probes};
use crate::scratch::Scratch;
use crate::stream::Stream;
use hyper::client::conn::http2;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::routes::{Circuit, CircuitState, Health, PeakEwma, Seen, Trouble};

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
    pub(super) secure: Security,
    /// Requests that it has not answered.
    in_flight: Cell<u32>,
    health: Cell<Health>,
    /// Up while its active checks fail.
    probed_out: Flag,
    last_trouble: Cell<Option<(i64, Trouble)>>,
    latency: Cell<PeakEwma>,
    scratch: Scratch,
    idle: RefCell<Vec<Wire>>,
    shared: RefCell<Option<Shared>>,
}

/// An HTTP/2 connection that requests share, and since when.
type Shared = (http2::SendRequest<UpstreamBody>, Instant);

/// Whether a copy is spoken to in TLS.
#[derive(Clone, Default)]
pub(crate) enum Security {
    #[default]
    Plain,
    Tls(Arc<Secure>),
    /// It should be, and cannot: nobody speaks to it in the clear instead.
    Unusable,
}

/// How a service's copies are spoken to.
#[derive(Clone, Default)]
pub(crate) struct Speech {
    pub(crate) http2: bool,
    pub(crate) security: Security,
}

impl Speech {
    fn id(&self) -> (bool, u64) {
        let security = match &self.security {
            Security::Plain => 0,
            Security::Tls(secure) => secure.id,
            Security::Unusable => 2,
        };
        (self.http2, security)
    }
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
        self.probed_out.load(Ordering::Relaxed) != 0 || self.health.get().is_out(now_us)
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
    pub(crate) fn note(&self, now_us: i64, trouble: Option<Trouble>) {
        let mut health = self.health.get();
        if let Some(why) = trouble {
            self.last_trouble.set(Some((now_us, why)));
            health.failed(now_us);
            if health.is_out(now_us) && !self.health.get().is_out(now_us) {
                tracing::warn!(
                    upstream = &*self.address,
                    %why,
                    "an upstream fails again and again and is left out"
                );
            }
        } else {
            health.succeeded();
        }
        self.health.set(health);
    }

    /// What is told of it as a copy of a service.
    pub(crate) fn seen(&self, whose: Whose<'_>, now_us: i64) -> Seen {
        let Whose { service, release, tenant, care } = whose;
        let (health, circuit) =
            (self.health.get(), care.map(|care| care.circuit.borrow().state()).unwrap_or_default());
        let ejected_until_us = health.out_until_us(now_us);
        Seen {
            service: service.clone(),
            release: release.clone(),
            tenant,
            address: self.address.clone(),
            in_flight: self.in_flight.get(),
            latency_us: self.latency.get().latency_us(now_us),
            unwell: Trouble::from_number(self.probed_out.load(Ordering::Relaxed)),
            ejected_until_us,
            ejections: health.times_out(),
            failures: health.failures(),
            last_trouble: self.last_trouble.get(),
            circuit,
            cores: [1, u32::from(circuit != CircuitState::Closed), u32::from(ejected_until_us.is_some())],
        }
    }

    /// An idle connection that was open when last heard of.
    pub(crate) fn take_idle(&self) -> Option<Wire> {
        let mut idle = self.idle.borrow_mut();
        std::iter::from_fn(|| idle.pop().map(|mut wire| (wire.is_quiet(), wire)))
            .find_map(|(quiet, wire)| quiet.then_some(wire))
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
    pub(crate) fn wire(&self, stream: Stream) -> Wire {
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
        let shared = self.shared.borrow();
        shared.as_ref().map(|(sender, _)| sender).filter(|sender| !sender.is_closed()).cloned()
    }

    /// Keeps the HTTP/2 connection for all requests to come.
    pub(crate) fn share(&self, sender: http2::SendRequest<UpstreamBody>) {
        *self.shared.borrow_mut() = Some((sender, Instant::now()));
    }

    /// A request that was sent at `sent` was not answered in time: the other end may have gone without a word. Later ones go over another
    /// HTTP/2 connection, unless there is one since; those on this one go on.
    pub(crate) fn leave_shared_of_before(&self, sent: Instant) {
        self.shared.borrow_mut().take_if(|(_, since)| *since <= sent);
    }
}

/// An address, and how it is spoken to.
type Place = (Arc<str>, (bool, u64));

/// A service, and the tenant that has copies of its own.
type Cared = (Arc<str>, Option<TenantId>);

/// As whose copy an upstream is told of.
#[derive(Clone, Copy)]
pub(crate) struct Whose<'a> {
    pub(crate) service: &'a Arc<str>,
    pub(crate) release: &'a Arc<str>,
    pub(crate) tenant: Option<TenantId>,
    pub(crate) care: Option<&'a Care>,
}

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
    pub(crate) fn upstream(&self, address: &str, speech: &Speech) -> Rc<Upstream> {
        let address: Arc<str> = Arc::from(address);
        let mut upstreams = self.upstreams.borrow_mut();
        let fresh = || {
            Rc::new(Upstream {
                address: address.clone(),
                http2: speech.http2,
                secure: speech.security.clone(),
                in_flight: Cell::new(0),
                health: Cell::default(),
                probed_out: self.probes.flag(&address),
                last_trouble: Cell::default(),
                latency: Cell::default(),
                scratch: self.scratch.clone(),
                idle: RefCell::default(),
                shared: RefCell::default(),
            })
        };
        upstreams.entry((address.clone(), speech.id())).or_insert_with(fresh).clone()
    }

    /// What is known of a service, or of a tenant's own copies of it.
    pub(crate) fn care(&self, service: &Arc<str>, tenant: Option<TenantId>) -> Rc<Care> {
        self.cares.borrow_mut().entry((service.clone(), tenant)).or_default().clone()
    }

    /// The tenants' own copies that were asked: service, tenant and what is known of them.
    pub(crate) fn cares_of_tenants(&self) -> Vec<(Arc<str>, TenantId, Rc<Care>)> {
        let cares = self.cares.borrow();
        cares
            .iter()
            .filter_map(|((service, tenant), care)| Some((service.clone(), (*tenant)?, care.clone())))
            .collect()
    }

    /// All upstreams that are known.
    pub(crate) fn all(&self) -> Vec<Rc<Upstream>> {
        self.upstreams.borrow().values().cloned().collect()
    }

    /// Where the core's connections read into.
    pub(crate) fn scratch(&self) -> Scratch {
        self.scratch.clone()
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
