//! A limit as declared: an algorithm with its numbers at a scope, with values per tier.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Algorithm, BadNumbers, Rule};

/// What a limit counts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitScope {
    /// Everything through this region.
    Global,
    /// The client's address.
    Ip,
    /// The tenant.
    Tenant,
    /// The person or service account within the tenant.
    User,
    /// The API key within the tenant.
    ApiKey,
    /// Method and path template, over all tenants.
    Endpoint,
}

/// One scope, or up to three that count together: `"tenant"`, `["tenant", "endpoint"]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scopes {
    /// One.
    One(LimitScope),
    /// Together.
    Several(Vec<LimitScope>),
}

impl Scopes {
    /// All of them.
    pub fn all(&self) -> &[LimitScope] {
        match self {
            Scopes::One(scope) => std::slice::from_ref(scope),
            Scopes::Several(scopes) => scopes,
        }
    }

    /// Whether they are known before a caller is: only `global` and `ip`.
    pub fn at_arrival(&self) -> bool {
        self.all().iter().all(|scope| matches!(scope, LimitScope::Global | LimitScope::Ip))
    }

    /// Whether it is counted within a tenant, which may then have a value of its own.
    pub fn within_tenant(&self) -> bool {
        self.all()
            .iter()
            .any(|scope| matches!(scope, LimitScope::Tenant | LimitScope::User | LimitScope::ApiKey))
    }
}

impl From<LimitScope> for Scopes {
    fn from(scope: LimitScope) -> Self {
        Scopes::One(scope)
    }
}

/// Which requests a limit is for; all that are given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitMatch {
    /// Only these services.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// Only these endpoints: `GET /v1/stamps/{stamp_id}`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
    /// Only these methods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Only these tenants, by code.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<String>,
    /// Only tenants of these tiers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<String>,
}

/// What a limit does when it is exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enforcement {
    /// It refuses.
    #[default]
    Enforce,
    /// It counts and tells what it would have refused, and refuses nothing.
    Shadow,
    /// Nothing at all.
    Off,
}

/// Who keeps a limit's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitMode {
    /// Each gateway for itself, with its share of the numbers.
    Local,
    /// The shared store, of which gateways take leases that they spend in memory.
    Leased,
    /// The shared store, asked for every request.
    Strict,
}

/// What a limit does while the shared store does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnStoreFailure {
    /// Each gateway goes on from what it knew last, with its share.
    #[default]
    Local,
    /// It lets everything in and tells nothing.
    Open,
    /// It refuses everything.
    Closed,
}

/// A tier's own numbers, or none at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierValue {
    /// Units per window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<i64>,
    /// Units at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<i64>,
    /// No limit for this tier.
    #[serde(default)]
    pub unlimited: bool,
}

/// Numbers that hold in place of a limit's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitValue {
    /// Units per window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<i64>,
    /// The window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_ms: Option<i64>,
    /// Units at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<i64>,
    /// No limit.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unlimited: bool,
}

/// A limit of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitDefinition {
    /// `[a-z][a-z0-9._-]{0,62}`; shown in `RateLimit-Policy`.
    pub name: String,
    /// How it counts.
    pub algorithm: Algorithm,
    /// Units per window, 1 to 10⁹.
    pub quota: i64,
    /// 1 ms to 31 days.
    pub window_ms: i64,
    /// Units at once, for buckets; `quota` if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<i64>,
    /// What it counts by.
    pub scope: Scopes,
    /// Which requests it is for.
    #[serde(default, rename = "match", skip_serializing_if = "is_default")]
    pub matches: LimitMatch,
    /// Values per tier.
    #[serde(default)]
    pub tiers: BTreeMap<String, TierValue>,
    /// Only requests to these services; empty means all. The same as `match.services`.
    #[serde(default)]
    pub services: Vec<String>,
    /// What it does when it is exceeded.
    #[serde(default, skip_serializing_if = "is_default")]
    pub enforcement: Enforcement,
    /// Whether answers tell of it.
    #[serde(default = "yes")]
    pub visible: bool,
    /// Who keeps its counters; if not said, the shared store lends them where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<LimitMode>,
    /// What it does while the shared store does not answer.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_store_failure: OnStoreFailure,
}

fn yes() -> bool {
    true
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Why a limit cannot be declared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLimit {
    /// Numbers, its own or a tier's.
    #[error("{0}")]
    Numbers(#[from] BadNumbers),
    /// No scope, more than three, or one twice.
    #[error("a scope is one to three different ones of global, ip, tenant, user, api_key, endpoint")]
    Scopes,
    /// A burst where there is no bucket.
    #[error("`burst` is for token and leaky buckets; a window has only its quota")]
    BurstOfWindow,
    /// What it matches is not known yet when it is decided.
    #[error(
        "a limit of global or ip is decided before the caller is known, so that it can match nothing else"
    )]
    MatchAtArrival,
    /// It would be asked of the store for requests of all tenants at once.
    #[error(
        "only a limit within a tenant (scope tenant, user or api_key) can be strict; this one can be leased"
    )]
    StrictOverTenants,
}

impl LimitDefinition {
    /// The rule for a tier; `Ok(None)` where the tier is unlimited.
    pub fn rule(&self, tier: Option<&str>) -> Result<Option<Rule>, BadNumbers> {
        self.rule_with(tier, None)
    }

    /// The rule for a tier with `over` in place of what it gives: override > tier > base.
    pub fn rule_with(
        &self,
        tier: Option<&str>,
        over: Option<&LimitValue>,
    ) -> Result<Option<Rule>, BadNumbers> {
        let over = over.copied().unwrap_or_default();
        let tier = tier.and_then(|tier| self.tiers.get(tier));
        let says_numbers = over.quota.is_some() || over.burst.is_some() || over.window_ms.is_some();
        if over.unlimited || (tier.is_some_and(|tier| tier.unlimited) && !says_numbers) {
            return Ok(None);
        }
        let quota = over.quota.or(tier.and_then(|tier| tier.quota)).unwrap_or(self.quota);
        // A burst belongs to the quota it was given with.
        let burst = match (over.burst, over.quota, tier) {
            (Some(burst), ..) => Some(burst),
            (None, Some(_), _) => None,
            (None, None, Some(tier)) if tier.burst.is_some() => tier.burst,
            (None, None, _) => self.burst,
        };
        Rule::new(self.algorithm, quota, over.window_ms.unwrap_or(self.window_ms), burst).map(Some)
    }

    /// Checks all that it says, and every value that it can take.
    pub fn check(&self) -> Result<(), BadLimit> {
        let scopes = self.scope.all();
        let twice = (1..scopes.len()).any(|place| scopes[..place].contains(&scopes[place]));
        if twice || !(1..=3).contains(&scopes.len()) {
            return Err(BadLimit::Scopes);
        }
        let bursts = self.burst.is_some() || self.tiers.values().any(|tier| tier.burst.is_some());
        if bursts && !self.algorithm.is_bucket() {
            return Err(BadLimit::BurstOfWindow);
        }
        if self.scope.at_arrival() && (!self.services.is_empty() || !is_default(&self.matches)) {
            return Err(BadLimit::MatchAtArrival);
        }
        if self.mode == Some(LimitMode::Strict) && !self.scope.within_tenant() {
            return Err(BadLimit::StrictOverTenants);
        }
        self.rule(None)?;
        Ok(self.tiers.keys().try_for_each(|tier| self.rule(Some(tier)).map(drop))?)
    }

    /// Whether it is for requests to `service` at all.
    pub fn is_for_service(&self, service: &str) -> bool {
        let holds = |names: &[String]| names.is_empty() || names.iter().any(|name| name == service);
        holds(&self.services) && holds(&self.matches.services)
    }

    /// Whether it is for requests without a route, too.
    pub fn is_for_unrouted(&self) -> bool {
        self.services.is_empty() && self.matches.services.is_empty() && self.matches.endpoints.is_empty()
    }

    /// Whether it is for tenants of this code and tier.
    pub fn is_for_tenant(&self, code: &str, tier: &str) -> bool {
        let holds = |names: &[String], own: &str| names.is_empty() || names.iter().any(|name| name == own);
        holds(&self.matches.tenants, code) && holds(&self.matches.tiers, tier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> LimitDefinition {
        serde_json::from_str(text).expect("a limit")
    }

    const PLAIN: &str = r#"{"name":"a","algorithm":"token_bucket","quota":100,"window_ms":1000,"burst":1000,
        "scope":"tenant","tiers":{"pro":{"quota":500},"max":{"unlimited":true},"big":{"quota":7,"burst":70}}}"#;

    #[test]
    fn an_override_wins_over_the_tier_and_the_tier_over_the_base() {
        let limit = read(PLAIN);
        let numbers = |tier, over: Option<LimitValue>| {
            limit.rule_with(tier, over.as_ref()).expect("in bounds").map(|rule| (rule.quota(), rule.most()))
        };
        let over = |quota, burst, unlimited| Some(LimitValue { quota, burst, unlimited, window_ms: None });
        assert_eq!(numbers(None, None), Some((100, 1000)));
        assert_eq!(numbers(Some("basic"), None), Some((100, 1000)));
        assert_eq!(numbers(Some("pro"), None), Some((500, 1000)));
        assert_eq!(numbers(Some("big"), None), Some((7, 70)));
        assert_eq!(numbers(Some("max"), None), None);
        assert_eq!(numbers(Some("big"), over(Some(5), None, false)), Some((5, 5)));
        assert_eq!(numbers(Some("big"), over(None, Some(9), false)), Some((7, 9)));
        assert_eq!(numbers(Some("max"), over(Some(5), Some(6), false)), Some((5, 6)));
        assert_eq!(numbers(Some("big"), over(None, None, true)), None);
        assert!(limit.rule_with(None, over(Some(0), None, false).as_ref()).is_err());
    }

    #[test]
    fn what_cannot_be_declared() {
        let change = |from: &str, to: &str| read(&PLAIN.replace(from, to)).check();
        assert_eq!(change("token", "leaky"), Ok(()));
        assert_eq!(change("\"scope\":\"tenant\"", "\"scope\":[\"tenant\",\"endpoint\"]"), Ok(()));
        assert_eq!(
            change("\"scope\":\"tenant\"", "\"scope\":[\"tenant\",\"tenant\"]"),
            Err(BadLimit::Scopes)
        );
        assert_eq!(change("\"scope\":\"tenant\"", "\"scope\":[]"), Err(BadLimit::Scopes));
        assert_eq!(change("token_bucket", "fixed_window"), Err(BadLimit::BurstOfWindow));
        let at_arrival = "\"scope\":\"ip\",\"match\":{\"methods\":[\"GET\"]}";
        assert_eq!(change("\"scope\":\"tenant\"", at_arrival), Err(BadLimit::MatchAtArrival));
        let strict =
            |scope: &str| change("\"scope\":\"tenant\"", &format!("\"mode\":\"strict\",\"scope\":{scope}"));
        assert_eq!(strict("[\"user\",\"endpoint\"]"), Ok(()));
        for scope in ["\"global\"", "\"ip\"", "\"endpoint\""] {
            assert_eq!(strict(scope), Err(BadLimit::StrictOverTenants), "{scope}");
        }
        assert!(matches!(change("\"quota\":7", "\"quota\":0"), Err(BadLimit::Numbers(_))));
    }

    #[test]
    fn what_was_said_before_reads_back_the_same() {
        let limit = read(PLAIN);
        let written = serde_json::to_string(&limit).expect("writes");
        assert_eq!(read(&written), limit);
        assert!(!written.contains("match") && !written.contains("enforcement"), "{written}");
    }
}
