//! How many connections each client address has open, over all cores. Asked when a connection is taken and when it ends, never for a
//! request.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Open connections by address. An IPv6 address counts as its /64, which is what one client is given.
#[derive(Debug, Default)]
pub(crate) struct Addresses(Mutex<HashMap<u128, u32>>);

/// One counted connection; dropped, it is counted no more.
#[derive(Debug)]
pub(crate) struct Counted {
    all: Arc<Addresses>,
    counted_as: u128,
}

impl Addresses {
    /// `None`: the address has `max` open already.
    pub(crate) fn open(self: &Arc<Self>, address: IpAddr, max: u32) -> Option<Counted> {
        let counted_as = counted_as(address);
        let mut counts = self.lock();
        let count = counts.entry(counted_as).or_insert(0);
        if *count >= max {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Counted { all: self.clone(), counted_as })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u128, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.all.lock();
        if let Some(count) = counts.get_mut(&self.counted_as) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.counted_as);
            }
        }
    }
}

/// What an address is counted as: an IPv4 address by itself, an IPv6 address by its /64.
pub(crate) fn counted_as(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits() >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_is_counted_by_its_64() {
        let counted = |text: &str| counted_as(text.parse().expect(text));
        assert_eq!(counted("2001:db8:1:2::1"), counted("2001:db8:1:2:ffff::9"));
        assert_ne!(counted("2001:db8:1:2::1"), counted("2001:db8:1:3::1"));
        assert_ne!(counted("203.0.113.9"), counted("203.0.113.10"));
    }

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
