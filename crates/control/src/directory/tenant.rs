//! One tenant's entry and keys, compiled.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rowhouse_domain::access::{AccessTable, GrantDefinition, PermissionSet, compile};
use rowhouse_domain::directory::{Key, Quota, Tenant};
use rowhouse_domain::id::TenantId;
use rowhouse_domain::limits::Bucket;
use rowhouse_domain::resources::QuotaWindow;
use rowhouse_domain::tenancy::features::{self, Flag, FlagType, FlagValue};
use rowhouse_domain::tenancy::{Isolation, Tier};

use crate::catalog::{Compiled, QuotaLimit};
use crate::keys::KeyRow;
use crate::resources::Used;
use crate::tenancy::TenantRow;
use crate::tenancy::features::Override;

/// What belongs to tenants, by tenant, as it was loaded.
#[derive(Debug, Default)]
pub(super) struct Belongings {
    pub grants: HashMap<TenantId, Vec<GrantDefinition>>,
    pub versions: HashMap<TenantId, u64>,
    pub overrides: HashMap<TenantId, Vec<Override>>,
    pub upstreams: HashMap<TenantId, Vec<(String, String)>>,
    pub used: HashMap<TenantId, Vec<Used>>,
}

/// Compiles entries against one catalogue. Most tenants and keys look alike; what is alike is made once.
pub(super) struct Compiler<'a> {
    catalogue: &'a Compiled,
    belongings: &'a Belongings,
    version: u64,
    permits: HashMap<(Vec<String>, Vec<String>), PermissionSet>,
    meters: HashMap<String, Arc<str>>,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(catalogue: &'a Compiled, belongings: &'a Belongings, version: u64) -> Self {
        Compiler { catalogue, belongings, version, permits: HashMap::new(), meters: HashMap::new() }
    }

    /// A tenant's entry.
    pub(super) fn tenant(&mut self, row: &TenantRow) -> Tenant {
        let tier = self.catalogue.tiers.get(&row.tier);
        let features = self.features(row.id, tier);
        Tenant {
            id: row.id,
            code: row.code.as_str().into(),
            tier: row.tier.as_str().into(),
            isolation: row.isolation,
            region: row.region.as_str().into(),
            status: row.status,
            service: row.status.service(row.suspension_mode, row.status_before),
            api_access: features.iter().any(|feature| &**feature == "api_access"),
            features,
            enforcements: Vec::new(),
            access: Arc::new(self.access(row.id)),
            limits: self.limits(&row.tier),
            quotas: self.quotas(row, tier),
            // While a tenant moves to or from a server of its own, its processes are there and are not its way in.
            upstreams: if row.isolation == Isolation::Instance { self.upstreams(row.id) } else { Vec::new() },
            version: self.version,
        }
    }

    /// The flags of type `bool` that are on.
    fn features(&self, tenant: TenantId, tier: Option<&Tier>) -> Vec<Box<str>> {
        let given = tier.map(|tier| tier.features.as_slice()).unwrap_or_default();
        let own = self.belongings.overrides.get(&tenant).map(Vec::as_slice).unwrap_or_default();
        let is_on = |flag: &&Flag| {
            let own = own.iter().find(|own| own.flag == flag.name).map(|own| &own.value);
            features::decide(flag, tenant, given, own).value == FlagValue::Bool(true)
        };
        let flags = self.catalogue.flags.iter().filter(|flag| flag.kind == FlagType::Bool);
        flags.filter(is_on).map(|flag| flag.name.as_str().into()).collect()
    }

    fn access(&self, tenant: TenantId) -> AccessTable {
        let grants = self.belongings.grants.get(&tenant).map(Vec::as_slice).unwrap_or_default();
        let version = self.belongings.versions.get(&tenant).copied().unwrap_or(0);
        compile(version, grants, &self.catalogue.roles, &self.catalogue.permissions)
    }

    fn limits(&self, tier: &str) -> Vec<Option<Bucket>> {
        let bucket = |limit: &rowhouse_domain::limits::LimitDefinition| {
            limit.bucket(Some(tier)).expect("the catalogue has checked every value of its limits")
        };
        self.catalogue.limits.iter().map(bucket).collect()
    }

    fn quotas(&mut self, row: &TenantRow, tier: Option<&Tier>) -> Vec<Quota> {
        let mut values: BTreeMap<&str, &str> = BTreeMap::new();
        let of_tier = tier.iter().flat_map(|tier| &tier.quotas);
        values.extend(
            of_tier.chain(&row.quota_overrides).map(|(meter, value)| (meter.as_str(), value.as_str())),
        );
        let used = self.belongings.used.get(&row.id).map(Vec::as_slice).unwrap_or_default();
        let quota = |(meter, value): (&str, &str)| {
            // An override is checked when it is written; one that cannot be read leaves the meter without room.
            let limit = QuotaLimit::parse(value).unwrap_or(QuotaLimit::Units(0));
            let used = used.iter().find(|used| used.meter == meter);
            let name = self.meters.entry(meter.to_owned()).or_insert_with(|| Arc::from(meter));
            Quota {
                meter: name.clone(),
                limit: match limit {
                    QuotaLimit::Unlimited => None,
                    QuotaLimit::Units(units) => Some(units),
                },
                window: QuotaWindow::of_meter(meter),
                used: used.map_or(0, |used| used.used),
                used_from_us: used.map_or(0, |used| used.from_us),
            }
        };
        values.into_iter().map(quota).collect()
    }

    fn upstreams(&self, tenant: TenantId) -> Vec<(usize, Vec<Arc<str>>)> {
        let own = self.belongings.upstreams.get(&tenant).map(Vec::as_slice).unwrap_or_default();
        let mut by_service: BTreeMap<usize, Vec<Arc<str>>> = BTreeMap::new();
        for (service, address) in own {
            let index = self.catalogue.services.iter().position(|known| known.name == *service);
            if let Some(index) = index {
                by_service.entry(index).or_default().push(Arc::from(address.as_str()));
            }
        }
        by_service.into_iter().collect()
    }

    /// A key's entry.
    pub(super) fn key(&mut self, row: KeyRow) -> Key {
        Key {
            id: row.id,
            tenant: row.tenant,
            owner: row.owner,
            environment: row.environment,
            standing: row.standing,
            digest: row.digest,
            pepper: row.pepper,
            permits: self.permits(row.roles, row.permissions),
            services: row.services.map(|names| names.into_iter().map(String::into_boxed_str).collect()),
            family: row.family,
        }
    }

    /// What roles and permissions permit together; those that do not exist (any more) permit nothing.
    fn permits(&mut self, roles: Vec<String>, permissions: Vec<String>) -> PermissionSet {
        let catalogue = self.catalogue;
        let union = |(roles, permissions): &(Vec<String>, Vec<String>)| {
            let of_roles = roles.iter().filter_map(|role| catalogue.roles.permissions(role).copied());
            let of_patterns = permissions.iter().filter_map(|own| catalogue.permissions.matching(own));
            let mut set = PermissionSet::default();
            of_roles.chain(of_patterns).for_each(|part| set.extend(&part));
            set
        };
        let key = (roles, permissions);
        if let Some(set) = self.permits.get(&key) {
            return *set;
        }
        let set = union(&key);
        self.permits.insert(key, set);
        set
    }
}
