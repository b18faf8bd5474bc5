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
use rowhouse_domain::routes::{
    Balancing, Route, RouteDefinition, ServiceDefinition, is_reserved_in_answers, is_reserved_in_requests,
    turns,
};

use crate::discovery::Names;
use crate::edits::HeaderEdits;
use crate::limits::{LimitFigures, Policies};
use crate::metrics::CoreMetrics;
use crate::path::CorsView;
use crate::upstream::{Care, Pools, SecureBook, Security, Speech, Spoken, Upstream};

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
    /// The state of what DNS names that it was made with.
    pub(crate) names: u64,
    /// What answers tell of limits.
    pub(crate) policies: Policies,
    /// Whether pages of other origins may do anything with any service.
    pub(crate) has_cors: bool,
}

/// A service.
pub(crate) struct ServiceView {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// Its releases with their shared copies; the first is that of the service's own.
    pub(crate) releases: Vec<ReleaseView>,
    /// Whether not all requests go to the first.
    pub(crate) splits: bool,
    /// Whose turn it is.
    pub(crate) turn: Cell<usize>,
    pub(crate) balancing: Balancing,
    /// Limits after authentication, for requests to it.
    pub(crate) admission: Vec<LimitUse>,
    /// What pages of other origins may do with it.
    pub(crate) cors: Option<CorsView>,
    /// Whether it is spoken to in HTTP/2, and in TLS.
    pub(crate) speech: Speech,
}

/// A release of a service.
pub(crate) struct ReleaseView {
    pub(crate) upstreams: Vec<Rc<Upstream>>,
    /// What is known of them.
    pub(crate) care: Rc<Care>,
    /// In which order they come, where they have weights.
    pub(crate) turns: Box<[usize]>,
}

/// A route.
pub(crate) struct RouteView {
    permissions: Vec<(PermissionId, HeaderValue)>,
    /// Whether the service sees another path or query.
    pub(crate) rewrites: bool,
    /// What is changed in requests' headers.
    pub(crate) request: Option<HeaderEdits>,
    /// What is changed in answers' headers.
    pub(crate) answer: Option<HeaderEdits>,
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
        (secure, names): (&SecureBook, &Names),
        metrics: &CoreMetrics,
        hash: &FixedState,
    ) -> Self {
        // Read first: what is learnt meanwhile makes another view.
        let generation = names.generation();
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
        let services = directory.services.iter().enumerate().map(|(index, service)| ServiceView {
            name: Arc::from(service.name.as_str()),
            releases: (0..=service.releases.len())
                .map(|release| release_view(service, release, (pools, names), &speech(service, secure)))
                .collect(),
            splits: directory.traffic(index).is_some(),
            turn: Cell::new(0),
            balancing: service.balancing,
            admission: of_service(service),
            cors: service.cors.as_ref().map(CorsView::new),
            speech: speech(service, secure),
        });
        View {
            services: services.collect(),
            routes: directory.routes.routes().iter().map(|route| route_view(route, &directory)).collect(),
            arrival: uses(&|limit| limit.scope.at_arrival()),
            unrouted: uses(&|limit| admission(limit) && limit.is_for_unrouted()),
            names: generation,
            policies: Policies::default(),
            has_cors: directory.services.iter().any(|service| service.cors.is_some()),
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

/// How the copies of a service are spoken to.
pub(crate) fn speech(service: &ServiceDefinition, secure: &SecureBook) -> Speech {
    let http2 = service.speaks_http2();
    let security = match &service.tls {
        None => Security::Plain,
        Some(declared) => secure
            .secure(declared, if http2 { Spoken::Http2 } else { Spoken::Http1 })
            .map_or(Security::Unusable, Security::Tls),
    };
    Speech { http2, security }
}

fn release_view(
    service: &ServiceDefinition,
    release: usize,
    (pools, names): (&Pools, &Names),
    speech: &Speech,
) -> ReleaseView {
    let addresses = names.expand(service.release_upstreams(release));
    let weight = |address: &String| service.weights.get(address).copied().unwrap_or(1);
    let turns = match service.balancing {
        Balancing::Weighted => turns(&addresses.iter().map(weight).collect::<Vec<_>>()),
        _ => Vec::new(),
    };
    // No service is called like this, so that each release is cared for by itself.
    let name = match release {
        0 => service.name.clone(),
        _ => format!("{}@{}", service.name, service.release_name(release)),
    };
    ReleaseView {
        upstreams: addresses.iter().map(|own| pools.upstream(own, speech)).collect(),
        care: pools.care(&Arc::from(name), None),
        turns: turns.into(),
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
    let definition = &route.definition;
    RouteView {
        permissions,
        rewrites: definition.request.path.is_some() || !definition.request.query.is_empty(),
        request: HeaderEdits::new(&definition.request.headers, is_reserved_in_requests),
        answer: answer_edits(definition),
    }
}

/// What the route changes in answers, and that it will go away.
fn answer_edits(definition: &RouteDefinition) -> Option<HeaderEdits> {
    let own = HeaderEdits::new(&definition.answer.headers, is_reserved_in_answers);
    let Some(deprecated) = &definition.deprecated else { return own };
    let told = deprecated.headers().into_iter();
    Some(told.fold(own.unwrap_or_else(HeaderEdits::none), |edits, (name, value)| edits.and_put(name, &value)))
}
