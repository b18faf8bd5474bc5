//! How often the control API may be called: each credential that was good by itself, and all that are not known to be good together. So
//! who guesses is slowed down, and whoever calls with a key of his own is not slowed down by him.
//!
//! This is for the API's own sake. It is counted in this process and forgotten with it; limits of tenants' requests are the gateway's.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::{HeaderMap, StatusCode, header};
use rowhouse_domain::limits::{Algorithm, Rule, State};
use rowhouse_domain::refusal::{Refusal, kind};

/// Calls in a second, and at once.
const EACH: (i64, i64) = (1_000, 5_000);
/// Credentials that are kept apart; more share a bucket until others are forgotten.
const KEPT_MAX: usize = 65_536;

/// The counters of one process.
#[derive(Debug)]
pub(super) struct Pace {
    bucket: Rule,
    hash: RandomState,
    counters: Mutex<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    /// By the keyed hash of a credential that was good.
    known: HashMap<u64, State>,
    unknown: State,
}

/// Whose call it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paced(u64);

impl Default for Pace {
    fn default() -> Self {
        let (quota, burst) = EACH;
        let bucket = Rule::new(Algorithm::TokenBucket, quota, 1_000, Some(burst));
        let bucket = bucket.expect("numbers within a bucket's bounds");
        Pace { bucket, hash: RandomState::new(), counters: Mutex::default() }
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
        let Counters { known, unknown } = &mut *counters;
        let state = known.get_mut(&paced.0).unwrap_or(unknown);
        let verdict = self.bucket.decide(*state, now_us, 1);
        *state = verdict.next;
        match verdict.allowed {
            true => Ok(Some(paced)),
            false => Err(too_often(verdict.retry_after_us)),
        }
    }

    /// Learns from the answer whether the credential was good.
    pub(super) fn learn(&self, paced: Paced, status: StatusCode) {
        let known = &mut self.lock().known;
        if status == StatusCode::UNAUTHORIZED {
            known.remove(&paced.0);
        } else if !known.contains_key(&paced.0) {
            if known.len() >= KEPT_MAX {
                known.clear();
            }
            known.insert(paced.0, State::default());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn too_often(retry_after_us: Option<i64>) -> Refusal {
    let seconds = retry_after_us.map_or(1, |us| us.div_euclid(1_000_000) + 1);
    let (quota, burst) = EACH;
    let detail = format!("The control API takes {quota} calls a second, and {burst} at once.");
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
        pace.learn(paced, StatusCode::OK);
        let refused = (0..20_000).find_map(|guess| pace.admit(&with(&format!("Bearer {guess}")), 0).err());
        let refused = refused.expect("guessing ends");
        assert_eq!((refused.status(), refused.retry_after_s()), (429, Some(1)));
        assert!(pace.admit(&good, 0).is_ok(), "a key that was good is counted by itself");
        assert!(pace.admit(&HeaderMap::new(), 0).expect("open to everybody").is_none());
        assert!(pace.admit(&with("Bearer other"), 2_000_000).is_ok(), "it passes with time");
        // One that is good no more is one of many again.
        pace.learn(paced, StatusCode::UNAUTHORIZED);
        let calls = (0..20_000).take_while(|_| pace.admit(&good, 2_000_000).is_ok()).count();
        assert!(calls < 5_000, "{calls}");
    }

    #[test]
    fn a_good_credential_has_its_own_bound() {
        let (pace, good) = (Pace::default(), with("Bearer good"));
        let paced = pace.admit(&good, 0).expect("admitted").expect("it has a credential");
        pace.learn(paced, StatusCode::NOT_FOUND);
        assert_eq!((0..20_000).take_while(|_| pace.admit(&good, 0).is_ok()).count(), 5_000);
        assert!(pace.admit(&good, 1_000_000).is_ok());
    }
}
