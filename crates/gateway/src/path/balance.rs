//! Which copies of a service are asked, and in which order. Copies that failed again and again are passed over, unless
//! more than half would be: then something else is wrong, and all are asked.

use std::hash::BuildHasher;
use std::rc::Rc;

use foldhash::quality::FixedState;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::routes::Balancing;

use crate::upstream::Upstream;

/// Copies that one request can try: the first, and two more.
pub(crate) type Candidates = [Option<Rc<Upstream>>; 3];

/// What decides.
pub(super) struct Choosing<'a> {
    pub(super) balancing: Balancing,
    /// Whose turn it is.
    pub(super) turn: usize,
    /// In which order copies come; empty where they have no weights.
    pub(super) turns: &'a [usize],
    /// Drawn for this request, where something is drawn.
    pub(super) draw: u64,
    pub(super) tenant: Option<TenantId>,
    pub(super) now_us: i64,
}

impl Choosing<'_> {
    /// The best copy and those to try after it; `None` if there is no copy at all. An only copy is tried twice.
    pub(super) fn order(&self, copies: &[Rc<Upstream>]) -> Option<Candidates> {
        if let [only] = copies {
            return Some([Some(only.clone()), Some(only.clone()), None]);
        }
        let out = copies.iter().filter(|copy| copy.is_out(self.now_us)).count();
        let passes_over = out > 0 && out * 2 <= copies.len();
        let fit = |place: &usize| !(passes_over && copies[*place].is_out(self.now_us));
        let first = self.best(fit, copies)?;
        // After it the next ones in the ring; those that are out come last.
        let others = (1..copies.len()).map(|step| (first + step) % copies.len());
        let mut ring = others.clone().filter(fit).chain(others.filter(|place| !fit(place)));
        let mut next = || ring.next().map(|place| copies[place].clone());
        Some([Some(copies[first].clone()), next(), next()])
    }

    fn best(&self, fit: impl Fn(&usize) -> bool + Copy, copies: &[Rc<Upstream>]) -> Option<usize> {
        // Behind the copy whose turn it is.
        let behind = |place: usize| (place + copies.len() - self.turn % copies.len()) % copies.len();
        let all = || (0..copies.len()).filter(fit);
        match (self.balancing, self.tenant) {
            (Balancing::LeastConnections, _) => {
                all().min_by_key(|place| (copies[*place].in_flight(), behind(*place)))
            }
            // Rendezvous hashing: a copy that comes or goes moves only its own share.
            (Balancing::Hash, Some(tenant)) => {
                let hash = FixedState::with_seed(0);
                all().max_by_key(|place| hash.hash_one((tenant, &*copies[*place].address)))
            }
            (Balancing::Weighted, _) if !self.turns.is_empty() => {
                let from = self.turn % self.turns.len();
                let mut turns = self.turns[from..].iter().chain(&self.turns[..from]).copied();
                // One without a weight is asked when no other can be.
                turns.find(fit).or_else(|| all().next())
            }
            (Balancing::PeakEwma, _) => self.cheaper_of_two(all, copies),
            _ => all().min_by_key(|place| behind(*place)),
        }
    }

    /// The power of two choices: nearly as good as the best of all, and no copy draws everybody at once.
    fn cheaper_of_two<I: Iterator<Item = usize>>(
        &self,
        all: impl Fn() -> I,
        copies: &[Rc<Upstream>],
    ) -> Option<usize> {
        let count = all().count() as u64;
        if count < 2 {
            return all().next();
        }
        let (low, high) = (self.draw & u64::from(u32::MAX), self.draw >> 32);
        let first = low % count;
        let second = (first + 1 + high % (count - 1)) % count;
        let [first, second] = [first, second].map(|place| all().nth(place as usize));
        let (first, second) = (first?, second?);
        let cost = |place: usize| copies[place].cost(self.now_us);
        Some(if cost(second) < cost(first) { second } else { first })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rowhouse_domain::routes::Trouble;

    use crate::upstream::{InFlight, Pools, Speech};

    fn first(
        balancing: Balancing,
        turn: usize,
        tenant: u128,
        copies: &[Rc<Upstream>],
        now_us: i64,
    ) -> String {
        let tenant = Some(TenantId::from_u128(tenant));
        let choosing = Choosing { balancing, turn, turns: &[], draw: 0, tenant, now_us };
        let [first, ..] = choosing.order(copies).expect("there are copies");
        first.expect("a first one").address.to_string()
    }

    fn copies(addresses: &[&str]) -> Vec<Rc<Upstream>> {
        let pools = Pools::default();
        addresses.iter().map(|address| pools.upstream(address, &Speech::default())).collect()
    }

    #[test]
    fn in_turn_the_least_busy_or_the_tenants_own() {
        let copies = copies(&["a", "b", "c"]);
        let turns: String = (0..4).map(|turn| first(Balancing::RoundRobin, turn, 1, &copies, 0)).collect();
        assert_eq!(turns, "abca");
        let busy = [InFlight::at(&copies[0]), InFlight::at(&copies[0]), InFlight::at(&copies[1])];
        assert_eq!(first(Balancing::LeastConnections, 0, 1, &copies, 0), "c");
        drop(busy);
        assert_eq!(first(Balancing::LeastConnections, 1, 1, &copies, 0), "b", "equal ones in turn");
        let of = |tenant, copies: &[Rc<Upstream>]| first(Balancing::Hash, 7, tenant, copies, 0);
        let before: Vec<String> = (0..100).map(|tenant| of(tenant, &copies)).collect();
        assert!(["a", "b", "c"].iter().all(|copy| before.iter().any(|own| own == copy)));
        for (tenant, own) in before.iter().enumerate().filter(|(_, own)| *own != "c") {
            assert_eq!(*own, of(tenant as u128, &copies[..2]), "only those of the one that went move");
        }
    }

    #[test]
    fn failing_copies_are_passed_over_unless_they_are_more_than_half() {
        let copies = copies(&["a", "b", "c"]);
        let fail = |place: usize| (0..5).for_each(|_| copies[place].note(0, Some(Trouble::Broken)));
        fail(0);
        let turns: String = (0..3).map(|turn| first(Balancing::RoundRobin, turn, 1, &copies, 1)).collect();
        assert_eq!(turns, "bbc");
        assert_eq!(first(Balancing::RoundRobin, 0, 1, &copies, 10_000_000), "a", "back after ten seconds");
        fail(1);
        assert_eq!(first(Balancing::RoundRobin, 0, 1, &copies, 1), "a", "two of three");
    }

    #[test]
    fn weights_give_turns_and_a_slow_copy_is_avoided() {
        let copies = copies(&["a", "b", "c"]);
        let choose = |balancing, turn, turns: &[usize], draw| {
            let choosing = Choosing { balancing, turn, turns, draw, tenant: None, now_us: 1 };
            let [first, ..] = choosing.order(&copies).expect("there are copies");
            first.expect("a first one").address.to_string()
        };
        let weighted = |turns: &[usize]| -> String {
            (0..4).map(|turn| choose(Balancing::Weighted, turn, turns, 0)).collect()
        };
        assert_eq!(weighted(&[0, 1, 0, 2]), "abac");
        (0..5).for_each(|_| copies[0].note(0, Some(Trouble::Broken)));
        assert_eq!(weighted(&[0, 1, 0, 2]), "bbcc", "the next one's turn");
        assert_eq!(weighted(&[0]), "bbbb", "one without a weight, for want of another");
        copies[0].note(1, None);
        // Draws of 0 and 1, 1 and 2, 2 and 0.
        let two = |first: u64| choose(Balancing::PeakEwma, 0, &[], first);
        assert_eq!([0, 1, 2].map(two), ["a", "b", "c"], "nobody is known");
        copies[0].took(0, 90_000, false);
        copies[1].took(0, 10_000, false);
        copies[2].took(0, 0, true);
        assert_eq!([0, 1, 2].map(two), ["b", "b", "a"], "who fails fast is dearer than who is slow");
        let busy: Vec<_> = (0..10).map(|_| InFlight::at(&copies[1])).collect();
        assert_eq!(two(0), "a", "what it has to do counts");
        drop(busy);
    }
}
