//! Where a call comes from: the peer, or what a trusted proxy says was before it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::request::Parts;

use crate::Shared;

/// The address that a call comes from.
pub(crate) fn client_address(parts: &Parts, control: &Shared) -> IpAddr {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip().to_canonical());
    let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let proxies = &control.settings.trusted_proxies;
    let told = parts.headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let mut chain: Vec<&str> = told.flat_map(|value| value.split(',')).map(str::trim).collect();
    let mut address = peer;
    // From the nearest on, as long as who says it is trusted.
    while proxies.contains(&address) {
        let Some(before) = chain.pop().and_then(|text| text.parse::<IpAddr>().ok()) else { break };
        address = before.to_canonical();
    }
    address
}
