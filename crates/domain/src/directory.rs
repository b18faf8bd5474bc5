//! What the gateway decides from: an immutable, versioned value with everything compiled.
//!
//! A request reads one version for its whole life. A new version shares with the one before all that did not
//! change. Absent means unknown: there is no cache behind it that could be stale or poisoned.

mod change;
pub(crate) mod written;

use std::sync::Arc;

use arc_swap::ArcSwap;
pub use change::{BadChange, Change, Frame};
use serde::{Deserialize, Serialize};

use crate::access::{AccessTable, PermissionSet, Permissions, Principal};
use crate::id::{KeyId, SessionId, TenantId};
use crate::identity::certificate::TenantAuthorities;
use crate::identity::issuer::TenantIssuers;
use crate::identity::token::TokenKeys;
use crate::keys::{Environment, KeyStanding, Narrowing, PublicId};
use crate::limits::{LimitDefinition, Rule};
use crate::resources::{Action, Calendar, QuotaRule, QuotaWindow};
use crate::routes::{CompiledTraffic, RouteTable, ServiceDefinition};
use crate::sharded::Sharded;
use crate::tenancy::{Isolation, Service, Status};

/// One version of the directory.
#[derive(Clone)]
pub struct Directory {
    /// Grows with every version.
    pub version: u64,
    /// How requests are resolved to tenants.
    pub naming: Arc<Naming>,
    /// All tenants that were ever served.
    pub tenants: Sharded<TenantId, Arc<Tenant>>,
    /// The same tenants by their codes: most requests name one by its code, and are spared a second look-up.
    pub codes: Sharded<Box<str>, Arc<Tenant>>,
    /// Custom domains in canonical form.
    pub hosts: Sharded<Box<str>, TenantId>,
    /// API keys, revoked ones of the last 30 days included.
    pub keys: Sharded<PublicId, Arc<Key>>,
    /// Services, in the order that routes index.
    pub services: Arc<[ServiceDefinition]>,
    /// Where the services' requests go, in the same order; `None` is to their own copies.
    pub traffic: Arc<[Option<CompiledTraffic>]>,
    /// Routes.
    pub routes: Arc<RouteTable>,
    /// Limits, in the order that tenants' values index.
    pub limits: Arc<[LimitDefinition]>,
    /// Interned permissions.
    pub permissions: Arc<Permissions>,
    /// Whose access tokens are believed, and with which keys.
    pub tokens: Arc<TokenKeys>,
}

/// The names under which requests arrive.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Naming {
    /// `example.com`: `acme.example.com` is the tenant `acme`.
    pub base_domains: Vec<String>,
    /// Hosts that name no tenant and are served all the same (`localhost`, `127.0.0.1`, `api.example.com`).
    pub platform_hosts: Vec<String>,
    /// Short name of the region in keys.
    pub region: String,
}

/// A tenant, compiled. What every request reads stands first, in one line of the processor's cache.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[repr(C, align(64))]
pub struct Tenant {
    /// Who may do what in it.
    #[serde(with = "written::shared")]
    pub access: Arc<AccessTable>,
    /// Its id.
    pub id: TenantId,
    /// Raised whenever something here changes; signed contexts are reused within one version.
    pub version: u64,
    /// What the status means for requests.
    pub service: Service,
    /// Its status.
    pub status: Status,
    /// Whether API keys are accepted.
    pub api_access: bool,
    /// How its data is kept apart.
    pub isolation: Isolation,
    /// Its code.
    pub code: Box<str>,
    /// Its tier.
    pub tier: Box<str>,
    /// Its home region.
    pub region: Box<str>,
    /// Features that are on.
    pub features: Vec<Box<str>>,
    /// What is imposed on it, as services are told.
    pub enforcements: Vec<Box<str>>,
    /// The same, as the gateway acts on it.
    pub imposed: Vec<Imposed>,
    /// Its value of each limit of the directory; `None` is unlimited.
    pub limits: Vec<Option<Rule>>,
    /// What it may use.
    pub quotas: Vec<Quota>,
    /// Its own upstreams of services (by index), for level `instance`; they win over the shared ones.
    #[serde(with = "written::upstreams")]
    pub upstreams: Vec<(usize, Vec<Arc<str>>)>,
    /// Sessions that ended while a token of theirs may still be good, in order.
    #[serde(with = "written::shared")]
    pub ended_sessions: Arc<[SessionId]>,
    /// Issuers besides us whose tokens sign its service accounts in.
    #[serde(with = "written::shared")]
    pub issuers: Arc<TenantIssuers>,
    /// Authorities whose client certificates sign its service accounts in.
    #[serde(with = "written::shared")]
    pub authorities: Arc<TenantAuthorities>,
}

/// Something that is imposed on a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imposed {
    /// For which meter.
    #[serde(with = "written::shared")]
    pub meter: Arc<str>,
    /// What is done.
    pub action: Action,
    /// What services see.
    pub flag: Box<str>,
    /// When it ends by itself, µs since 1970.
    pub until_us: Option<i64>,
    /// Services (by index) whose writing routes it stops when they do not say so themselves: those with tables.
    pub services: Box<[usize]>,
}

/// A quota of a tenant, with the usage known when this version was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Quota {
    /// The meter.
    #[serde(with = "written::shared")]
    pub meter: Arc<str>,
    /// In units of 10⁻¹²; `None` is unlimited.
    pub limit: Option<i128>,
    /// When it counts anew, what is done, and how strictly.
    #[serde(with = "written::shared")]
    pub rule: Arc<QuotaRule>,
    /// Whose clock its windows follow.
    #[serde(with = "written::shared")]
    pub calendar: Arc<Calendar>,
    /// Usage counted so far in the window that began at `used_from_us`.
    pub used: i128,
    /// Start of that window, µs since 1970.
    pub used_from_us: i64,
    /// When a level was measured, µs since 1970; 0 for what was not.
    pub as_of_us: i64,
    /// Lifted by hand: nothing is stopped for it, whatever was used.
    pub is_lifted: bool,
}

impl Quota {
    /// A quota as the meter ships, in UTC, of which nothing is used.
    pub fn of_meter(meter: impl Into<Arc<str>>, limit: Option<i128>) -> Self {
        let meter = meter.into();
        Quota {
            rule: Arc::new(QuotaRule::of_meter(&meter)),
            meter,
            limit,
            calendar: Arc::default(),
            used: 0,
            used_from_us: 0,
            as_of_us: 0,
            is_lifted: false,
        }
    }

    /// Up to where usage is admitted; `None` is no end.
    pub fn ceiling(&self) -> Option<i128> {
        if self.is_lifted { None } else { self.rule.ceiling(self.limit) }
    }

    /// When it counts anew.
    pub fn window(&self) -> QuotaWindow {
        self.rule.window
    }

    /// First instant of its window that holds `now_us`, and of the one after it.
    pub fn bounds_us(&self, now_us: i64) -> (i64, i64) {
        self.calendar.bounds_us(self.rule.window, now_us)
    }

    /// When it counts from nothing again; `None` for what exists.
    pub fn window_ends_at(&self, now_us: i64) -> Option<jiff::Timestamp> {
        let (_, until_us) = self.bounds_us(now_us);
        (until_us < i64::MAX).then(|| jiff::Timestamp::from_microsecond(until_us).ok()).flatten()
    }

    /// What is known to be used in the window that begins at `from_us`.
    pub fn known(&self, from_us: i64) -> i128 {
        if self.rule.window.is_standing() || self.used_from_us == from_us { self.used } else { 0 }
    }
}

/// An API key, compiled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// Its tenant.
    pub tenant: TenantId,
    /// Who owns it.
    pub owner: Principal,
    /// Live or test.
    pub environment: Environment,
    /// State and times.
    pub standing: KeyStanding,
    /// HMAC of its text.
    #[serde(with = "written::hexadecimal")]
    pub digest: [u8; 32],
    /// Which pepper made the digest.
    pub pepper: u32,
    /// What the key itself permits; what it may do is this and what its owner may do.
    pub permits: PermissionSet,
    /// What narrows it further; `None` is nothing.
    pub narrowed: Option<Box<Narrowing>>,
    /// The key and those that replaced it count as one.
    pub family: KeyId,
}

impl Key {
    /// Has the processor fetch what a check reads. The entries of many keys do not fit its cache: fetched one after
    /// the other, each where it is needed, the lines of one key cost as many waits; fetched together, about one.
    pub fn touch(&self) {
        let (digest, permits) = (self.digest[0], self.permits.any_word());
        std::hint::black_box((digest, permits, self.standing.owner_enabled, self.family, self.owner.id));
    }
}

impl Directory {
    /// A directory that knows nobody: everything is refused as unknown.
    pub fn empty() -> Self {
        Directory {
            version: 0,
            naming: Arc::default(),
            tenants: Sharded::default(),
            codes: Sharded::default(),
            hosts: Sharded::default(),
            keys: Sharded::default(),
            services: Arc::from([]),
            traffic: Arc::from([]),
            routes: Arc::default(),
            limits: Arc::from([]),
            permissions: Arc::default(),
            tokens: Arc::default(),
        }
    }

    /// Where a service's requests go, if not all of them to its own copies.
    pub fn traffic(&self, service: usize) -> Option<&CompiledTraffic> {
        self.traffic.get(service)?.as_ref()
    }

    /// The tenant with this code.
    pub fn tenant_by_code(&self, code: &str) -> Option<&Arc<Tenant>> {
        self.codes.get(code)
    }

    /// Puts a tenant in, under its id and code.
    pub fn put_tenant(&mut self, tenant: Tenant) {
        let tenant = Arc::new(tenant);
        self.codes.insert(tenant.code.clone(), tenant.clone());
        self.tenants.insert(tenant.id, tenant);
    }
}

impl Tenant {
    /// Has the processor fetch what most steps of a request read, all at once; see [`Key::touch`].
    pub fn touch(&self) {
        let limit = self.limits.first().map(Option::is_some);
        let quota = self.quotas.first().map(|quota| quota.used_from_us);
        std::hint::black_box((self.version, self.api_access, self.imposed.len(), limit, quota));
    }

    /// Whether a session of this tenant has ended. One that ended so long ago that no token of it is good is not known any more.
    pub fn has_ended(&self, session: SessionId) -> bool {
        !self.ended_sessions.is_empty() && self.ended_sessions.binary_search(&session).is_ok()
    }

    /// The addresses of a service's copies for this tenant: its own, else the shared ones.
    pub fn own_upstreams(&self, service: usize) -> Option<&[Arc<str>]> {
        self.upstreams.iter().find(|(index, _)| *index == service).map(|(_, addresses)| addresses.as_slice())
    }
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Directory(version {}, {} tenants)", self.version, self.tenants.len())
    }
}

/// Where the current version stands: the control plane publishes, gateways read. Cheap to clone.
#[derive(Clone)]
pub struct DirectoryWatch(Arc<ArcSwap<Directory>>);

impl DirectoryWatch {
    /// Starts with `directory`.
    pub fn new(directory: Directory) -> Self {
        DirectoryWatch(Arc::new(ArcSwap::from_pointee(directory)))
    }

    /// The version to decide one request with. No lock, no waiting.
    pub fn current(&self) -> Arc<Directory> {
        self.0.load_full()
    }

    /// The number of the current version, without taking hold of it.
    pub fn version(&self) -> u64 {
        self.0.load().version
    }

    /// Puts a version in force whatever its number is: for who follows a control plane that was set back.
    pub fn replace(&self, directory: Directory) {
        self.0.store(Arc::new(directory));
    }

    /// Puts a newer version in force; an older or equal one is ignored.
    pub fn publish(&self, directory: Directory) {
        let newer = Arc::new(directory);
        self.0.rcu(|current| if newer.version > current.version { newer.clone() } else { current.clone() });
    }
}

impl Default for DirectoryWatch {
    fn default() -> Self {
        DirectoryWatch::new(Directory::empty())
    }
}

impl std::fmt::Debug for DirectoryWatch {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.current().fmt(out)
    }
}
