//! What gateways see of the copies that they ask: whether they are well, and if not, why. Each core tells what it knows once a second;
//! who wants to look puts it together. Nothing is decided from it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::id::TenantId;

/// Copies that one core tells of at most; of further ones nothing is told.
pub const SEEN_MAX: usize = 2_000;

/// What went wrong with a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// It takes no connection.
    NotConnected,
    /// Connecting took too long.
    ConnectTimeout,
    /// It did not answer in time.
    NoAnswer,
    /// The connection broke, or what came was no answer.
    Broken,
    /// No TLS could be agreed on with it, or it is not believed.
    Tls,
    /// It answered with this status.
    Status(u16),
}

impl Trouble {
    /// As a number that is never 0.
    pub fn to_number(self) -> u32 {
        match self {
            Trouble::NotConnected => 1,
            Trouble::ConnectTimeout => 2,
            Trouble::NoAnswer => 3,
            Trouble::Broken => 4,
            Trouble::Tls => 5,
            Trouble::Status(status) => 100 + u32::from(status),
        }
    }

    /// What [`to_number`](Self::to_number) wrote; `None` of 0.
    pub fn from_number(number: u32) -> Option<Trouble> {
        Some(match number {
            0 => return None,
            1 => Trouble::NotConnected,
            2 => Trouble::ConnectTimeout,
            3 => Trouble::NoAnswer,
            4 => Trouble::Broken,
            5 => Trouble::Tls,
            status => Trouble::Status(u16::try_from(status.checked_sub(100)?).ok()?),
        })
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::NotConnected => out.write_str("it takes no connection"),
            Trouble::ConnectTimeout => out.write_str("connecting took too long"),
            Trouble::NoAnswer => out.write_str("it did not answer in time"),
            Trouble::Broken => out.write_str("its connection broke or what it said was no answer"),
            Trouble::Tls => out.write_str("TLS failed, or its certificate is not believed"),
            Trouble::Status(status) => write!(out, "it answered {status}"),
        }
    }
}

/// How a circuit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CircuitState {
    /// Requests pass.
    #[default]
    Closed,
    /// A few are let through, to see.
    HalfOpen,
    /// None is.
    Open,
}

/// A copy as one gateway sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// The service; empty for a copy that nothing names any more and that still answers requests.
    #[serde(with = "text")]
    pub service: Arc<str>,
    /// The release; empty where a service names none.
    #[serde(with = "text")]
    pub release: Arc<str>,
    /// Whose own copy it is.
    pub tenant: Option<TenantId>,
    /// `host:port`.
    #[serde(with = "text")]
    pub address: Arc<str>,
    /// Requests that it has not answered.
    pub in_flight: u32,
    /// How long it takes, where that is measured (`peak_ewma`), µs.
    pub latency_us: Option<u64>,
    /// Why its active checks say that it is not well.
    pub unwell: Option<Trouble>,
    /// Until when it is not asked for what requests met, µs since 1970.
    pub ejected_until_us: Option<i64>,
    /// Times in a row that it was left out without one good answer between.
    pub ejections: u32,
    /// Requests that failed since the last that did not.
    pub failures: u32,
    /// What went wrong last, and when, µs since 1970.
    pub last_trouble: Option<(i64, Trouble)>,
    /// The circuit of its release, or of the tenant's own copies.
    pub circuit: CircuitState,
    /// Cores that see it, and those of them whose circuit is not closed, and that have ejected it.
    pub cores: [u32; 3],
}

/// Shared text as plain text.
mod text {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(text: &Arc<str>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(from).map(Into::into)
    }
}

impl Seen {
    fn add(&mut self, other: &Seen) {
        self.in_flight += other.in_flight;
        self.latency_us = self.latency_us.max(other.latency_us);
        self.unwell = self.unwell.or(other.unwell);
        self.ejected_until_us = self.ejected_until_us.max(other.ejected_until_us);
        self.ejections = self.ejections.max(other.ejections);
        self.failures = self.failures.max(other.failures);
        if other.last_trouble.map(|(at, _)| at) > self.last_trouble.map(|(at, _)| at) {
            self.last_trouble = other.last_trouble;
        }
        self.circuit = self.circuit.max(other.circuit);
        self.cores.iter_mut().zip(other.cores).for_each(|(own, more)| *own += more);
    }
}

/// Where the cores of a gateway tell what they see.
#[derive(Debug, Clone, Default)]
pub struct SeenBoard(Arc<Mutex<BTreeMap<usize, Vec<Seen>>>>);

impl SeenBoard {
    /// Takes the place of what this core told before.
    pub fn tell(&self, core: usize, seen: Vec<Seen>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(core, seen);
    }

    /// All copies in the order of service, release, tenant and address, each once.
    pub fn all(&self) -> Vec<Seen> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: BTreeMap<_, Seen> = BTreeMap::new();
        for seen in told.values().flatten() {
            let name = (seen.service.clone(), seen.release.clone(), seen.tenant, seen.address.clone());
            all.entry(name).and_modify(|own| own.add(seen)).or_insert_with(|| seen.clone());
        }
        all.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(address: &str) -> Seen {
        Seen {
            service: "stamping".into(),
            release: "".into(),
            tenant: None,
            address: address.into(),
            in_flight: 1,
            latency_us: None,
            unwell: None,
            ejected_until_us: None,
            ejections: 0,
            failures: 0,
            last_trouble: None,
            circuit: CircuitState::Closed,
            cores: [1, 0, 0],
        }
    }

    #[test]
    fn what_cores_see_is_put_together_and_told_anew() {
        let board = SeenBoard::default();
        let worse = Seen {
            circuit: CircuitState::Open,
            last_trouble: Some((7, Trouble::Status(503))),
            ejected_until_us: Some(9),
            cores: [1, 1, 1],
            ..seen("a:1")
        };
        let before = Seen { last_trouble: Some((5, Trouble::Broken)), ..seen("a:1") };
        board.tell(0, vec![seen("b:1"), before]);
        board.tell(1, vec![worse.clone()]);
        let all = board.all();
        assert_eq!(all.iter().map(|own| &*own.address).collect::<Vec<_>>(), ["a:1", "b:1"]);
        assert_eq!(all[0], Seen { in_flight: 2, cores: [2, 1, 1], ..worse });
        board.tell(1, Vec::new());
        assert_eq!(board.all()[0].circuit, CircuitState::Closed);
    }

    #[test]
    fn a_trouble_is_the_same_as_a_number() {
        let all = [
            Trouble::NotConnected,
            Trouble::ConnectTimeout,
            Trouble::NoAnswer,
            Trouble::Broken,
            Trouble::Tls,
        ];
        for own in all.into_iter().chain([200, 503, u16::MAX].map(Trouble::Status)) {
            assert_eq!(Trouble::from_number(own.to_number()), Some(own));
        }
        assert_eq!([0, 99].map(Trouble::from_number), [None, None]);
    }
}
