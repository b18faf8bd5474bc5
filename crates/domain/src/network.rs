//! Whom an address belongs to, as far as that can be told from it.

use std::net::{IpAddr, Ipv6Addr};

/// What one client is given: an IPv4 address by itself, however it is written (RFC 4291 section 2.5.5.2), or the /64 of an IPv6 address,
/// within which whoever has it chooses freely (RFC 4291 section 2.5.1). Whoever counts by address counts by this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(Ipv6Addr);

impl Network {
    /// Whom `address` belongs to.
    pub fn of(address: IpAddr) -> Self {
        Network(match address.to_canonical() {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64),
        })
    }

    /// The same as a number.
    pub fn to_bits(self) -> u128 {
        self.0.to_bits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Network {
        Network::of(text.parse().expect("an address"))
    }

    #[test]
    fn version_six_is_counted_by_its_64() {
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    }

    #[test]
    fn version_four_is_counted_by_itself_however_it_is_written() {
        assert_ne!(of("203.0.113.9"), of("203.0.113.10"));
        assert_ne!(of("::ffff:203.0.113.9"), of("::ffff:203.0.113.10"));
        assert_eq!(of("203.0.113.9"), of("::ffff:203.0.113.9"));
    }
}
