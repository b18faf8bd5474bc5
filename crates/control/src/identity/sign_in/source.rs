//! Where a call comes from, and how many failures are taken from there: 100 failures or 50 different names in ten minutes. An IPv6
//! network of 64 bits is one source, and one of 48 bits four. Counted in this process and forgotten with it: what must not be lost is
//! counted per name, in the database.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, PoisonError};

use axum::extract::FromRequestParts;
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use rowhouse_domain::refusal::{Refusal, kind};

use crate::Shared;
use crate::api::client_address;

const WINDOW_US: i64 = 10 * 60 * 1_000_000;
const FAILURES_MAX: u32 = 100;
const NAMES_MAX: usize = 50;
/// What a 48-bit network may do, in sources.
const WIDE: u32 = 4;
/// Sources that are kept; more forget those of before.
const KEPT_MAX: usize = 65_536;
const AGENT_MAX: usize = 200;

/// Where a call comes from.
#[derive(Debug, Clone)]
pub struct Source {
    /// The address: of the peer, or what a proxy that is trusted says of it.
    pub address: IpAddr,
    /// The program, at most 200 characters.
    pub agent: String,
}

impl Source {
    /// The address as text.
    pub fn ip(&self) -> String {
        self.address.to_string()
    }
}

impl FromRequestParts<Shared> for Source {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, control: &Shared) -> Result<Self, Infallible> {
        // What comes from nowhere is counted as one.
        let address = client_address(parts, control).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let agent = parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Ok(Source { address, agent: agent.chars().take(AGENT_MAX).collect() })
    }
}

#[derive(Debug, Default)]
struct Seen {
    until_us: i64,
    failures: u32,
    names: HashSet<u64>,
}

impl Seen {
    /// Seconds until the window ends, if it lets no try of this name through.
    fn closed_for(&self, name: u64, times: u32, now_us: i64) -> Option<u32> {
        let most = NAMES_MAX * times as usize;
        let is_new = !self.names.contains(&name);
        let is_closed = self.failures >= FAILURES_MAX * times || (is_new && self.names.len() >= most);
        let seconds = (self.until_us - now_us + 999_999) / 1_000_000;
        is_closed.then(|| u32::try_from(seconds).unwrap_or(600))
    }
}

/// The sources of one process.
#[derive(Debug, Default)]
pub struct Sources {
    hash: RandomState,
    seen: Mutex<HashMap<(IpAddr, u8), Seen>>,
}

impl Sources {
    /// Lets a try of `name` through.
    ///
    /// # Errors
    /// 429 `identity.too_many_attempts` with the time until the window ends.
    pub fn admit(&self, source: &Source, name: &str, now_us: i64) -> Result<(), Refusal> {
        let name = self.hash.hash_one(name);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= KEPT_MAX {
            seen.retain(|_, own| own.until_us > now_us);
            if seen.len() >= KEPT_MAX {
                seen.clear();
            }
        }
        for (network, times) in networks(source.address) {
            let own = seen.entry(network).or_default();
            if own.until_us <= now_us {
                *own = Seen { until_us: now_us + WINDOW_US, ..Seen::default() };
            }
            if let Some(seconds) = own.closed_for(name, times, now_us) {
                let refusal = Refusal::new(&kind::TOO_MANY_ATTEMPTS, "Too many attempts from this address.");
                return Err(refusal.retry_after(seconds));
            }
            own.names.insert(name);
        }
        Ok(())
    }

    /// For how many seconds a try of `name` from `address` would not be let through. Nothing is counted.
    pub fn closed_for(&self, address: IpAddr, name: &str, now_us: i64) -> Option<u32> {
        let name = self.hash.hash_one(name);
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let closed = networks(address).into_iter().filter_map(|(network, times)| {
            let own = seen.get(&network).filter(|own| own.until_us > now_us)?;
            own.closed_for(name, times, now_us)
        });
        closed.max()
    }

    /// Notes that one failed.
    pub fn failed(&self, source: &Source) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for (network, _) in networks(source.address) {
            let own = seen.entry(network).or_default();
            own.failures = own.failures.saturating_add(1);
        }
    }
}

/// The networks that count, with how many sources each may be.
fn networks(address: IpAddr) -> Vec<((IpAddr, u8), u32)> {
    match address.to_canonical() {
        IpAddr::V4(_) => vec![((address.to_canonical(), 32), 1)],
        IpAddr::V6(six) => {
            let cut = |bits: u8| IpAddr::V6((six.to_bits() & (u128::MAX << (128 - bits))).into());
            vec![((cut(64), 64), 1), ((cut(48), 48), WIDE)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> Source {
        Source { address: address.parse().expect("an address"), agent: String::new() }
    }

    fn failures(sources: &Sources, address: &str, name: &str) -> usize {
        let source = at(address);
        (0..1_000)
            .take_while(|_| sources.admit(&source, name, 0).map(|()| sources.failed(&source)).is_ok())
            .count()
    }

    #[test]
    fn a_source_has_so_many_failures_and_names_and_others_are_not_held_up() {
        let sources = Sources::default();
        assert_eq!(failures(&sources, "203.0.113.9", "ana"), 100);
        let refusal = sources.admit(&at("203.0.113.9"), "ana", 1_000_000).expect_err("too many");
        assert_eq!((refusal.code(), refusal.retry_after_s()), ("identity.too_many_attempts", Some(599)));
        let told = |address: &str, name, now_us| sources.closed_for(at(address).address, name, now_us);
        assert_eq!(told("203.0.113.9", "ana", 1_000_001), Some(599));
        assert_eq!((told("203.0.113.9", "ana", WINDOW_US), told("203.0.113.10", "ana", 0)), (None, None));
        assert_eq!(failures(&sources, "203.0.113.10", "ana"), 100, "to ask counts nothing");
        let names =
            (0..1_000).take_while(|name| sources.admit(&at("203.0.113.11"), &name.to_string(), 0).is_ok());
        assert_eq!(names.count(), 50);
        assert!(sources.admit(&at("203.0.113.11"), "3", 0).is_ok(), "a name that was tried before");
        assert!(sources.admit(&at("203.0.113.9"), "ana", WINDOW_US).is_ok(), "it passes with time");
        assert!(
            sources.admit(&at("::ffff:203.0.113.10"), "ana", 0).is_err(),
            "the same address in another form"
        );
    }

    #[test]
    fn a_network_of_version_six_is_one_source_and_a_wide_one_four() {
        let sources = Sources::default();
        assert_eq!(failures(&sources, "2001:db8:0:1::1", "ana"), 100);
        assert_eq!(failures(&sources, "2001:db8:0:1:ffff::2", "ana"), 0);
        let more: usize = (2..20).map(|net| failures(&sources, &format!("2001:db8:0:{net}::1"), "ana")).sum();
        assert_eq!(more, 300);
        assert_eq!(failures(&sources, "2001:db8:1::1", "ana"), 100);
    }

    #[test]
    fn sources_are_forgotten_before_they_fill_the_memory() {
        let sources = Sources::default();
        for number in 0..(KEPT_MAX as u32 + 10) {
            let source = Source { address: IpAddr::V4(number.into()), agent: String::new() };
            sources.admit(&source, "ana", 0).expect("one try");
        }
        assert!(sources.seen.lock().expect("nobody panicked").len() <= KEPT_MAX);
    }
}
