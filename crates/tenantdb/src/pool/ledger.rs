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
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Wire(u32, Instant);
    impl Connection for Wire {
        fn is_fit(&self, _: Instant) -> bool {
            self.0 != 0
        }
        fn idle_since(&self) -> Instant {
            self.1
        }
        fn set_idle_since(&mut self, now: Instant) {
            self.1 = now;
        }
    }
    impl Waiter for (u32, bool) {
        fn has_given_up(&self) -> bool {
            self.1
        }
    }

    fn key(name: &str) -> PoolKey {
        PoolKey { database: name.to_owned(), login: name.to_owned(), schema: name.to_owned() }
    }
    fn wire(number: u32) -> Option<Wire> {
        Some(Wire(number, Instant::now()))
    }
    fn ledger(budget: u32) -> Ledger<Wire, (u32, bool)> {
        Ledger::new(budget)
    }

    #[test]
    fn a_connection_comes_back_to_its_own_pool_only() {
        let ledger = ledger(2);
        assert!(ledger.ask(&key("a"), 10, (1, false)).expect("a place").connection.is_none());
        assert!(ledger.release(&key("a"), wire(7)).0.is_none());
        assert!(ledger.ask(&key("b"), 10, (2, false)).expect("a place").connection.is_none());
        assert_eq!(
            ledger.ask(&key("a"), 10, (3, false)).expect("idle").connection.map(|wire| wire.0),
            Some(7)
        );
        assert_eq!(ledger.open(), 2);
    }

    #[test]
    fn a_full_budget_evicts_the_longest_idle_of_others_then_makes_wait() {
        let ledger = ledger(2);
        for (name, number) in [("a", 1), ("b", 2)] {
            ledger.ask(&key(name), 10, (0, false)).expect("a place");
            ledger.release(&key(name), wire(number));
        }
        let evicting = ledger.ask(&key("c"), 10, (3, false)).expect("the place of a");
        assert_eq!(evicting.evicted.map(|wire| wire.0), Some(1));
        assert_eq!(
            ledger.ask(&key("d"), 10, (4, false)).expect("the place of b").evicted.map(|wire| wire.0),
            Some(2)
        );
        assert!(ledger.ask(&key("e"), 10, (5, false)).is_none(), "nothing is idle");
        let (admitted, surplus) = ledger.release(&key("c"), wire(3));
        let admitted = admitted.expect("e waits");
        assert_eq!((admitted.waiter.0, admitted.key, surplus), (5, key("e"), None));
        assert_eq!(admitted.grant.evicted.map(|wire| wire.0), Some(3), "c's connection is no use to e");
        assert_eq!(ledger.open(), 2);
    }

    #[test]
    fn a_pool_of_full_size_does_not_hold_up_others_and_is_served_in_order() {
        let ledger = ledger(3);
        ledger.ask(&key("a"), 1, (0, false)).expect("a place");
        assert!(ledger.ask(&key("a"), 1, (1, false)).is_none());
        assert!(ledger.ask(&key("a"), 1, (2, false)).is_none());
        assert!(ledger.ask(&key("b"), 1, (3, false)).is_some(), "b has room");
        let first = ledger.release(&key("a"), wire(9)).0.expect("1 waits");
        assert_eq!((first.waiter.0, first.grant.connection.map(|wire| wire.0)), (1, Some(9)));
        assert_eq!(ledger.release(&key("a"), None).0.expect("2 waits").waiter.0, 2);
    }

    #[test]
    fn the_dead_and_the_departed_are_passed_over() {
        let ledger = ledger(1);
        ledger.ask(&key("a"), 5, (0, false)).expect("a place");
        assert!(ledger.ask(&key("a"), 5, (1, true)).is_none());
        let (admitted, surplus) = ledger.release(&key("a"), wire(0));
        assert!(admitted.is_none(), "1 has given up");
        assert_eq!(
            (surplus.map(|wire| wire.0), ledger.open()),
            (Some(0), 0),
            "an unfit connection frees its place"
        );
    }

    #[test]
    fn a_smaller_budget_is_reached_as_connections_come_back_and_a_larger_one_admits() {
        let ledger = ledger(2);
        ledger.ask(&key("a"), 5, (0, false)).expect("a place");
        ledger.ask(&key("a"), 5, (0, false)).expect("a place");
        assert!(ledger.set_budget(1).0.is_empty());
        assert_eq!(ledger.release(&key("a"), wire(1)).1.map(|wire| wire.0), Some(1));
        assert!(ledger.ask(&key("b"), 5, (7, false)).is_none());
        let (admitted, _) = ledger.set_budget(3);
        assert_eq!(admitted.iter().map(|admitted| admitted.waiter.0).collect::<Vec<_>>(), [7]);
        assert_eq!(ledger.open(), 2);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Ask(usize),
        Release(usize, bool),
        Budget(u32),
        GiveUp,
    }

    fn steps() -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
        use proptest::prelude::*;
        let step = prop_oneof![
            4 => (0..4usize).prop_map(Step::Ask),
            4 => (any::<usize>(), any::<bool>()).prop_map(|(which, fit)| Step::Release(which, fit)),
            1 => (1..6u32).prop_map(Step::Budget),
            1 => Just(Step::GiveUp),
        ];
        proptest::collection::vec(step, 1..80)
    }

    proptest::proptest! {
        /// Whatever happens: every open place is on loan or idle, the budget is kept, nobody waits for what is free.
        #[test]
        fn places_are_neither_lost_nor_made(steps in steps()) {
            const SIZE: u32 = 2;
            let names = ["a", "b", "c", "d"];
            let ledger = ledger(3);
            let mut on_loan: Vec<PoolKey> = Vec::new();
            let mut most = 3;
            for step in steps {
                match step {
                    Step::Ask(pool) => {
                        if ledger.ask(&key(names[pool]), SIZE, (0, false)).is_some() {
                            on_loan.push(key(names[pool]));
                        }
                    }
                    Step::Release(which, fit) if !on_loan.is_empty() => {
                        let released = on_loan.swap_remove(which % on_loan.len());
                        let connection = wire(u32::from(fit));
                        on_loan.extend(ledger.release(&released, connection).0.map(|admitted| admitted.key));
                    }
                    Step::Release(..) => {}
                    Step::Budget(budget) => {
                        on_loan.extend(ledger.set_budget(budget).0.into_iter().map(|admitted| admitted.key));
                    }
                    Step::GiveUp => {
                        if let Some(first) = ledger.state().waiting.front_mut() {
                            first.waiter.1 = true;
                        }
                    }
                }
                let state = ledger.state();
                most = most.min(state.open).max(state.budget);
                let idle: usize = state.pools.values().map(|pool| pool.idle.len()).sum();
                let taken: u32 = state.pools.values().map(|pool| pool.taken).sum();
                proptest::prop_assert_eq!((state.open as usize, taken), (on_loan.len() + idle, state.open));
                proptest::prop_assert!(state.open <= most, "{} open, {} allowed", state.open, most);
                let room = state.open < state.budget || idle > 0;
                for waiting in state.waiting.iter().filter(|waiting| !waiting.waiter.1) {
                    let full = state.pools.get(&waiting.key).is_some_and(|pool| pool.taken >= SIZE);
                    proptest::prop_assert!(full || !room, "{:?} waits for a free place", waiting.key);
                }
            }
        }
    }
}
