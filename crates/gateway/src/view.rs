//! One core's view of one version of the directory: with what only the gateway needs looked up beforehand.

use std::cell::Cell;
use std::hash::BuildHasher;
use std::rc::Rc;
use std::sync::Arc;

use foldhash::quality::FixedState;
use http::HeaderValue;
use rowhouse_domain::access::PermissionId;
use rowhouse_domain::directory::{Directory, Tenant};
use rowhouse_domain::limits::{Enforcement, LimitDefinition, LimitMode, LimitScope, OnStoreFailure, Rule};
use rowhouse_domain::routes::{Balancing, Route, ServiceDefinition};

use crate::limits::{LimitFigures, Policies};
use crate::metrics::CoreMetrics;
use crate::upstream::{Care, Pools, Upstream};

/// A directory version, as one core sees it.
pub(crate) struct View {
    pub(crate) directory: Arc<Directory>,
    /// In the directory's order.
    pub(crate) services: Vec<ServiceView>,
    /// In the route table's order.
    pub(crate) routes: Vec<RouteView>,
    /// Limits before authentication: global and by address.
    pub(crate) arrival: Vec<LimitUse>,
    /// Limits after it that hold whatever the service.
    pub(crate) unrouted: Vec<LimitUse>,
    /// What answers tell of limits.
    pub(crate) policies: Policies,
}

/// A service.
pub(crate) struct ServiceView {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// Its shared copies.
    pub(crate) upstreams: Vec<Rc<Upstream>>,
    /// Whose turn it is.
    pub(crate) turn: Cell<usize>,
    pub(crate) balancing: Balancing,
    /// What is known of its shared copies.
    pub(crate) care: Rc<Care>,
    /// Limits after authentication, for requests to it.
    pub(crate) admission: Vec<LimitUse>,
    /// Whether it is spoken to in HTTP/2.
    pub(crate) http2: bool,
}

/// A route.
pub(crate) struct RouteView {
    permissions: Vec<(PermissionId, HeaderValue)>,
}

/// A limit as it is applied.
pub(crate) struct LimitUse {
    /// Place in the directory's list.
    pub(crate) index: usize,
    /// What it counts by, one to three.
    pub(crate) scopes: Box<[LimitScope]>,
    /// Whether it counts within a tenant, which may then have a value of its own.
    pub(crate) within_tenant: bool,
    /// The value that holds where no tenant has its own.
    pub(crate) base: Option<Rule>,
    /// Hash of its name.
    pub(crate) seed: u64,
    pub(crate) visible: bool,
    /// It counts and refuses nothing.
    pub(crate) watches: bool,
    /// Who keeps its counters, where there is a store.
    pub(crate) mode: LimitMode,
    pub(crate) on_store_failure: OnStoreFailure,
    /// Whether any of the lists below leaves something out.
    pub(crate) is_narrowed: bool,
    /// Methods and endpoints it is for; empty is all.
    pub(crate) methods: Box<[Box<str>]>,
    pub(crate) endpoints: Box<[Box<str>]>,
    /// Tenants it is for, by code and tier; empty is all.
    pub(crate) tenants: Box<[Box<str>]>,
    pub(crate) tiers: Box<[Box<str>]>,
    pub(crate) figures: Arc<LimitFigures>,
}

impl View {
    pub(crate) fn new(
        directory: Arc<Directory>,
        pools: &Pools,
        metrics: &CoreMetrics,
        hash: &FixedState,
    ) -> Self {
        let uses = |wanted: &dyn Fn(&LimitDefinition) -> bool| -> Vec<LimitUse> {
            let limits = directory.limits.iter().enumerate();
            limits
                .filter(|(_, limit)| limit.enforcement != Enforcement::Off && wanted(limit))
                .map(|(index, limit)| limit_use(index, limit, metrics, hash))
                .collect()
        };
        let admission = |limit: &LimitDefinition| !limit.scope.at_arrival();
        let of_service = |service: &ServiceDefinition| {
            uses(&|limit| admission(limit) && limit.is_for_service(&service.name))
        };
        let services = directory.services.iter().map(|service| ServiceView {
            name: Arc::from(service.name.as_str()),
            upstreams: service
                .upstreams
                .iter()
                .map(|a| pools.upstream(a, service.protocol == "http2"))
                .collect(),
            turn: Cell::new(0),
            balancing: service.balancing,
            care: pools.care(&Arc::from(service.name.as_str()), None),
            admission: of_service(service),
            http2: service.protocol == "http2",
        });
        View {
            services: services.collect(),
            routes: directory.routes.routes().iter().map(|route| route_view(route, &directory)).collect(),
            arrival: uses(&|limit| limit.scope.at_arrival()),
            unrouted: uses(&|limit| admission(limit) && limit.is_for_unrouted()),
            policies: Policies::default(),
            directory,
        }
    }

    /// The definition of a limit.
    pub(crate) fn limit(&self, index: usize) -> &LimitDefinition {
        &self.directory.limits[index]
    }
}

impl RouteView {
    /// The permission's name as a header value.
    pub(crate) fn permission_value(&self, id: PermissionId) -> Option<HeaderValue> {
        self.permissions.iter().find(|(own, _)| *own == id).map(|(_, value)| value.clone())
    }
}

impl LimitUse {
    /// Whether it is for such a request.
    pub(crate) fn is_for(&self, method: &str, endpoint: Option<&str>, tenant: Option<&Tenant>) -> bool {
        let holds = |names: &[Box<str>], own: Option<&str>| {
            names.is_empty() || own.is_some_and(|own| names.iter().any(|name| **name == *own))
        };
        holds(&self.methods, Some(method))
            && holds(&self.endpoints, endpoint)
            && holds(&self.tenants, tenant.map(|tenant| &*tenant.code))
            && holds(&self.tiers, tenant.map(|tenant| &*tenant.tier))
    }
}

fn limit_use(index: usize, limit: &LimitDefinition, metrics: &CoreMetrics, hash: &FixedState) -> LimitUse {
    // A value that fits no rule cannot get into a directory; if it did, the limit would not hold.
    let base = limit.rule(None).unwrap_or_else(|error| {
        tracing::error!(limit = limit.name, %error, "a limit in the directory has impossible numbers");
        None
    });
    let names = |names: &[String]| names.iter().map(|name| name.as_str().into()).collect();
    let lists =
        [&limit.matches.methods, &limit.matches.endpoints, &limit.matches.tenants, &limit.matches.tiers];
    LimitUse {
        index,
        scopes: limit.scope.all().into(),
        within_tenant: limit.scope.within_tenant(),
        base,
        seed: hash.hash_one(limit.name.as_str()),
        visible: limit.visible && limit.enforcement == Enforcement::Enforce,
        watches: limit.enforcement == Enforcement::Shadow,
        mode: limit.mode.unwrap_or(LimitMode::Leased),
        on_store_failure: limit.on_store_failure,
        is_narrowed: lists.iter().any(|list| !list.is_empty()),
        methods: names(&limit.matches.methods),
        endpoints: names(&limit.matches.endpoints),
        tenants: names(&limit.matches.tenants),
        tiers: names(&limit.matches.tiers),
        figures: metrics.limit(&limit.name),
    }
}

fn route_view(route: &Route, directory: &Directory) -> RouteView {
    const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let mut permissions: Vec<(PermissionId, HeaderValue)> = Vec::new();
    for id in METHODS.iter().filter_map(|method| route.permission(method)) {
        let name = HeaderValue::from_str(directory.permissions.name(id));
        if let (Ok(value), false) = (name, permissions.iter().any(|(known, _)| *known == id)) {
            permissions.push((id, value));
        }
    }
    RouteView { permissions }
}
