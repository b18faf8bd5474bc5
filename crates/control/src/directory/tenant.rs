//! One tenant's entry and keys, compiled.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use rowhouse_domain::access::{AccessTable, Model, PermissionSet, RoleDefinition, key_permits};
use rowhouse_domain::directory::{Imposed, Key, Quota, Tenant};
use rowhouse_domain::id::{IssuerId, OPERATOR_TENANT, SessionId, TenantId};
use rowhouse_domain::identity::certificate::TenantAuthorities;
use rowhouse_domain::identity::issuer::{Issuer, TenantIssuers, Trust};
use rowhouse_domain::limits::{LimitDefinition, Rule};
use rowhouse_domain::resources::Action;
use rowhouse_domain::tenancy::features::{self, Flag, FlagType, FlagValue};
use rowhouse_domain::tenancy::{Isolation, Tier};

use crate::access::Stored;
use crate::catalog::Compiled;
use crate::keys::KeyRow;
use crate::limits;
use crate::resources::Enforcement;
use crate::tenancy::TenantRow;
use crate::tenancy::features::Override;

/// What belongs to tenants, by tenant, as it was loaded.
#[derive(Debug, Default)]
pub(super) struct Belongings {
    pub access: HashMap<TenantId, Stored>,
    pub roles: HashMap<TenantId, Vec<RoleDefinition>>,
    pub overrides: HashMap<TenantId, Vec<Override>>,
    pub limits: HashMap<TenantId, Vec<limits::Override>>,
    pub upstreams: HashMap<TenantId, Vec<(String, String)>>,
    pub quotas: HashMap<TenantId, Vec<Quota>>,
    pub enforcements: HashMap<TenantId, Vec<Enforcement>>,
    pub ended_sessions: HashMap<TenantId, Vec<SessionId>>,
    /// With whose they are; the operator's are every tenant's to trust.
    pub issuers: Vec<(TenantId, Issuer)>,
    pub trusts: HashMap<TenantId, Vec<(IssuerId, Trust)>>,
    pub authorities: HashMap<TenantId, Arc<TenantAuthorities>>,
    /// Services (by index) with tables.
    pub storing: Box<[usize]>,
}

/// Compiles entries against one catalogue. Most tenants and keys look alike; what is alike is made once.
pub(super) struct Compiler<'a> {
    catalogue: &'a Compiled,
    belongings: &'a Belongings,
    version: u64,
    permits: HashMap<(Vec<String>, Vec<String>), PermissionSet>,
    no_issuers: Arc<TenantIssuers>,
    no_authorities: Arc<TenantAuthorities>,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(catalogue: &'a Compiled, belongings: &'a Belongings, version: u64) -> Self {
        Compiler {
            catalogue,
            belongings,
            version,
            permits: HashMap::new(),
            no_issuers: Arc::default(),
            no_authorities: Arc::default(),
        }
    }

    /// A tenant's entry.
    pub(super) fn tenant(&mut self, row: &TenantRow) -> Tenant {
        let tier = self.catalogue.tiers.get(&row.tier);
        let features = self.features(row.id, tier);
        let imposed = self.imposed(row.id);
        let mut enforcements: Vec<Box<str>> =
            imposed.iter().filter(|own| own.action != Action::Notify).map(|own| own.flag.clone()).collect();
        enforcements.sort();
        enforcements.dedup();
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
            enforcements,
            imposed,
            access: Arc::new(self.access(row.id)),
            limits: self.limits(row.id, &row.tier),
            quotas: self.belongings.quotas.get(&row.id).cloned().unwrap_or_default(),
            // While a tenant moves to or from a server of its own, its processes are there and are not its way in.
            upstreams: if row.isolation == Isolation::Instance { self.upstreams(row.id) } else { Vec::new() },
            ended_sessions: self.ended_sessions(row.id),
            issuers: self.issuers(row.id),
            authorities: self.belongings.authorities.get(&row.id).unwrap_or(&self.no_authorities).clone(),
            version: self.version,
        }
    }

    /// Its own issuers, and those of the operator that it trusts.
    fn issuers(&self, tenant: TenantId) -> Arc<TenantIssuers> {
        if self.belongings.issuers.is_empty() {
            return self.no_issuers.clone();
        }
        let trusts = self.belongings.trusts.get(&tenant).map(Vec::as_slice).unwrap_or_default();
        let seen = self.belongings.issuers.iter().filter_map(|(owner, issuer)| {
            let own = trusts.iter().filter(|(id, _)| *id == issuer.id).map(|(_, trust)| trust.clone());
            let own: Vec<Trust> = own.collect();
            let is_seen = *owner == tenant || (*owner == OPERATOR_TENANT && !own.is_empty());
            is_seen.then(|| Issuer { trusts: own, ..issuer.clone() })
        });
        let seen: Vec<Issuer> = seen.collect();
        if seen.is_empty() { self.no_issuers.clone() } else { Arc::new(TenantIssuers::new(seen)) }
    }

    fn ended_sessions(&self, tenant: TenantId) -> Arc<[SessionId]> {
        let mut own = self.belongings.ended_sessions.get(&tenant).cloned().unwrap_or_default();
        own.sort_unstable();
        own.into()
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
        let Some(stored) = self.belongings.access.get(&tenant) else { return AccessTable::default() };
        let Compiled { roles, permissions, composable, .. } = self.catalogue;
        let own = self.belongings.roles.get(&tenant);
        let own = own.map(|own| roles.with_tenant(own, permissions, composable));
        let Stored { grants, memberships, resources, principals, version, .. } = stored;
        let sessions = stored.sessions();
        let roles = own.as_ref().unwrap_or(roles);
        Model { permissions, roles, grants, memberships, resources, principals, sessions }.compile(*version)
    }

    fn limits(&self, tenant: TenantId, tier: &str) -> Vec<Option<Rule>> {
        let own = self.belongings.limits.get(&tenant).map(Vec::as_slice).unwrap_or_default();
        let rule = |limit: &LimitDefinition| {
            let over = own.iter().find(|own| own.limit == limit.name).map(|own| &own.value);
            limit.rule_with(Some(tier), over).unwrap_or_else(|error| {
                // It was checked against the limit as it was then.
                tracing::warn!(limit = limit.name, %tenant, %error, "an override does not fit its limit any more");
                limit.rule(Some(tier)).expect("the catalogue has checked every value of its limits")
            })
        };
        self.catalogue.limits.iter().map(rule).collect()
    }

    /// What is imposed, as the gateway acts on it.
    fn imposed(&self, tenant: TenantId) -> Vec<Imposed> {
        let own = self.belongings.enforcements.get(&tenant).map(Vec::as_slice).unwrap_or_default();
        let storing = |action| match action {
            Action::BlockWrites => self.belongings.storing.clone(),
            _ => Box::default(),
        };
        let imposed = own.iter().filter(|own| own.is_in_force()).map(|own| Imposed {
            meter: Arc::from(own.meter.as_str()),
            action: own.action,
            flag: own.flag.as_str().into(),
            until_us: own.until.map(Timestamp::as_microsecond),
            services: storing(own.action),
        });
        imposed.collect()
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
            narrowed: row.narrow.compiled(),
            family: row.family,
        }
    }

    /// What roles and permissions permit together; those that do not exist (any more) permit nothing.
    fn permits(&mut self, roles: Vec<String>, permissions: Vec<String>) -> PermissionSet {
        let catalogue = self.catalogue;
        let key = (roles, permissions);
        if let Some(set) = self.permits.get(&key) {
            return *set;
        }
        let set = key_permits(&key.0, &key.1, &catalogue.roles, &catalogue.permissions);
        self.permits.insert(key, set);
        set
    }
}
