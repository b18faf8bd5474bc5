//! A directory built by hand: two tenants, their keys, routes to one service, limits and quotas.

use std::collections::BTreeMap;
use std::sync::Arc;

use rowhouse_domain::access::{
    Chosen, Condition, Constraint, ConstraintKind, DecisionAudit, Grant, GrantDefinition, GrantEffect,
    GrantTarget, Holder, Interval, Model, Permissions, Principal, PrincipalKind, ResourceType, RoleCatalogue,
    RoleDefinition, Sessions, compile,
};
use rowhouse_domain::directory::{Directory, Key, Naming, Quota, Tenant};
use rowhouse_domain::entropy::Entropy;
use rowhouse_domain::id::{KeyId, SessionId, TenantId};
use rowhouse_domain::keys::{Environment, KeyStanding, KeyState, Narrowing, Pepper, generate};
use rowhouse_domain::limits::{Algorithm, LimitDefinition, LimitScope, Rule};
use rowhouse_domain::metering::quantity::SCALE;
use rowhouse_domain::routes::{
    CompiledTraffic, MeteringRule, RouteDefinition, RouteTable, ServiceDefinition, Traffic,
};
use rowhouse_domain::tenancy::{Isolation, Service, Status};

pub const ACME: TenantId = TenantId(uuid::Uuid::from_u128(0xacce));
pub const BOLT: TenantId = TenantId(uuid::Uuid::from_u128(0xb017));
pub const REGION: &str = "local";

/// Everything that a test may want to be different.
pub struct Plan {
    pub version: u64,
    pub routes: Vec<RouteDefinition>,
    pub services: Vec<ServiceDefinition>,
    pub traffic: Vec<Option<Traffic>>,
    pub limits: Vec<LimitDefinition>,
    pub tenants: Vec<Tenant>,
    pub keys: Vec<(rowhouse_domain::keys::PublicId, Key)>,
    pub tokens: Arc<rowhouse_domain::identity::token::TokenKeys>,
    permissions: Arc<Permissions>,
    pepper: Pepper,
    entropy: Entropy,
}

/// What a key is made of.
pub struct KeyPlan {
    pub tenant: TenantId,
    pub permits: &'static [&'static str],
    pub owner: u128,
    pub standing: KeyStanding,
    pub environment: Environment,
    pub region: &'static str,
    pub narrowed: Narrowing,
    pub family: Option<KeyId>,
}

impl KeyPlan {
    pub fn of(tenant: TenantId) -> Self {
        let standing = KeyStanding {
            state: KeyState::Active,
            not_before_us: None,
            expires_at_us: None,
            owner_enabled: true,
        };
        KeyPlan {
            tenant,
            permits: &["*:*"],
            owner: 1,
            standing,
            environment: Environment::Live,
            region: REGION,
            narrowed: Narrowing::default(),
            family: None,
        }
    }
}

impl Plan {
    /// Acme and Bolt, and the routes of one service at `upstream`.
    pub fn new(upstream: &str, pepper: Pepper, entropy: Entropy) -> Self {
        let actions = ["read", "create", "update", "delete"].map(str::to_owned).to_vec();
        let types = BTreeMap::from([("stamp".to_owned(), actions.clone()), ("report".to_owned(), actions)]);
        let permissions = Arc::new(Permissions::new(&types).unwrap());
        let mut plan = Plan {
            version: 1,
            routes: routes(),
            services: vec![service("stamping", upstream)],
            traffic: vec![],
            limits: vec![],
            tenants: vec![],
            keys: vec![],
            tokens: Arc::default(),
            permissions,
            pepper,
            entropy,
        };
        for (id, code) in [(ACME, "acme"), (BOLT, "bolt")] {
            let tenant = plan.tenant(id, code);
            plan.tenants.push(tenant);
        }
        plan
    }

    fn tenant(&self, id: TenantId, code: &str) -> Tenant {
        // Owner 1 may do everything; owner 2 may only read stamps; owner 3 nothing.
        let grant = |owner: u128, pattern: &str| GrantDefinition {
            principal: Principal { kind: PrincipalKind::User, id: uuid::Uuid::from_u128(owner) },
            effect: GrantEffect::Allow,
            target: GrantTarget::Permission(pattern.to_owned()),
            valid_from_us: None,
            valid_until_us: None,
        };
        let grants = [grant(1, "*:*"), grant(2, "stamp:read")];
        Tenant {
            id,
            code: code.into(),
            tier: "basic".into(),
            isolation: Isolation::Shared,
            region: REGION.into(),
            status: Status::Active,
            service: Service::Full,
            api_access: true,
            features: vec!["core".into()],
            enforcements: vec![],
            imposed: vec![],
            ended_sessions: Default::default(),
            issuers: Default::default(),
            authorities: Default::default(),
            access: Arc::new(compile(1, &grants, &RoleCatalogue::default(), &self.permissions)),
            limits: vec![],
            quotas: vec![],
            upstreams: vec![],
            version: 1,
        }
    }

    pub fn tenant_mut(&mut self, id: TenantId) -> &mut Tenant {
        self.tenants.iter_mut().find(|tenant| tenant.id == id).unwrap()
    }

    /// Gives owner 4 of acme stamps under one condition, and denies them under another.
    pub fn conditional(&mut self, allow: &str, deny: &str) {
        let grant = |effect, text: &str| Grant {
            id: uuid::Uuid::nil(),
            holder: Holder::Principal(Principal { kind: PrincipalKind::User, id: uuid::Uuid::from_u128(4) }),
            effect,
            target: GrantTarget::Permission("stamp:*".to_owned()),
            resource: None,
            interval: Interval::ALWAYS,
            condition: Some(Condition::new(text, Default::default())),
        };
        let grants = [grant(GrantEffect::Allow, allow), grant(GrantEffect::Deny, deny)];
        let (permissions, roles) = (self.permissions.clone(), RoleCatalogue::default());
        let model = Model {
            permissions: &permissions,
            roles: &roles,
            grants: &grants,
            memberships: &[],
            resources: &[],
            principals: &[],
            sessions: Sessions::default(),
        };
        self.tenant_mut(ACME).access = Arc::new(model.compile(1));
    }

    /// Gives owner 4 of acme two roles that are not active together, and lets the session choose.
    pub fn apart(&mut self, (reader, writer): (&str, &str), chosen: Option<(SessionId, &str)>) {
        let who = Principal { kind: PrincipalKind::User, id: uuid::Uuid::from_u128(4) };
        let role = |name: &str, permission: &str| RoleDefinition {
            name: name.to_owned(),
            permissions: vec![permission.to_owned()],
            ..RoleDefinition::default()
        };
        let roles = [role(reader, "stamp:read"), role(writer, "stamp:create")];
        let permissions = self.permissions.clone();
        let roles = RoleCatalogue::new(&roles, &permissions).unwrap();
        let grant = |name: &str| Grant {
            id: uuid::Uuid::nil(),
            holder: Holder::Principal(who),
            effect: GrantEffect::Allow,
            target: GrantTarget::Role(name.to_owned()),
            resource: None,
            interval: Interval::ALWAYS,
            condition: None,
        };
        let apart = [Constraint {
            name: "one-hat".to_owned(),
            kind: ConstraintKind::Dynamic,
            roles: vec![reader.to_owned(), writer.to_owned()],
            permissions: Vec::new(),
            at_most: 1,
        }];
        let chosen: Vec<_> = chosen
            .into_iter()
            .map(|(session, role)| Chosen {
                session: Some(session),
                principal: who,
                active: vec![role.to_owned()],
            })
            .collect();
        let model = Model {
            permissions: &permissions,
            roles: &roles,
            grants: &[grant(reader), grant(writer)],
            memberships: &[],
            resources: &[],
            principals: &[],
            sessions: Sessions { apart: &apart, chosen: &chosen },
        };
        self.tenant_mut(ACME).access = Arc::new(model.compile(1));
    }

    /// Declares what decisions about `kind:action` leave in the audit log.
    pub fn recorded(&mut self, kind: &str, action: &str, (audit, is_sensitive): (Option<&str>, bool)) {
        let read = |text: &str| DecisionAudit::try_from(text.to_owned()).unwrap();
        let declared = ResourceType {
            name: kind.to_owned(),
            sensitive: Vec::from_iter(is_sensitive.then(|| action.to_owned())),
            audit: audit.map(|text| (action.to_owned(), read(text))).into_iter().collect(),
            ..ResourceType::default()
        };
        self.permissions = Arc::new(Permissions::clone(&self.permissions).with_audit(&declared));
    }

    pub fn route_mut(&mut self, name: &str) -> &mut RouteDefinition {
        self.routes.iter_mut().find(|route| route.name == name).unwrap()
    }

    /// Adds a key and returns its text.
    pub fn key(&mut self, plan: KeyPlan) -> String {
        let (text, public_id) = generate(plan.environment, plan.region, &self.entropy);
        let id = KeyId(uuid::Uuid::from_u128(1000 + self.keys.len() as u128));
        let mut permits = rowhouse_domain::access::PermissionSet::default();
        for pattern in plan.permits {
            permits.extend(&self.permissions.matching(pattern).unwrap());
        }
        let key = Key {
            id,
            tenant: plan.tenant,
            owner: Principal { kind: PrincipalKind::User, id: uuid::Uuid::from_u128(plan.owner) },
            environment: plan.environment,
            standing: plan.standing,
            digest: self.pepper.digest(&text),
            pepper: self.pepper.version(),
            permits,
            narrowed: plan.narrowed.boxed(),
            family: plan.family.unwrap_or(id),
        };
        self.keys.push((public_id, key));
        text
    }

    /// A limit that admits `burst` at once and `quota` per second; every tenant has the same value.
    pub fn limit(&mut self, name: &str, scope: LimitScope, quota: i64, burst: i64) {
        self.limits.push(LimitDefinition {
            name: name.to_owned(),
            algorithm: Algorithm::TokenBucket,
            quota,
            window_ms: 1000,
            burst: Some(burst),
            scope: scope.into(),
            matches: Default::default(),
            tiers: BTreeMap::new(),
            services: vec![],
            enforcement: Default::default(),
            visible: !matches!(scope, LimitScope::Global | LimitScope::Endpoint),
            mode: None,
            on_store_failure: Default::default(),
        });
        for tenant in &mut self.tenants {
            tenant.limits.push(Rule::new(Algorithm::TokenBucket, quota, 1000, Some(burst)).ok());
        }
    }

    /// Gives a limit other numbers, for all tenants.
    pub fn shape(&mut self, place: usize, algorithm: Algorithm, quota: i64, window_ms: i64) {
        let limit = &mut self.limits[place];
        (limit.algorithm, limit.quota, limit.window_ms, limit.burst) = (algorithm, quota, window_ms, None);
        for tenant in &mut self.tenants {
            tenant.limits[place] = limit.rule(None).unwrap();
        }
    }

    /// Gives a tenant a daily quota in whole units.
    pub fn quota(&mut self, tenant: TenantId, meter: &str, limit: i64, used: i64, window_from_us: i64) {
        self.tenant_mut(tenant).quotas.push(Quota {
            used: i128::from(used) * SCALE,
            used_from_us: window_from_us,
            ..Quota::of_meter(meter, Some(i128::from(limit) * SCALE))
        });
    }

    pub fn build(&self) -> Directory {
        let mut directory = Directory::empty();
        directory.version = self.version;
        directory.naming = Arc::new(Naming {
            base_domains: vec!["example.test".to_owned()],
            platform_hosts: vec!["localhost".to_owned()],
            region: REGION.to_owned(),
        });
        directory.permissions = self.permissions.clone();
        directory.tokens = self.tokens.clone();
        directory.services = self.services.clone().into();
        let traffic = self.services.iter().zip(&self.traffic);
        let compiled = |(service, own): (_, &Option<Traffic>)| {
            own.as_ref().map(|own| CompiledTraffic::new(service, own))
        };
        directory.traffic = traffic.map(compiled).collect();
        directory.routes =
            Arc::new(RouteTable::new(&self.routes, &self.services, &self.permissions).unwrap());
        directory.limits = self.limits.clone().into();
        directory.hosts.insert("stamps.acme.test".into(), ACME);
        for tenant in &self.tenants {
            directory.put_tenant(tenant.clone());
        }
        for (public_id, key) in &self.keys {
            directory.keys.insert(*public_id, Arc::new(key.clone()));
        }
        directory
    }
}

pub fn service(name: &str, upstream: &str) -> ServiceDefinition {
    let own = [upstream];
    ServiceDefinition {
        reports_usage: true,
        first_byte_timeout_ms: 10_000,
        ..ServiceDefinition::new(name, if upstream.is_empty() { &[] } else { &own })
    }
}

pub fn route(name: &str, methods: &[&str], path: &str) -> RouteDefinition {
    RouteDefinition {
        methods: methods.iter().map(|method| (*method).to_owned()).collect(),
        resource_type: Some("stamp".to_owned()),
        body_max_bytes: 100_000,
        ..RouteDefinition::new(name, "stamping", path)
    }
}

pub fn counts(meter: &str, quantity: &str) -> MeteringRule {
    MeteringRule { meter: meter.to_owned(), quantity: quantity.to_owned(), count_when: Default::default() }
}

fn routes() -> Vec<RouteDefinition> {
    let mut stamp = route("stamps.one", &["GET", "PUT", "DELETE"], "/v1/stamps/{stamp_id}");
    stamp.resource_from = Some("stamp_id".to_owned());
    let mut create = route("stamps.create", &["POST"], "/v1/stamps");
    create.metering = vec![counts("stamps_created", "1")];
    let mut public = route("open", &[], "/open/*");
    public.public = true;
    public.resource_type = None;
    vec![
        stamp,
        create,
        route("stamps.list", &["GET", "HEAD"], "/v1/stamps"),
        route("work", &[], "/v1/work/*"),
        public,
    ]
}
