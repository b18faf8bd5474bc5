//! Where requests would go, and why not elsewhere.

use std::sync::Arc;

use super::super::{MeteringRule, RouteDefinition, RouteTable, ServiceDefinition};
use super::*;
use crate::access::Permissions;
use crate::limits::{Algorithm, LimitScope};

fn route(name: &str, methods: &[&str], path: &str) -> RouteDefinition {
    RouteDefinition {
        methods: methods.iter().map(|method| (*method).to_owned()).collect(),
        resource_type: Some("stamp".to_owned()),
        public: true,
        metering: vec![MeteringRule {
            meter: "api_calls".to_owned(),
            quantity: "1".to_owned(),
            count_when: Default::default(),
        }],
        cost: 3,
        ..RouteDefinition::new(name, "stamping", path)
    }
}

fn limit(name: &str, scope: LimitScope, change: impl FnOnce(&mut LimitDefinition)) -> LimitDefinition {
    let mut limit = LimitDefinition {
        name: name.to_owned(),
        algorithm: Algorithm::FixedWindow,
        quota: 1,
        window_ms: 1_000,
        burst: None,
        scope: scope.into(),
        matches: Default::default(),
        tiers: Default::default(),
        services: vec![],
        enforcement: Default::default(),
        visible: true,
        mode: None,
        on_store_failure: Default::default(),
    };
    change(&mut limit);
    limit
}

fn directory() -> Directory {
    let actions = ["read", "create", "update", "delete"].map(str::to_owned).to_vec();
    let permissions = Permissions::new(&BTreeMap::from([("stamp".to_owned(), actions)])).expect("few");
    let service = ServiceDefinition::new("stamping", &["10.0.0.1:80"]);
    let mut early = route("stamps.early", &["GET"], "/v1/stamps/{stamp_id}");
    early.priority = 1;
    let routes = [
        route("stamps.one", &["GET", "PUT"], "/v1/stamps/{stamp_id}"),
        early,
        route("stamps.list", &["GET"], "/v1/stamps"),
        route("all", &[], "/v1/*"),
        route("far", &["GET"], "/v2/stamps"),
    ];
    let mut directory = Directory::empty();
    directory.routes =
        Arc::new(RouteTable::new(&routes, std::slice::from_ref(&service), &permissions).expect("routes"));
    directory.services = Arc::from([service]);
    directory.permissions = Arc::new(permissions);
    directory.limits = Arc::from([
        limit("endpoint", LimitScope::Endpoint, |_| {}),
        limit("everything", LimitScope::Global, |_| {}),
        limit("off", LimitScope::Endpoint, |limit| limit.enforcement = Enforcement::Off),
        limit("writes", LimitScope::Endpoint, |limit| limit.matches.methods = vec!["PUT".to_owned()]),
        limit("others", LimitScope::Endpoint, |limit| limit.services = vec!["billing".to_owned()]),
        limit("tenant", LimitScope::Tenant, |_| {}),
    ]);
    directory.version = 7;
    directory
}

fn ask(method: &str, path: &str) -> Explained {
    explain(
        &directory(),
        Asked { method, path, tenant: None, authority: "", query: None, headers: &BTreeMap::new() },
    )
}

fn because(explained: &Explained) -> Vec<(&str, &str)> {
    explained.considered.iter().map(|one| (one.route.as_str(), one.rejected_because)).collect()
}

#[test]
fn the_route_its_captures_and_all_that_it_asks_for() {
    let told = ask("GET", "/v1/stamps/42");
    assert_eq!((told.route.as_deref(), told.service.as_deref()), (Some("stamps.early"), Some("stamping")));
    assert_eq!(told.endpoint.as_deref(), Some("GET /v1/stamps/{stamp_id}"));
    assert_eq!(told.captures, BTreeMap::from([("stamp_id".to_owned(), "42".to_owned())]));
    assert_eq!(told.upstreams, ["10.0.0.1:80"]);
    assert_eq!(told.limits, ["everything", "endpoint"], "arrival first; a tenant's needs a tenant");
    assert_eq!((told.cost, told.metering.len(), told.refusal.as_ref()), (3, 1, None));
    assert_eq!(
        because(&told),
        [("stamps.one", "priority"), ("all", "less_specific"), ("stamps.list", "path")]
    );
    assert_eq!(ask("PUT", "/v1/stamps/42").limits, ["everything", "endpoint", "writes"]);
}

#[test]
fn what_is_refused_says_how() {
    let refused = |method: &str, path: &str| {
        let told = ask(method, path);
        (told.route.clone(), told.refusal.map(|refusal| (refusal.status, refusal.code)))
    };
    // Nobody is named, and only public routes take that.
    assert_eq!(refused("GET", "/v3"), (None, Some((400, "tenancy.unresolved"))));
    assert_eq!(refused("DELETE", "/v1/x/y"), (Some("all".to_owned()), None));
    let told = ask("DELETE", "/v2/stamps");
    assert_eq!((told.route.as_deref(), because(&told)), (None, vec![("far", "method")]));
}
