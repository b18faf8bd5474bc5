//! How many connections each client address has open, over all cores. Asked when a connection is taken and when it ends, never for a
//! request.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rowhouse_domain::network::Network;

/// Open connections by the network that an address belongs to.
#[derive(Debug, Default)]
pub(crate) struct Addresses(Mutex<HashMap<Network, u32>>);

/// One counted connection; dropped, it is counted no more.
#[derive(Debug)]
pub(crate) struct Counted {
    all: Arc<Addresses>,
    network: Network,
}

impl Addresses {
    /// `None`: the address has `max` open already.
    pub(crate) fn open(self: &Arc<Self>, address: IpAddr, max: u32) -> Option<Counted> {
        let network = Network::of(address);
        let mut counts = self.lock();
        let count = counts.entry(network).or_insert(0);
        if *count >= max {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Counted { all: self.clone(), network })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Network, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.all.lock();
        if let Some(count) = counts.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_takes_no_more_than_its_share_and_gives_it_back() {
        let all = Arc::new(Addresses::default());
        let (one, other) = ("203.0.113.9".parse().expect("an address"), "203.0.113.10".parse().expect("one"));
        let held: Vec<_> = (0..3).map_while(|_| all.open(one, 2)).collect();
        assert_eq!(held.len(), 2);
        assert!(all.open(other, 2).is_some());
        drop(held);
        assert!(all.open(one, 2).is_some());
        assert!(all.lock().is_empty(), "nothing is kept of who is gone");
    }
}
