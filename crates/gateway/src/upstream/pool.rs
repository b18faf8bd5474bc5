//! Idle connections, per address. Each core has its own; none is handed to another core.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use hyper::client::conn::http2;
use tokio::net::TcpStream;

use super::http1::{Scratch, Wire};
use crate::body::UpstreamBody;

/// Idle HTTP/1.1 connections kept per address and core.
const IDLE_MAX: usize = 256;
/// Looks, one a second, after which an idle connection is closed.
const IDLE_LOOKS_MAX: u32 = 60;

/// One running copy of a service.
pub(crate) struct Upstream {
    /// `host:port`.
    pub(crate) address: Arc<str>,
    /// Whether it is spoken to in HTTP/2, with prior knowledge.
    pub(crate) http2: bool,
    scratch: Scratch,
    idle: RefCell<Vec<Wire>>,
    shared: RefCell<Option<http2::SendRequest<UpstreamBody>>>,
}

impl Upstream {
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

/// All upstreams that one core knows.
#[derive(Default)]
pub(crate) struct Pools {
    upstreams: RefCell<HashMap<Place, Rc<Upstream>>>,
    scratch: Scratch,
}

impl Pools {
    /// The upstream at an address; its connections outlive versions of the directory.
    pub(crate) fn upstream(&self, address: &str, http2: bool) -> Rc<Upstream> {
        let address: Arc<str> = Arc::from(address);
        let mut upstreams = self.upstreams.borrow_mut();
        let fresh = || {
            Rc::new(Upstream {
                address: address.clone(),
                http2,
                scratch: self.scratch.clone(),
                idle: RefCell::default(),
                shared: RefCell::default(),
            })
        };
        upstreams.entry((address.clone(), http2)).or_insert_with(fresh).clone()
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
