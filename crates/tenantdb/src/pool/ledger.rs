//! Who has which place in a cell's budget, and who waits. Plain book-keeping under one short lock: no I/O happens
//! here, which is also why its rules can be tested without a server.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Backend, PoolKey, Slot};

/// Idle connections are closed after this.
const IDLE: Duration = Duration::from_secs(30);
/// A connection is closed when it comes back this long after it was opened.
const LIFETIME: Duration = Duration::from_secs(30 * 60);
/// Most transactions that wait for one cell in one process.
const WAITERS_MAX: usize = 10_000;

/// What the ledger needs to know of a connection.
pub(super) trait Connection {
    fn is_fit(&self, now: Instant) -> bool;
    fn idle_since(&self) -> Instant;
    fn set_idle_since(&mut self, now: Instant);
}

impl Connection for Backend {
    fn is_fit(&self, now: Instant) -> bool {
        !self.is_closed() && now.duration_since(self.opened_at) < LIFETIME
    }
    fn idle_since(&self) -> Instant {
        self.idle_since
    }
    fn set_idle_since(&mut self, now: Instant) {
        self.idle_since = now;
    }
}

/// What the ledger needs to know of one who waits.
pub(super) trait Waiter {
    fn has_given_up(&self) -> bool;
}

impl Waiter for oneshot::Sender<Slot> {
    fn has_given_up(&self) -> bool {
        self.is_closed()
    }
}

/// A place in the budget.
#[derive(Debug)]
pub(super) struct Grant<C> {
    /// Open already, or to be opened.
    pub connection: Option<C>,
    /// Another pool's idle connection whose place this is.
    pub evicted: Option<C>,
}

/// A place for one who waited.
#[derive(Debug)]
pub(super) struct Admitted<C, W> {
    pub waiter: W,
    pub key: PoolKey,
    pub grant: Grant<C>,
}

struct Waiting<W> {
    waiter: W,
    key: PoolKey,
    size: u32,
}

struct Pool<C> {
    /// Places taken: on loan, idle, or being opened.
    taken: u32,
    /// The longest idle first.
    idle: VecDeque<C>,
}

impl<C> Default for Pool<C> {
    fn default() -> Self {
        Pool { taken: 0, idle: VecDeque::new() }
    }
}

struct State<C, W> {
    budget: u32,
    open: u32,
    pools: HashMap<PoolKey, Pool<C>>,
    waiting: VecDeque<Waiting<W>>,
}

pub(super) struct Ledger<C, W>(Mutex<State<C, W>>);

impl<C: Connection, W: Waiter> Ledger<C, W> {
    pub fn new(budget: u32) -> Self {
        Ledger(Mutex::new(State { budget, open: 0, pools: HashMap::new(), waiting: VecDeque::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State<C, W>> {
        self.0.lock().expect("nothing panics while it holds the ledger")
    }

    pub fn open(&self) -> u32 {
        self.state().open
    }

    /// A place at once, or `None`: then `waiter` stands in the queue (or is dropped, if that is full).
    pub fn ask(&self, key: &PoolKey, size: u32, waiter: W) -> Option<Grant<C>> {
        let mut state = self.state();
        let now = Instant::now();
        while let Some(connection) = state.pools.get_mut(key).and_then(|pool| pool.idle.pop_back()) {
            if connection.is_fit(now) {
                return Some(Grant { connection: Some(connection), evicted: None });
            }
            state.leave(key);
        }
        if let Some(grant) = state.take_place(key, size) {
            return Some(grant);
        }
        if state.waiting.len() < WAITERS_MAX {
            state.waiting.push_back(Waiting { waiter, key: key.clone(), size });
        }
        None
    }

    /// Takes back a place of `key`. Answers who gets it, and a connection that is to be closed.
    pub fn release(&self, key: &PoolKey, connection: Option<C>) -> (Option<Admitted<C, W>>, Option<C>) {
        let mut state = self.state();
        let now = Instant::now();
        let over = state.open > state.budget;
        let (mut fit, unfit) = match connection {
            Some(connection) if !over && connection.is_fit(now) => (Some(connection), None),
            other => (None, other),
        };
        if over {
            state.leave(key);
            return (None, unfit);
        }
        if let Some(next) = state.next_waiting(Some(key)) {
            let grant = if next.key == *key {
                Grant { connection: fit.take(), evicted: None }
            } else {
                state.pool(key).taken -= 1;
                state.pool(&next.key).taken += 1;
                Grant { connection: None, evicted: fit.take() }
            };
            return (Some(Admitted { waiter: next.waiter, key: next.key, grant }), unfit);
        }
        match fit {
            Some(mut connection) => {
                connection.set_idle_since(now);
                state.pool(key).idle.push_back(connection);
            }
            None => state.leave(key),
        }
        (None, unfit)
    }

    /// Sets the budget. Answers those who fit into a larger one, and the idle connections that a smaller one costs.
    pub fn set_budget(&self, budget: u32) -> (Vec<Admitted<C, W>>, Vec<C>) {
        let mut state = self.state();
        state.budget = budget;
        let mut surplus = Vec::new();
        while state.open > state.budget {
            let Some(connection) = state.evict() else { break };
            state.open -= 1;
            surplus.push(connection);
        }
        let mut admitted = Vec::new();
        while state.open < state.budget {
            let Some(next) = state.next_waiting(None) else { break };
            state.open += 1;
            state.pool(&next.key).taken += 1;
            let grant = Grant { connection: None, evicted: None };
            admitted.push(Admitted { waiter: next.waiter, key: next.key, grant });
        }
        (admitted, surplus)
    }

    /// Takes out what has been idle or open for too long, and forgets pools without connections.
    pub fn sweep(&self) -> Vec<C> {
        let mut state = self.state();
        let now = Instant::now();
        let mut closing = Vec::new();
        for pool in state.pools.values_mut() {
            let keep = |connection: &C| connection.is_fit(now) && now - connection.idle_since() < IDLE;
            let (kept, stale): (Vec<C>, Vec<C>) = pool.idle.drain(..).partition(keep);
            pool.idle = kept.into();
            pool.taken -= stale.len() as u32;
            closing.extend(stale);
        }
        state.open -= closing.len() as u32;
        state.pools.retain(|_, pool| pool.taken > 0);
        closing
    }
}

impl<C: Connection, W: Waiter> State<C, W> {
    fn pool(&mut self, key: &PoolKey) -> &mut Pool<C> {
        self.pools.entry(key.clone()).or_default()
    }

    fn leave(&mut self, key: &PoolKey) {
        self.open -= 1;
        self.pool(key).taken -= 1;
    }

    /// A free place, or that of the longest idle connection of another pool.
    fn take_place(&mut self, key: &PoolKey, size: u32) -> Option<Grant<C>> {
        if self.pool(key).taken >= size {
            return None;
        }
        let evicted = if self.open < self.budget {
            self.open += 1;
            None
        } else {
            Some(self.evict()?)
        };
        self.pool(key).taken += 1;
        Some(Grant { connection: None, evicted })
    }

    fn evict(&mut self) -> Option<C> {
        let longest = |pool: &&mut Pool<C>| pool.idle.front().map(Connection::idle_since);
        let pool = self.pools.values_mut().filter(|pool| !pool.idle.is_empty()).min_by_key(longest)?;
        pool.taken -= 1;
        pool.idle.pop_front()
    }

    /// The first in the queue that could use a place now; `freed` is the pool whose place that is.
    fn next_waiting(&mut self, freed: Option<&PoolKey>) -> Option<Waiting<W>> {
        self.waiting.retain(|waiting| !waiting.waiter.has_given_up());
        let at = (0..self.waiting.len()).find(|&at| {
            let waiting = &self.waiting[at];
            let taken = self.pools.get(&waiting.key).map_or(0, |pool| pool.taken);
            freed == Some(&waiting.key) || taken < waiting.size
        })?;
        self.waiting.remove(at)
    }
}

#[cfg(test)]
mod tests;
