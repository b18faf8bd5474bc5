//! Step 1: limits at arrival, before anything costly is done.

use std::net::IpAddr;

use http::request::Parts;
use rowhouse_domain::limits::LimitScope;

use super::limit::{Counted, settle};
use super::{Recording, Stop};
use crate::connection::Peer;
use crate::core::Core;
use crate::limits::CounterKey;
use crate::view::View;

/// Proof that limits at arrival let a request in.
pub(crate) struct Arrived<'r> {
    pub(crate) parts: &'r Parts,
}

/// Charges the global limit and that of the client's address.
pub(crate) fn arrive<'r>(
    core: &Core,
    view: &View,
    peer: &Peer,
    parts: &'r Parts,
    recording: &mut Recording,
) -> Result<Arrived<'r>, Stop> {
    let client = client_address(core, peer, parts);
    recording.client = client;
    if !view.arrival.is_empty() {
        let counted = view.arrival.iter().filter_map(|limit| {
            let bucket = limit.base?;
            let value = match limit.scope {
                LimitScope::Ip => counted_address(client),
                _ => 0,
            };
            let key = CounterKey::of(&core.shared.hashes, &(limit.seed, bucket.tick_us(), value));
            Some(Counted { index: limit.index, visible: limit.visible, bucket, key })
        });
        settle(core, view, counted.collect(), recording)?;
    }
    Ok(Arrived { parts })
}

/// The peer, or what a trusted proxy says was before it: the nearest address that is not a trusted proxy's.
fn client_address(core: &Core, peer: &Peer, parts: &Parts) -> IpAddr {
    if !peer.trusted {
        return peer.address;
    }
    let listed = parts.headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let listed: Vec<IpAddr> = listed
        .flat_map(|value| value.split(','))
        .filter_map(|text| text.trim().parse::<IpAddr>().ok())
        .map(|address| address.to_canonical())
        .collect();
    let trusted = &core.shared.config.trusted_proxies;
    listed.iter().rev().find(|address| !trusted.contains(address)).copied().unwrap_or(peer.address)
}

/// What an address is counted as: an IPv4 address by itself, an IPv6 address by its /64.
fn counted_address(address: IpAddr) -> u128 {
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
        let counted = |text: &str| counted_address(text.parse().expect(text));
        assert_eq!(counted("2001:db8:1:2::1"), counted("2001:db8:1:2:ffff::9"));
        assert_ne!(counted("2001:db8:1:2::1"), counted("2001:db8:1:3::1"));
        assert_ne!(counted("203.0.113.9"), counted("203.0.113.10"));
    }
}
