//! What an answer tells of the limits: `RateLimit-Policy`, `RateLimit` and the older `X-RateLimit-*` triple.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use rowhouse_domain::directory::Key;
use rowhouse_domain::limits::{Announced, LimitDefinition, Rule, put_policy, put_standing};

static POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
static STATE: HeaderName = HeaderName::from_static("ratelimit");
static LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
static REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
static RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// How the visible limits of a request stand, with their places in the directory; those that a key has of its own come
/// behind all of these.
#[derive(Debug, Default)]
pub(crate) struct Standings {
    all: Vec<(usize, Announced)>,
    own: Option<Arc<Key>>,
}

/// The place of the first limit of a key's own.
const OWN: usize = 1 << 31;

impl Standings {
    /// The place of the limit of this number among a key's own.
    pub(crate) fn place_of_own(number: usize) -> usize {
        OWN + number
    }

    /// The key whose own limits are told of.
    pub(crate) fn is_of(&mut self, key: &Arc<Key>) {
        self.own = Some(key.clone());
    }

    /// The name of the limit at a place.
    pub(crate) fn name<'a>(&'a self, place: usize, limits: &'a [LimitDefinition]) -> &'a str {
        match place.checked_sub(OWN) {
            None => &limits[place].name,
            Some(number) => {
                let own = self.own.as_ref().and_then(|key| key.limits().get(number));
                own.map_or("", |limit| &limit.name)
            }
        }
    }

    /// Room for so many more.
    pub(crate) fn reserve(&mut self, count: usize) {
        self.all.reserve(count);
    }

    /// Adds one.
    pub(crate) fn push(&mut self, place: usize, announced: Announced) {
        self.all.push((place, announced));
    }
}

/// Policies that were told lately: most tenants share one, and its text is the longest of all.
#[derive(Default)]
pub(crate) struct Policies(RefCell<Vec<Policy>>);

struct Policy {
    limits: Vec<(usize, Rule)>,
    text: HeaderValue,
}

/// Policies kept.
const POLICIES_MAX: usize = 32;

impl Policies {
    fn of(&self, standings: &Standings, limits: &[LimitDefinition]) -> HeaderValue {
        let named = || standings.all.iter().map(|(place, own)| (*place, own.rule));
        let written = || {
            let mut text = Vec::new();
            put_policy(&mut text, named().map(|(place, rule)| (standings.name(place, limits), rule)));
            visible(text.into())
        };
        if standings.own.is_some() {
            return written();
        }
        let mut kept = self.0.borrow_mut();
        if let Some(policy) = kept.iter().find(|policy| policy.limits.iter().copied().eq(named())) {
            return policy.text.clone();
        }
        let text = written();
        if kept.len() == POLICIES_MAX {
            kept.clear();
        }
        kept.push(Policy { limits: named().collect(), text: text.clone() });
        text
    }
}

fn visible(text: Bytes) -> HeaderValue {
    HeaderValue::from_maybe_shared(text).expect("names of limits and numbers are visible ASCII")
}

/// What one answer tells of limits. It is kept beside the answer's headers, which HTTP/1 writes without ever putting it among them.
pub(crate) struct Told {
    policy: HeaderValue,
    /// The values of the four others, one behind the other.
    text: Vec<u8>,
    ends: [usize; 4],
}

impl Told {
    /// Nothing, if there is no limit to be told of.
    pub(crate) fn of(
        standings: &Standings,
        policies: &Policies,
        limits: &[LimitDefinition],
        now_s: i64,
    ) -> Option<Self> {
        let (place, told) = Announced::told(&standings.all)?;
        let mut text = Vec::with_capacity(96);
        let ends = put_standing(&mut text, standings.name(place, limits), told, now_s);
        Some(Told { policy: policies.of(standings, limits), text, ends })
    }

    /// Tells the five headers.
    pub(crate) fn each(&self, mut tell: impl FnMut(&HeaderName, &[u8])) {
        tell(&POLICY, self.policy.as_bytes());
        let mut start = 0;
        for (name, end) in [&STATE, &LIMIT, &REMAINING, &RESET].into_iter().zip(self.ends) {
            tell(name, &self.text[start..end]);
            start = end;
        }
    }

    /// Puts the five headers among others, in place of any that are there.
    pub(crate) fn put(self, headers: &mut HeaderMap) {
        headers.insert(POLICY.clone(), self.policy);
        let (text, mut start) = (Bytes::from(self.text), 0);
        for (name, end) in [&STATE, &LIMIT, &REMAINING, &RESET].into_iter().zip(self.ends) {
            headers.insert(name.clone(), visible(text.slice(start..end)));
            start = end;
        }
    }
}

/// Whether a header is one of these; a service's own word on limits does not pass.
pub(crate) fn tells_of_limits(name: &str) -> bool {
    matches!(
        name,
        "ratelimit-policy"
            | "ratelimit"
            | "x-ratelimit-limit"
            | "x-ratelimit-remaining"
            | "x-ratelimit-reset"
    )
}

#[cfg(test)]
mod tests {
    use rowhouse_domain::limits::Algorithm;

    use super::*;

    fn definition(name: &str) -> LimitDefinition {
        let limit = format!(
            r#"{{"name":"{name}","algorithm":"token_bucket","quota":1,"window_ms":1000,"scope":"tenant"}}"#
        );
        serde_json::from_str(&limit).expect("a limit")
    }

    #[test]
    fn all_policies_are_named_and_the_tightest_is_told() {
        let limits = [definition("tenant-default"), definition("user-default")];
        let policies = Policies::default();
        for remaining in [12, 11] {
            let mut standings = Standings::default();
            for (place, burst, remaining, reset_s) in [(0, 1000, 999, 1), (1, 600, remaining, 37)] {
                let rule =
                    Rule::new(Algorithm::TokenBucket, burst / 10, 1000, Some(burst)).expect("in bounds");
                standings.push(place, Announced { rule, remaining, reset_s, binds: false });
            }
            let told = || Told::of(&standings, &policies, &limits, 1_795_251_600).expect("there are limits");
            let mut headers = HeaderMap::new();
            told().put(&mut headers);
            let mut each = HeaderMap::new();
            told().each(|name, value| {
                drop(each.insert(name, HeaderValue::from_bytes(value).expect("visible")))
            });
            assert_eq!(headers, each, "whichever way it is told");
            let policy = r#""tenant-default";q=1000;w=10, "user-default";q=600;w=10"#;
            assert_eq!(headers["ratelimit-policy"], policy);
            assert_eq!(headers["ratelimit"], format!(r#""user-default";r={remaining};t=37"#));
            assert_eq!(headers["x-ratelimit-limit"], "600");
            assert_eq!(headers["x-ratelimit-remaining"], remaining.to_string());
            assert_eq!(headers["x-ratelimit-reset"], "1795251637");
        }
        assert!(Told::of(&Standings::default(), &policies, &limits, 0).is_none());
    }
}
