//! Idle connections, per address. Each core has its own; none is handed to another core.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use hyper::client::conn::{http1, http2};

use crate::body::UpstreamBody;

/// Idle HTTP/1.1 connections kept per address and core.
const IDLE_MAX: usize = 256;

/// One running copy of a service.
pub(crate) struct Upstream {
    /// `host:port`.
    pub(crate) address: Arc<str>,
    /// Whether it is spoken to in HTTP/2, with prior knowledge.
    pub(crate) http2: bool,
    idle: RefCell<Vec<http1::SendRequest<UpstreamBody>>>,
    shared: RefCell<Option<http2::SendRequest<UpstreamBody>>>,
}

impl Upstream {
    /// An idle connection that was open when last heard of.
    pub(crate) fn take_idle(&self) -> Option<http1::SendRequest<UpstreamBody>> {
        let mut idle = self.idle.borrow_mut();
        while let Some(sender) = idle.pop() {
            if !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    }

    /// Keeps a connection for the next request.
    pub(crate) fn put_idle(&self, sender: http1::SendRequest<UpstreamBody>) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < IDLE_MAX && !sender.is_closed() {
            idle.push(sender);
        }
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
pub(crate) struct Pools(RefCell<HashMap<Place, Rc<Upstream>>>);

impl Pools {
    /// The upstream at an address; its connections outlive versions of the directory.
    pub(crate) fn upstream(&self, address: &str, http2: bool) -> Rc<Upstream> {
        let address: Arc<str> = Arc::from(address);
        let mut pools = self.0.borrow_mut();
        let fresh = || {
            let (address, idle, shared) = (address.clone(), RefCell::default(), RefCell::default());
            Rc::new(Upstream { address, http2, idle, shared })
        };
        pools.entry((address.clone(), http2)).or_insert_with(fresh).clone()
    }

    /// Lets go of addresses that nobody uses any more.
    pub(crate) fn forget_unused(&self) {
        self.0.borrow_mut().retain(|_, upstream| Rc::strong_count(upstream) > 1);
    }
}
