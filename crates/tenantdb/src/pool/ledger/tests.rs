//! The rules of the ledger, with connections that are numbers.

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
    assert_eq!(ledger.ask(&key("a"), 10, (3, false)).expect("idle").connection.map(|wire| wire.0), Some(7));
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
