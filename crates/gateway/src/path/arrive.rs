//! Step 1: limits at arrival, before anything costly is done.

use std::net::IpAddr;

use http::request::Parts;
use rowhouse_domain::limits::LimitScope;
use rowhouse_domain::network::Network;
use rowhouse_domain::refusal::kind;

use super::limit::{Counted, settle};
use super::together::arrive_together;
use super::{Recording, Stop};
use crate::connection::Peer;
use crate::core::Core;
use crate::view::View;

/// Proof that limits at arrival let a request in.
pub(crate) struct Arrived<'r> {
    pub(crate) parts: &'r Parts,
}

/// Refuses while nobody knows what has changed since the directory was made, and while nothing more can be recorded, if that is to stop
/// requests.
pub(crate) fn is_fresh(core: &Core) -> Result<(), Stop> {
    let freshness = &core.shared.config.freshness;
    match freshness.serves() {
        true => Ok(()),
        false => Err(halted(freshness.is_stale())),
    }
}

#[cold]
fn halted(is_stale: bool) -> Stop {
    match is_stale {
        true => Stop::new(
            &kind::DIRECTORY_STALE,
            "This gateway has not heard from the control plane for too long.",
        ),
        false => Stop::new(&kind::JOURNAL_UNAVAILABLE, "Requests cannot be recorded now."),
    }
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
        if let Some(store) = &core.store {
            arrive_together(core, store, view, client, recording)?;
            return Ok(Arrived { parts });
        }
        let counted = view.arrival.iter().filter_map(|limit| {
            let mut values = [0; 4];
            for (value, scope) in values.iter_mut().zip(&limit.scopes) {
                *value = if *scope == LimitScope::Ip { Network::of(client).to_bits() } else { 0 };
            }
            Some(Counted::new(core, limit, limit.base?, &values))
        });
        settle(core, view, &counted.collect::<Vec<_>>(), 1, recording)?;
    }
    Ok(Arrived { parts })
}

/// The peer, or what a trusted proxy says was before it: the nearest address that is not a trusted proxy's.
pub(super) fn client_address(core: &Core, peer: &Peer, parts: &Parts) -> IpAddr {
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
