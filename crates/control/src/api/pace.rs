//! How often the control API may be called: each credential that was good by itself, those of one tenant together, and all that are not
//! known to be good together. So who guesses is slowed down, whoever calls with a key of his own is not slowed down by him, and a tenant
//! does not get more by having more keys. The operator's credentials are not added up.
//!
//! This is for the API's own sake. It is counted in this process and forgotten with it; limits of tenants' requests are the gateway's.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::{HeaderMap, StatusCode, header};
use rowhouse_domain::id::TenantId;
use rowhouse_domain::limits::{Algorithm, Rule, State};
use rowhouse_domain::refusal::{Refusal, kind};

/// Calls in a second, and at once: of one credential, and of all of one tenant.
const EACH: (i64, i64) = (1_000, 5_000);
const TENANT: (i64, i64) = (2_000, 10_000);
/// Credentials that are kept apart, and tenants; more share a bucket until others are forgotten.
const KEPT_MAX: usize = 65_536;

/// The counters of one process.
#[derive(Debug)]
pub(super) struct Pace {
    each: Rule,
    tenant: Rule,
    hash: RandomState,
    counters: Mutex<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    /// By the keyed hash of a credential that was good.
    known: HashMap<u64, Known>,
    tenants: HashMap<TenantId, State>,
    unknown: State,
}

/// A credential that was good.
#[derive(Debug, Default)]
struct Known {
    state: State,
    /// Whose it is; `None` for the operator's, and for one that was not looked at.
    tenant: Option<TenantId>,
}

/// Whose call it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paced(u64);

impl Default for Pace {
    fn default() -> Self {
        let bucket = |(quota, burst)| {
            let bucket = Rule::new(Algorithm::TokenBucket, quota, 1_000, Some(burst));
            bucket.expect("numbers within a bucket's bounds")
        };
        Pace {
            each: bucket(EACH),
            tenant: bucket(TENANT),
            hash: RandomState::new(),
            counters: Mutex::default(),
        }
    }
}

impl Pace {
    /// Charges a call; `None` for one without a credential, which is refused or open to everybody.
    ///
    /// # Errors
    /// 429 `limits.exceeded` with the time after which it fits.
    pub(super) fn admit(&self, headers: &HeaderMap, now_us: i64) -> Result<Option<Paced>, Refusal> {
        let credential = headers.get(header::AUTHORIZATION).or_else(|| headers.get("x-api-key"));
        let Some(credential) = credential else { return Ok(None) };
        let paced = Paced(self.hash.hash_one(credential.as_bytes()));
        let mut counters = self.lock();
        let Counters { known, tenants, unknown } = &mut *counters;
        let known = known.get_mut(&paced.0);
        let tenant = known.as_ref().and_then(|own| own.tenant);
        let state = known.map_or(unknown, |own| &mut own.state);
        let verdict = self.each.decide(*state, now_us, 1);
        if !verdict.allowed {
            *state = verdict.next;
            return Err(too_often("one credential", EACH, verdict.retry_after_us));
        }
        if let Some(tenant) = tenant {
            let together = tenants.entry(tenant).or_default();
            let verdict = self.tenant.decide(*together, now_us, 1);
            *together = verdict.next;
            if !verdict.allowed {
                return Err(too_often("one tenant", TENANT, verdict.retry_after_us));
            }
        }
        *state = verdict.next;
        Ok(Some(paced))
    }

    /// Learns from the answer whether the credential was good, and whose it is, if that is counted together.
    pub(super) fn learn(&self, paced: Paced, status: StatusCode, tenant: Option<TenantId>) {
        let Counters { known, tenants, .. } = &mut *self.lock();
        if status == StatusCode::UNAUTHORIZED {
            known.remove(&paced.0);
            return;
        }
        if known.len() >= KEPT_MAX && !known.contains_key(&paced.0) {
            known.clear();
        }
        if tenants.len() >= KEPT_MAX {
            tenants.clear();
        }
        let own = known.entry(paced.0).or_default();
        own.tenant = tenant.or(own.tenant);
    }

    fn lock(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn too_often(whose: &str, (quota, burst): (i64, i64), retry_after_us: Option<i64>) -> Refusal {
    let seconds = retry_after_us.map_or(1, |us| us.div_euclid(1_000_000) + 1);
    let detail = format!("The control API takes {quota} calls a second of {whose}, and {burst} at once.");
    Refusal::new(&kind::LIMIT_EXCEEDED, detail).retry_after(u32::try_from(seconds).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn with(key: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(key).expect("text"))])
    }

    #[test]
    fn who_guesses_slows_down_guessing_and_nobody_else() {
        let (pace, good) = (Pace::default(), with("Bearer good"));
        let paced = pace.admit(&good, 0).expect("admitted").expect("it has a credential");
        pace.learn(paced, StatusCode::OK, None);
        let refused = (0..20_000).find_map(|guess| pace.admit(&with(&format!("Bearer {guess}")), 0).err());
        let refused = refused.expect("guessing ends");
        assert_eq!((refused.status(), refused.retry_after_s()), (429, Some(1)));
        assert!(pace.admit(&good, 0).is_ok(), "a key that was good is counted by itself");
        assert!(pace.admit(&HeaderMap::new(), 0).expect("open to everybody").is_none());
        assert!(pace.admit(&with("Bearer other"), 2_000_000).is_ok(), "it passes with time");
        // One that is good no more is one of many again.
        pace.learn(paced, StatusCode::UNAUTHORIZED, None);
        let calls = (0..20_000).take_while(|_| pace.admit(&good, 2_000_000).is_ok()).count();
        assert!(calls < 5_000, "{calls}");
    }

    #[test]
    fn a_good_credential_has_its_own_bound() {
        let (pace, good) = (Pace::default(), with("Bearer good"));
        let paced = pace.admit(&good, 0).expect("admitted").expect("it has a credential");
        pace.learn(paced, StatusCode::NOT_FOUND, None);
        assert_eq!((0..20_000).take_while(|_| pace.admit(&good, 0).is_ok()).count(), 5_000);
        assert!(pace.admit(&good, 1_000_000).is_ok());
    }

    #[test]
    fn more_keys_of_one_tenant_are_not_more_calls() {
        let (pace, acme) = (Pace::default(), TenantId::from_u128(1));
        let keys: Vec<_> = (0..4).map(|number| with(&format!("Bearer acme {number}"))).collect();
        for key in &keys {
            let paced = pace.admit(key, 0).expect("admitted").expect("it has a credential");
            pace.learn(paced, StatusCode::OK, Some(acme));
        }
        let now_us = 1_000_000;
        let calls = |key: &HeaderMap| (0..20_000).take_while(|_| pace.admit(key, now_us).is_ok()).count();
        assert_eq!(keys.iter().map(calls).collect::<Vec<_>>(), [5_000, 5_000, 0, 0]);
        let refused = pace.admit(&keys[3], now_us).expect_err("the tenant has had its share");
        assert_eq!((refused.status(), refused.retry_after_s()), (429, Some(1)));
        let other = with("Bearer bolt");
        let paced = pace.admit(&other, now_us).expect("admitted").expect("it has a credential");
        pace.learn(paced, StatusCode::OK, Some(TenantId::from_u128(2)));
        assert!(pace.admit(&other, now_us).is_ok(), "another tenant is not slowed down");
        assert!(pace.admit(&keys[3], 2 * now_us).is_ok(), "it passes with time");
    }
}
