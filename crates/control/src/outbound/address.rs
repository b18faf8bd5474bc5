//! Which addresses we call when somebody else has named the place. Only those that anybody on the internet could call as well:
//! what lies in our own network, on this machine or at the metadata service of a cloud is not asked on a stranger's word.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A block of addresses, as in `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    length: u8,
}

/// A text that is no block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no block of addresses, as in `10.0.0.0/8`")]
pub struct NetworkError(String);

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = || NetworkError(text.to_owned());
        let (address, length) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let length: u8 = length.parse().map_err(|_| wrong())?;
        let (bits, width) = bits(address);
        let host_bits = if u32::from(length) < width { bits << (128 - width + u32::from(length)) } else { 0 };
        match u32::from(length) <= width && host_bits == 0 {
            true => Ok(Network { address, length }),
            false => Err(wrong()),
        }
    }
}

/// The address as a number, and of how many bits.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(four) => (u128::from(u32::from(four)), 32),
        IpAddr::V6(six) => (u128::from(six), 128),
    }
}

impl Network {
    /// Whether `address` lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let ((own, width), (other, other_width)) = (bits(self.address), bits(address.to_canonical()));
        let shift = width - u32::from(self.length);
        width == other_width && own.checked_shr(shift).unwrap_or(0) == other.checked_shr(shift).unwrap_or(0)
    }
}

/// Blocks that are not of the public internet: IANA's registries of special-purpose addresses (RFC 6890), multicast, and what
/// stands for an IPv4 address in IPv6 (RFC 6052, RFC 3056, RFC 4380), which would lead past this list.
const FOUR: [(u32, u8); 16] = [
    (0x0000_0000, 8),  // this network
    (0x0a00_0000, 8),  // private
    (0x6440_0000, 10), // shared by carriers
    (0x7f00_0000, 8),  // this machine
    (0xa9fe_0000, 16), // link-local; metadata services
    (0xac10_0000, 12), // private
    (0xc000_0000, 24), // protocols
    (0xc000_0200, 24), // examples
    (0xc01f_c400, 24), // AS112
    (0xc034_c100, 24), // AMT
    (0xc058_6300, 24), // 6to4 relays
    (0xc0a8_0000, 16), // private
    (0xc612_0000, 15), // benchmarks
    (0xc633_6400, 24), // examples
    (0xcb00_7100, 24), // examples
    (0xe000_0000, 3),  // multicast, reserved, broadcast
];

/// Whether anybody could call it.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(four) => is_public_four(four),
        IpAddr::V6(six) => is_public_six(six),
    }
}

fn is_public_four(address: Ipv4Addr) -> bool {
    let own = u32::from(address);
    !FOUR.iter().any(|(block, length)| own >> (32 - length) == block >> (32 - length))
}

/// Global unicast is 2000::/3 alone; of it, not protocols and Teredo, examples, and 6to4.
fn is_public_six(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    first >> 13 == 1
        && !(first == 0x2001 && second < 0x0200)
        && !(first == 0x2001 && second == 0x0db8)
        && first != 0x2002
        && first != 0x3fff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_anybody_could_call() {
        for public in [
            "1.1.1.1",
            "9.255.255.255",
            "172.15.0.1",
            "172.32.0.1",
            "192.167.1.1",
            "223.255.255.254",
            "2606:4700::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(is_public(public.parse().expect("an address")), "{public}");
        }
        for own in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.1.2.3",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "100::1",
            "::7f00:1",
        ] {
            assert!(!is_public(own.parse().expect("an address")), "{own}");
        }
    }

    #[test]
    fn blocks() {
        let block: Network = "10.0.0.0/8".parse().expect("a block");
        assert!(block.contains("10.255.0.1".parse().expect("an address")));
        assert!(block.contains("::ffff:10.0.0.1".parse().expect("an address")));
        assert!(!block.contains("11.0.0.0".parse().expect("an address")));
        let all: Network = "0.0.0.0/0".parse().expect("a block");
        assert!(
            all.contains("1.2.3.4".parse().expect("an address"))
                && !all.contains("::1".parse().expect("an address"))
        );
        let one: Network = "::1/128".parse().expect("a block");
        assert!(
            one.contains("::1".parse().expect("an address"))
                && !one.contains("::2".parse().expect("an address"))
        );
        let every: Network = "::/0".parse().expect("a block");
        assert!(every.contains("fe80::1".parse().expect("an address")));
        for bad in ["10.0.0.1/8", "10.0.0.0", "10.0.0.0/33", "x/8", "::1/64", "10.0.0.0/-1"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
