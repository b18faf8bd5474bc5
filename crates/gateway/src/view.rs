//! One core's view of one version of the directory: with what only the gateway needs looked up beforehand.

use std::cell::Cell;
use std::hash::BuildHasher;
use std::rc::Rc;
use std::sync::Arc;

use foldhash::quality::FixedState;
use http::HeaderValue;
use rowhouse_domain::access::PermissionId;
use rowhouse_domain::directory::Directory;
use rowhouse_domain::limits::{Bucket, LimitDefinition, LimitScope};
use rowhouse_domain::routes::{Route, ServiceDefinition};

use crate::upstream::{Pools, Upstream};

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
}

/// A service.
pub(crate) struct ServiceView {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// Its shared copies.
    pub(crate) upstreams: Vec<Rc<Upstream>>,
    /// Whose turn it is.
    pub(crate) turn: Cell<usize>,
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
    pub(crate) scope: LimitScope,
    /// The value that holds where no tenant has its own.
    pub(crate) base: Option<Bucket>,
    /// Hash of its name.
    pub(crate) seed: u64,
    pub(crate) visible: bool,
}

impl View {
    pub(crate) fn new(directory: Arc<Directory>, pools: &Pools, hash: &FixedState) -> Self {
        let uses = |wanted: &dyn Fn(&LimitDefinition) -> bool| -> Vec<LimitUse> {
            let limits = directory.limits.iter().enumerate();
            limits
                .filter(|(_, limit)| wanted(limit))
                .map(|(index, limit)| limit_use(index, limit, hash))
                .collect()
        };
        let admission = |limit: &LimitDefinition| !at_arrival(limit.scope);
        let of_service = |service: &ServiceDefinition| {
            let named =
                |limit: &LimitDefinition| limit.services.is_empty() || limit.services.contains(&service.name);
            uses(&|limit| admission(limit) && named(limit))
        };
        let services = directory.services.iter().map(|service| ServiceView {
            name: Arc::from(service.name.as_str()),
            upstreams: service
                .upstreams
                .iter()
                .map(|a| pools.upstream(a, service.protocol == "http2"))
                .collect(),
            turn: Cell::new(0),
            admission: of_service(service),
            http2: service.protocol == "http2",
        });
        View {
            services: services.collect(),
            routes: directory.routes.routes().iter().map(|route| route_view(route, &directory)).collect(),
            arrival: uses(&|limit| at_arrival(limit.scope) && limit.services.is_empty()),
            unrouted: uses(&|limit| admission(limit) && limit.services.is_empty()),
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

fn at_arrival(scope: LimitScope) -> bool {
    matches!(scope, LimitScope::Global | LimitScope::Ip)
}

fn limit_use(index: usize, limit: &LimitDefinition, hash: &FixedState) -> LimitUse {
    // A value that fits no bucket cannot get into a directory; if it did, the limit would not hold.
    let base = limit.bucket(None).unwrap_or_else(|error| {
        tracing::error!(limit = limit.name, %error, "a limit in the directory has impossible numbers");
        None
    });
    let seed = hash.hash_one(limit.name.as_str());
    LimitUse { index, scope: limit.scope, base, seed, visible: limit.visible }
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
