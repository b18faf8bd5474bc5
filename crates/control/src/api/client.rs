//! Where a call comes from: the peer, or what a trusted proxy says was before it, or for a call of our own pages whoever looks at them.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::request::Parts;

use crate::Shared;

/// For whom a page of ours asks, of a call that came over no connection. Only this process can say so.
#[derive(Debug, Clone, Copy)]
pub(super) struct AskedFor(pub Option<IpAddr>);

/// The address that a call comes from, if it is known: what is not is no address, and no condition is met by it.
pub(crate) fn client_address(parts: &Parts, control: &Shared) -> Option<IpAddr> {
    if let Some(AskedFor(client)) = parts.extensions.get::<AskedFor>() {
        return *client;
    }
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip().to_canonical())?;
    let proxies = &control.settings.trusted_proxies;
    let told = parts.headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let mut chain: Vec<&str> = told.flat_map(|value| value.split(',')).map(str::trim).collect();
    let mut address = peer;
    // From the nearest on, as long as who says it is trusted.
    while proxies.contains(&address) {
        let Some(before) = chain.pop().and_then(|text| text.parse::<IpAddr>().ok()) else { break };
        address = before.to_canonical();
    }
    Some(address)
}
