//! Who waits at a door and has not said yet what for. There are so many places, and so many for one address; when they are taken, the
//! guest that has waited longest goes, of the newcomer's own address first. So who holds places without a word keeps nobody out: a
//! newcomer always gets one, and needs it for as long as it takes to say it. Who has been let further has a place of another kind, counted by
//! whose it is: there his own oldest goes, and nobody else's.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::oneshot;

/// Places for guests that are not known.
#[derive(Debug)]
pub(crate) struct Lobby<K> {
    most: usize,
    most_of_one: usize,
    guests: Mutex<Guests<K>>,
}

#[derive(Debug)]
struct Guests<K> {
    next: u64,
    /// Oldest first.
    by_number: BTreeMap<u64, Guest<K>>,
}

#[derive(Debug)]
struct Guest<K> {
    from: K,
    _stays: oneshot::Sender<()>,
}

/// A place in the lobby, until it is dropped or lost.
#[derive(Debug)]
pub(crate) struct Seat<K> {
    lobby: Arc<Lobby<K>>,
    number: u64,
    lost: oneshot::Receiver<()>,
}

impl<K: PartialEq> Lobby<K> {
    /// A lobby with `most` places, of which one guest gets `most_of_one`; both at least 1.
    pub(crate) fn new(most: usize, most_of_one: usize) -> Arc<Self> {
        let guests = Guests { next: 0, by_number: BTreeMap::new() };
        Arc::new(Lobby { most, most_of_one, guests: Mutex::new(guests) })
    }

    /// A place for a guest; its own oldest if it has as many as one gets, and somebody else's if there is none free.
    pub(crate) fn enter(self: &Arc<Self>, from: K) -> Seat<K> {
        let mut guests = self.lock();
        let goes = match self.oldest_of(&guests, &from) {
            None if guests.by_number.len() >= self.most => guests.by_number.keys().next().copied(),
            own => own,
        };
        self.seat(&mut guests, from, goes)
    }

    /// A place for a guest; its own oldest if it has as many as one gets. None if the others have taken all.
    pub(crate) fn enter_if_free(self: &Arc<Self>, from: K) -> Option<Seat<K>> {
        let mut guests = self.lock();
        let goes = self.oldest_of(&guests, &from);
        let is_free = goes.is_some() || guests.by_number.len() < self.most;
        is_free.then(|| self.seat(&mut guests, from, goes))
    }

    /// A place for a guest; none if it has as many as one gets, or the others have taken all. Who has one keeps it.
    pub(crate) fn enter_if_room(self: &Arc<Self>, from: K) -> Option<Seat<K>> {
        let mut guests = self.lock();
        let has_room = guests.by_number.len() < self.most && self.oldest_of(&guests, &from).is_none();
        has_room.then(|| self.seat(&mut guests, from, None))
    }

    /// Which of its own goes, if it has as many as one gets.
    fn oldest_of(&self, guests: &Guests<K>, from: &K) -> Option<u64> {
        let own = || guests.by_number.iter().filter(|(_, guest)| guest.from == *from);
        (own().count() >= self.most_of_one).then(|| own().next().map(|(number, _)| *number))?
    }

    fn seat(self: &Arc<Self>, guests: &mut Guests<K>, from: K, goes: Option<u64>) -> Seat<K> {
        let (stays, lost) = oneshot::channel();
        let number = guests.next;
        guests.next += 1;
        goes.map(|goes| guests.by_number.remove(&goes));
        guests.by_number.insert(number, Guest { from, _stays: stays });
        Seat { lobby: self.clone(), number, lost }
    }
}

impl<K> Lobby<K> {
    fn lock(&self) -> MutexGuard<'_, Guests<K>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Seat<K> {
    /// Returns when the place was given to another.
    pub(crate) async fn lost(&mut self) {
        poll_fn(|context| self.poll_lost(context)).await;
    }

    /// Ready when the place was given to another.
    pub(crate) fn poll_lost(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // Nothing is ever sent: an error is the loss.
        Pin::new(&mut self.lost).poll(context).map(|_closed| ())
    }
}

impl<K> Drop for Seat<K> {
    fn drop(&mut self) {
        self.lobby.lock().by_number.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use rowhouse_domain::network::Network;

    use super::*;

    fn enter(lobby: &Arc<Lobby<Network>>, address: &str) -> Seat<Network> {
        lobby.enter(Network::of(address.parse().expect("an address")))
    }

    fn is_lost<K>(seat: &mut Seat<K>) -> bool {
        matches!(seat.lost.try_recv(), Err(oneshot::error::TryRecvError::Closed))
    }

    #[test]
    fn the_oldest_of_an_address_makes_room_for_the_next() {
        let lobby = Lobby::new(3, 2);
        let (mut first, mut second) = (enter(&lobby, "192.0.2.1"), enter(&lobby, "::ffff:192.0.2.1"));
        let mut other = enter(&lobby, "192.0.2.2");
        let mut third = enter(&lobby, "192.0.2.1");
        let lost = [&mut first, &mut second, &mut other, &mut third].map(is_lost);
        assert_eq!(lost, [true, false, false, false]);
    }

    #[test]
    fn the_oldest_of_all_makes_room_for_a_new_address() {
        let lobby = Lobby::new(2, 2);
        let (mut first, mut second) = (enter(&lobby, "2001:db8::1"), enter(&lobby, "2001:db8:0:1::1"));
        let mut third = enter(&lobby, "2001:db8:0:2::1");
        assert_eq!([&mut first, &mut second, &mut third].map(is_lost), [true, false, false]);
        drop(second);
        let mut fourth = enter(&lobby, "2001:db8:0:3::1");
        assert_eq!([&mut third, &mut fourth].map(is_lost), [false, false], "who goes by himself makes room");
    }

    #[test]
    fn a_node_takes_its_own_places_and_no_others() {
        let lobby = Lobby::new(3, 2);
        let mut own = [0; 4].map(|_| lobby.enter_if_free("east").expect("its own makes room"));
        assert_eq!(own.each_mut().map(is_lost), [true, true, false, false]);
        let mut other = lobby.enter_if_free("west").expect("there is a place");
        assert!(lobby.enter_if_free("north").is_none() && !is_lost(&mut other), "nobody is put out");
        let mut again = lobby.enter_if_free("east").expect("its own makes room");
        assert_eq!([&mut other, &mut again].map(is_lost), [false, false]);
        drop(own);
        assert!(lobby.enter_if_free("north").is_some(), "who has gone makes room");
    }

    #[test]
    fn who_comes_where_nobody_goes_is_not_let_in_once_his_places_are_taken() {
        let lobby = Lobby::new(3, 2);
        let mut own = [0; 3].map(|_| lobby.enter_if_room("east"));
        assert!(own[0].as_mut().is_some_and(|seat| !is_lost(seat)) && own[1].is_some() && own[2].is_none());
        let other = lobby.enter_if_room("west");
        assert!(other.is_some() && lobby.enter_if_room("north").is_none(), "all are taken");
        drop(other);
        assert!(lobby.enter_if_room("north").is_some());
    }

    #[test]
    fn one_ipv6_network_is_one_guest_and_nothing_is_kept_of_who_has_gone() {
        let lobby = Lobby::new(9, 1);
        let mut first = enter(&lobby, "2001:db8::1");
        let second = enter(&lobby, "2001:db8::2");
        assert!(is_lost(&mut first));
        drop((first, second));
        assert!(lobby.lock().by_number.is_empty());
    }
}
