//! Who waits at the nodes' door and is not known yet. There are so many places, and so many for one address; when they are taken, the
//! guest that has waited longest goes, of the newcomer's own address first. So who holds places without a word keeps nobody out: a
//! newcomer always gets one, and needs it for as long as a handshake takes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Places for guests that are not known.
#[derive(Debug)]
pub(super) struct Lobby {
    most: usize,
    most_of_one: usize,
    guests: Mutex<Guests>,
}

#[derive(Debug, Default)]
struct Guests {
    next: u64,
    /// Oldest first.
    by_number: BTreeMap<u64, Guest>,
}

#[derive(Debug)]
struct Guest {
    from: Ipv6Addr,
    _stays: oneshot::Sender<()>,
}

/// A place in the lobby, until it is dropped or lost.
#[derive(Debug)]
pub(super) struct Seat {
    lobby: Arc<Lobby>,
    number: u64,
    lost: oneshot::Receiver<()>,
}

impl Lobby {
    /// A lobby with `most` places, of which one address gets `most_of_one`; both at least 1.
    pub(super) fn new(most: usize, most_of_one: usize) -> Arc<Self> {
        Arc::new(Lobby { most, most_of_one, guests: Mutex::default() })
    }

    /// A place for a guest from `address`; somebody else's if there is none free.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Seat {
        let (from, (stays, lost)) = (network(address), oneshot::channel());
        let mut guests = self.lock();
        let number = guests.next;
        guests.next += 1;
        let of_same = || guests.by_number.iter().filter(|(_, guest)| guest.from == from);
        let goes = match of_same().count() >= self.most_of_one {
            true => of_same().next().map(|(number, _)| *number),
            false if guests.by_number.len() >= self.most => guests.by_number.keys().next().copied(),
            false => None,
        };
        goes.map(|goes| guests.by_number.remove(&goes));
        guests.by_number.insert(number, Guest { from, _stays: stays });
        drop(guests);
        Seat { lobby: self.clone(), number, lost }
    }

    fn lock(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Returns when the place was given to another.
    pub(super) async fn lost(&mut self) {
        // Nothing is ever sent: an error is the loss.
        let _ = (&mut self.lost).await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.lobby.lock().by_number.remove(&self.number);
    }
}

/// What an address counts as: an IPv4 address by itself, an IPv6 address by its /64, which is what one guest is given.
fn network(address: IpAddr) -> Ipv6Addr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(lobby: &Arc<Lobby>, address: &str) -> Seat {
        lobby.enter(address.parse().expect("an address"))
    }

    fn is_lost(seat: &mut Seat) -> bool {
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
    fn one_ipv6_network_is_one_guest_and_nothing_is_kept_of_who_has_gone() {
        let lobby = Lobby::new(9, 1);
        let mut first = enter(&lobby, "2001:db8::1");
        let second = enter(&lobby, "2001:db8::2");
        assert!(is_lost(&mut first));
        drop((first, second));
        assert!(lobby.lock().by_number.is_empty());
    }
}
