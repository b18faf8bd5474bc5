//! Issuers that a tenant believes besides us: whose tokens sign its machines in, without a key (`trust` of a service account).
//!
//! What is believed of an issuer stands in our own record of it: its name to the byte, the algorithms it may use, the keys that
//! it publishes (each with one algorithm), and for whom its tokens may be meant. A token chooses nothing of that; where its
//! header names a key or a place of keys, that is not read. The identity is (tenant, issuer, subject), and who that is says the
//! trust of a service account; an issuer by itself lets nobody in.

mod id_token;
mod keys;
mod strict;
mod token;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

pub use id_token::{Expected, ID_TOKEN_MAX, IdClaims, IdTokenFault, SUBJECT_MAX, verify_id_token};
pub use keys::{IssuerKey, KEY_SET_BYTES_MAX, KEYS_MAX, KeySetFault, read_keys};
use serde::{Deserialize, Serialize};
pub use token::{Foreign, ForeignClaims};

use crate::id::{IssuerId, ServiceAccountId};

/// The longest life of a token of another issuer that is believed, in seconds.
pub const FOREIGN_LIFETIME_MAX_S: i64 = 86_400;

/// How an issuer may sign (RFC 7518 §3.1, RFC 8037 §3.1). Nothing symmetric and no `none`: there is no way to say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SigningAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl SigningAlgorithm {
    /// All of them.
    pub const ALL: [SigningAlgorithm; 4] =
        [SigningAlgorithm::Rs256, SigningAlgorithm::Ps256, SigningAlgorithm::Es256, SigningAlgorithm::EdDsa];

    /// As tokens and key sets write it.
    pub fn as_str(self) -> &'static str {
        match self {
            SigningAlgorithm::Rs256 => "RS256",
            SigningAlgorithm::Ps256 => "PS256",
            SigningAlgorithm::Es256 => "ES256",
            SigningAlgorithm::EdDsa => "EdDSA",
        }
    }

    /// Reads it, to the letter.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|own| own.as_str() == text)
    }
}

/// Which tokens of an issuer sign in as a service account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// The token must be meant for it.
    pub audience: Box<str>,
    /// The token's subject; `*` at the end stands for whatever follows.
    pub subject: Box<str>,
    /// As whom.
    pub account: ServiceAccountId,
}

impl Trust {
    /// Whether it is about this subject, and how closely: a subject in full before the longest beginning of one.
    fn fit(&self, subject: &str) -> Option<usize> {
        match self.subject.strip_suffix('*') {
            Some(beginning) => subject.starts_with(beginning).then_some(beginning.len()),
            None => (*self.subject == *subject).then_some(usize::MAX),
        }
    }
}

/// When a token last named a key that is not known: the gateway says it, and who fetches keys looks. It says nothing about what
/// is believed, so that two issuers that differ in it alone are equal.
#[derive(Debug, Clone, Default)]
pub struct Missed(Arc<AtomicI64>);

impl Missed {
    /// A token named an unknown key at this time, µs since 1970.
    pub fn note(&self, now_us: i64) {
        self.0.store(now_us, Ordering::Relaxed);
    }

    /// When that last happened, µs since 1970; `None` if not since this was asked.
    pub fn take(&self) -> Option<i64> {
        Some(self.0.swap(0, Ordering::Relaxed)).filter(|at| *at != 0)
    }
}

impl PartialEq for Missed {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// An issuer, as one tenant believes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Issuer {
    /// Its id.
    pub id: IssuerId,
    /// `iss` of its tokens, to the byte.
    pub issuer: Box<str>,
    /// For whom its tokens may be meant.
    pub audiences: Vec<Box<str>>,
    /// The claim that says who: `sub`, or another one that is text.
    pub subject_claim: Box<str>,
    /// The keys that it published and that it may use, each with the one algorithm it is for.
    pub keys: Vec<IssuerKey>,
    /// Who is signed in by which of its tokens.
    pub trusts: Vec<Trust>,
    /// Whether a key was missed.
    #[serde(skip)]
    pub missed: Missed,
}

impl Issuer {
    /// As whom a token for `audiences` about `subject` signs in: the closest trust wins.
    fn account(&self, audiences: &[String], subject: &str) -> Option<ServiceAccountId> {
        let meant = self.trusts.iter().filter(|trust| audiences.iter().any(|own| **own == *trust.audience));
        let fits = meant.filter_map(|trust| Some((trust.fit(subject)?, trust.account)));
        fits.max_by_key(|(fit, _)| *fit).map(|(_, account)| account)
    }
}

/// All issuers that one tenant believes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TenantIssuers(Vec<Issuer>);

impl TenantIssuers {
    /// No two of them may have one name; the first of such is taken.
    pub fn new(issuers: Vec<Issuer>) -> Self {
        TenantIssuers(issuers)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The issuer of this name.
    pub fn named(&self, issuer: &str) -> Option<&Issuer> {
        self.0.iter().find(|own| *own.issuer == *issuer)
    }
}
