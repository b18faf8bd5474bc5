//! The life of a domain of a tenant's own: claimed, proven, looked at daily, lost after days without proof, and kept
//! from strangers for a while after that.
//!
//! ```text
//! pending ──proof──► verified ──no proof for 72 h──► failing ──14 days more──► quarantined ──30 days──► gone
//!                       ▲                               │
//!                       └────────────── proof ──────────┘
//! ```
//! A name that the operator vouches for is `active`: nothing is asked of DNS.

use serde::{Deserialize, Serialize};

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;
/// Failures before a name is failing, at least.
const FAILURES: u32 = 3;
/// How long no check succeeded before a name is failing.
const FAILING_AFTER_US: i64 = 72 * HOUR_US;
/// How long a failing name is still served.
const REMOVED_AFTER_US: i64 = 14 * DAY_US;
/// How often a proven name is looked at.
pub const CHECK_EVERY_US: i64 = DAY_US;
/// How long a name that was served is kept from other tenants.
pub const QUARANTINE_US: i64 = 30 * DAY_US;

/// Where a name stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostState {
    /// Claimed; blocks nobody and is not served.
    Pending,
    /// Proven by DNS; served.
    Verified,
    /// Vouched for by the operator; served.
    Active,
    /// The proof has been gone for days; served for a while.
    Failing,
    /// Not served; only its last tenant may have it.
    Quarantined,
}

impl HostState {
    /// All states.
    pub const ALL: [HostState; 5] = [
        HostState::Pending,
        HostState::Verified,
        HostState::Active,
        HostState::Failing,
        HostState::Quarantined,
    ];

    /// The word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            HostState::Pending => "pending",
            HostState::Verified => "verified",
            HostState::Active => "active",
            HostState::Failing => "failing",
            HostState::Quarantined => "quarantined",
        }
    }

    /// The state with this word.
    pub fn parse(word: &str) -> Option<Self> {
        HostState::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether requests for the name reach its tenant.
    pub fn is_served(self) -> bool {
        matches!(self, HostState::Verified | HostState::Active | HostState::Failing)
    }
}

/// What DNS said of a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// All resolvers answered, and all with the expected text.
    Shown,
    /// All answered, and not all with it.
    NotShown,
    /// One or more did not answer: nothing is known.
    Unanswered,
}

/// A name and how its checks went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Where it stands.
    pub state: HostState,
    /// Since when, µs since 1970.
    pub since_us: i64,
    /// Checks without proof since the last one with it.
    pub failures: u32,
    /// The first of them.
    pub failing_since_us: Option<i64>,
}

impl Standing {
    fn turned(self, state: HostState, now_us: i64) -> Self {
        let since_us = if self.state == state { self.since_us } else { now_us };
        Standing { state, since_us, ..self }
    }

    /// What a check at `now_us` makes of it. That nobody answered changes nothing.
    pub fn after(self, proof: Proof, now_us: i64) -> Standing {
        use HostState::{Active, Failing, Pending, Quarantined, Verified};
        match (self.state, proof) {
            (Active | Quarantined, _) | (_, Proof::Unanswered) | (Pending, Proof::NotShown) => self,
            (Pending | Verified | Failing, Proof::Shown) => {
                Standing { failures: 0, failing_since_us: None, ..self }.turned(Verified, now_us)
            }
            (Verified, Proof::NotShown) => {
                let first = self.failing_since_us.unwrap_or(now_us);
                let failures = self.failures.saturating_add(1);
                let failed = Standing { failures, failing_since_us: Some(first), ..self };
                let for_long = failures >= FAILURES && now_us - first >= FAILING_AFTER_US;
                failed.turned(if for_long { Failing } else { Verified }, now_us)
            }
            (Failing, Proof::NotShown) => {
                let failed = Standing { failures: self.failures.saturating_add(1), ..self };
                let over = now_us - self.since_us >= REMOVED_AFTER_US;
                failed.turned(if over { Quarantined } else { Failing }, now_us)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending() -> Standing {
        Standing { state: HostState::Pending, since_us: 0, failures: 0, failing_since_us: None }
    }

    #[test]
    fn a_proof_is_needed_and_its_loss_is_forgiven_for_days() {
        let at = |days: i64| days * DAY_US;
        assert_eq!(pending().after(Proof::NotShown, at(1)), pending());
        assert_eq!(pending().after(Proof::Unanswered, at(1)), pending());
        let mut standing = pending().after(Proof::Shown, at(1));
        assert_eq!((standing.state, standing.since_us), (HostState::Verified, at(1)));
        for (day, state) in [(2, HostState::Verified), (3, HostState::Verified), (4, HostState::Verified)] {
            standing = standing.after(Proof::NotShown, at(day));
            assert_eq!(standing.state, state, "day {day}");
        }
        let back = standing.after(Proof::Shown, at(5));
        assert_eq!((back.state, back.failures, back.failing_since_us), (HostState::Verified, 0, None));
        standing = standing.after(Proof::NotShown, at(5));
        assert_eq!((standing.state, standing.since_us), (HostState::Failing, at(5)), "72 h after the first");
        assert!(standing.state.is_served());
        assert_eq!(standing.after(Proof::Unanswered, at(400)), standing);
        assert_eq!(standing.after(Proof::NotShown, at(18)).state, HostState::Failing);
        assert_eq!(standing.after(Proof::Shown, at(18)).state, HostState::Verified);
        assert_eq!(standing.after(Proof::NotShown, at(19)).state, HostState::Quarantined);
    }

    #[test]
    fn many_failures_in_a_short_time_are_not_enough_and_a_vouched_name_is_not_asked() {
        let mut standing = pending().after(Proof::Shown, 0);
        for minute in 1..1_000 {
            standing = standing.after(Proof::NotShown, minute * 60_000_000);
        }
        assert_eq!(standing.state, HostState::Verified);
        for state in [HostState::Active, HostState::Quarantined] {
            for proof in [Proof::Shown, Proof::NotShown, Proof::Unanswered] {
                let fixed = Standing { state, ..pending() };
                assert_eq!(fixed.after(proof, 1_000 * DAY_US), fixed);
            }
        }
    }

    #[test]
    fn states_have_words() {
        for state in HostState::ALL {
            assert_eq!(HostState::parse(state.as_str()), Some(state));
            assert_eq!(serde_json::to_value(state).expect("a word"), state.as_str());
        }
        assert_eq!(HostState::parse("issuing"), None);
    }
}
