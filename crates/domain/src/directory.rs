//! What the gateway decides from: an immutable, versioned value with everything compiled.
//!
//! A request reads one version for its whole life. A new version shares with the one before all that did not
//! change. Absent means unknown: there is no cache behind it that could be stale or poisoned.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::access::{AccessTable, PermissionSet, Permissions, Principal};
use crate::id::{KeyId, TenantId};
use crate::keys::{Environment, KeyStanding, PublicId};
use crate::limits::{Bucket, LimitDefinition};
use crate::resources::QuotaWindow;
use crate::routes::{RouteTable, ServiceDefinition};
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
    /// Tenant codes.
    pub codes: Sharded<Box<str>, TenantId>,
    /// Custom domains in canonical form.
    pub hosts: Sharded<Box<str>, TenantId>,
    /// API keys, revoked ones of the last 30 days included.
    pub keys: Sharded<PublicId, Arc<Key>>,
    /// Services, in the order that routes index.
    pub services: Arc<[ServiceDefinition]>,
    /// Routes.
    pub routes: Arc<RouteTable>,
    /// Limits, in the order that tenants' values index.
    pub limits: Arc<[LimitDefinition]>,
    /// Interned permissions.
    pub permissions: Arc<Permissions>,
}

/// The names under which requests arrive.
#[derive(Debug, Clone, Default)]
pub struct Naming {
    /// `example.com`: `acme.example.com` is the tenant `acme`.
    pub base_domains: Vec<String>,
    /// Hosts that name no tenant and are served all the same (`localhost`, `127.0.0.1`, `api.example.com`).
    pub platform_hosts: Vec<String>,
    /// Short name of the region in keys.
    pub region: String,
}

/// A tenant, compiled.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its code.
    pub code: Box<str>,
    /// Its tier.
    pub tier: Box<str>,
    /// How its data is kept apart.
    pub isolation: Isolation,
    /// Its home region.
    pub region: Box<str>,
    /// Its status.
    pub status: Status,
    /// What the status means for requests.
    pub service: Service,
    /// Whether API keys are accepted.
    pub api_access: bool,
    /// Features that are on.
    pub features: Vec<Box<str>>,
    /// What is imposed on it.
    pub enforcements: Vec<Box<str>>,
    /// Who may do what in it.
    pub access: Arc<AccessTable>,
    /// Its value of each limit of the directory; `None` is unlimited.
    pub limits: Vec<Option<Bucket>>,
    /// What it may use.
    pub quotas: Vec<Quota>,
    /// Its own upstreams of services (by index), for level `instance`; they win over the shared ones.
    pub upstreams: Vec<(usize, Vec<Arc<str>>)>,
    /// Raised whenever something here changes; signed contexts are reused within one version.
    pub version: u64,
}

/// A quota of a tenant, with the usage known when this version was made.
#[derive(Debug, Clone)]
pub struct Quota {
    /// The meter.
    pub meter: Arc<str>,
    /// In units of 10⁻¹²; `None` is unlimited.
    pub limit: Option<i128>,
    /// When it starts anew.
    pub window: QuotaWindow,
    /// Usage counted so far in the window that began at `used_from_us`.
    pub used: i128,
    /// Start of that window, µs since 1970.
    pub used_from_us: i64,
}

/// An API key, compiled.
#[derive(Debug, Clone)]
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
    pub digest: [u8; 32],
    /// Which pepper made the digest.
    pub pepper: u32,
    /// What the key itself permits; what it may do is this and what its owner may do.
    pub permits: PermissionSet,
    /// Only for these services; `None` is all.
    pub services: Option<Vec<Box<str>>>,
    /// The key and those that replaced it count as one.
    pub family: KeyId,
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
            routes: Arc::default(),
            limits: Arc::from([]),
            permissions: Arc::default(),
        }
    }

    /// The tenant with this code.
    pub fn tenant_by_code(&self, code: &str) -> Option<&Arc<Tenant>> {
        self.tenants.get(self.codes.get(code)?)
    }

    /// Puts a tenant in, under its id and code.
    pub fn put_tenant(&mut self, tenant: Tenant) {
        self.codes.insert(tenant.code.clone(), tenant.id);
        self.tenants.insert(tenant.id, Arc::new(tenant));
    }
}

impl Tenant {
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
