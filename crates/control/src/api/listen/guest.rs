//! Which place a connection has.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use rowhouse_domain::network::Network;

use super::Bounds;
use crate::lobby::{Lobby, Seat};

/// The places of one listener.
#[derive(Debug)]
pub(super) struct Places {
    silent: Arc<Lobby<Origin>>,
    asking: Arc<Lobby<Origin>>,
    proxies: Vec<IpAddr>,
    next: AtomicU64,
}

impl Places {
    pub(super) fn new(bounds: &Bounds) -> Self {
        Places {
            silent: Lobby::new(bounds.connections_max, bounds.of_one_max),
            asking: Lobby::new(bounds.connections_max, bounds.of_one_max),
            proxies: bounds.proxies.clone(),
            next: AtomicU64::new(0),
        }
    }

    fn origin(&self, address: IpAddr) -> Origin {
        match self.proxies.contains(&address.to_canonical()) {
            true => Origin::Proxy(self.next.fetch_add(1, Ordering::Relaxed)),
            false => Origin::Network(Network::of(address)),
        }
    }
}

/// Whose a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Network(Network),
    /// A connection of a trusted proxy: by itself.
    Proxy(u64),
}

/// One connection.
#[derive(Debug)]
pub(super) struct Guest {
    places: Arc<Places>,
    origin: Origin,
    standing: Mutex<Standing>,
}

#[derive(Debug, Default)]
struct Standing {
    /// Until what it asks for has come whole.
    silent: Option<Seat<Origin>>,
    /// From the head of what it asks for to the end of the answer.
    asking: Option<Seat<Origin>>,
    /// It takes no place any more.
    is_over: bool,
}

impl Guest {
    /// A newcomer.
    pub(super) fn enter(places: &Arc<Places>, address: IpAddr) -> Self {
        let origin = places.origin(address);
        let standing = Standing { silent: Some(places.silent.enter(origin)), ..Standing::default() };
        Guest { places: places.clone(), origin, standing: Mutex::new(standing) }
    }

    /// The head of a request has come; whether there is a place for it.
    pub(super) fn asks(&self) -> bool {
        let place = self.places.asking.enter_if_room(self.origin);
        let is_let_in = place.is_some();
        self.lock().asking = place;
        is_let_in
    }

    /// The request has come whole.
    pub(super) fn heard(&self) {
        self.lock().silent = None;
    }

    /// The request is answered: it is silent again, as the newest.
    pub(super) fn answered(&self) {
        let mut standing = self.lock();
        if !standing.is_over {
            standing.asking = None;
            standing.silent = Some(self.places.silent.enter(self.origin));
        }
    }

    /// The connection is over, whatever of it is still about.
    pub(super) fn leave(&self) {
        *self.lock() = Standing { is_over: true, ..Standing::default() };
    }

    /// Returns when another has got its place.
    pub(super) async fn lost(&self) {
        poll_fn(|context| self.lock().poll_lost(context)).await;
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    fn poll_lost(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.silent {
            Some(seat) => seat.poll_lost(context),
            None => Poll::Pending,
        }
    }
}
