//! What would become of a request, up to where it would be sent. Pure: decided from the directory by the functions that
//! the gateway decides with; nothing is sent, charged or written.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Match, Matched, Route, RouteDefinition};
use crate::directory::{Directory, Tenant};
use crate::limits::{Enforcement, LimitDefinition};
use crate::refusal::{Refusal, kind};
use crate::tenancy::resolution::ResolvedBy;

/// Routes told of that were not taken.
const CONSIDERED_MAX: usize = 20;

/// A request whose tenant is known, with what was heard on the way.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// In upper case.
    pub method: &'a str,
    /// In normal form, without the tenant's prefix.
    pub path: &'a str,
    /// `None`: nothing names one.
    pub tenant: Option<(&'a Tenant, ResolvedBy)>,
}

/// Where it would go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// Whom it is for.
    pub tenant: Option<ExplainedTenant>,
    /// The route's name.
    pub route: Option<String>,
    /// Method and path template: what is metered and recorded.
    pub endpoint: Option<String>,
    /// Values of the template's places.
    pub captures: BTreeMap<String, String>,
    /// The service's name.
    pub service: Option<String>,
    /// Its copies that may be asked; the tenant's own, if it has some.
    pub upstreams: Vec<String>,
    /// What the caller needs; `None` on a public route.
    pub permission: Option<String>,
    /// Whether it needs no credential.
    pub public: bool,
    /// Limits that are charged for a caller with an API key, in their order.
    pub limits: Vec<String>,
    /// Units that each is charged.
    pub cost: u32,
    /// What it counts as.
    pub metering: Vec<ExplainedMetering>,
    /// The path that the service sees.
    pub upstream_path: Option<String>,
    /// Other routes that are near, and why they are not taken.
    pub considered: Vec<Considered>,
    /// How it would be refused; `None` if nothing of this refuses it.
    pub refusal: Option<ExplainedRefusal>,
    /// The version that decided.
    pub directory_version: u64,
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExplainedTenant {
    /// `tenant_…`
    pub id: String,
    /// Its code.
    pub code: String,
    /// What named it.
    pub resolved_by: &'static str,
}

/// A meter and how much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExplainedMetering {
    /// The meter.
    pub meter: String,
    /// In decimal.
    pub quantity: String,
}

/// A route that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Considered {
    /// Its name.
    pub route: String,
    /// `path`, `method`, `less_specific` or `priority`.
    pub rejected_because: &'static str,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExplainedRefusal {
    /// HTTP status.
    pub status: u16,
    /// Its code.
    pub code: &'static str,
    /// In words.
    pub detail: String,
}

impl From<&Refusal> for ExplainedRefusal {
    fn from(refusal: &Refusal) -> Self {
        ExplainedRefusal {
            status: refusal.status(),
            code: refusal.code(),
            detail: refusal.detail().to_owned(),
        }
    }
}

/// Finds out.
pub fn explain(directory: &Directory, asked: Asked<'_>) -> Explained {
    let table = &directory.routes;
    let found = table.find(asked.method, asked.path);
    let taken = if let Match::Found(matched) = &found { Some(matched) } else { None };
    let route = taken.map(|matched| matched.route);
    let tenant = asked.tenant.map(|(tenant, _)| tenant);
    let permission = route.and_then(|route| route.permission(asked.method));
    Explained {
        tenant: asked.tenant.map(|(tenant, by)| ExplainedTenant {
            id: tenant.id.to_string(),
            code: tenant.code.to_string(),
            resolved_by: by.as_str(),
        }),
        route: route.map(|route| route.definition.name.clone()),
        endpoint: route.map(|route| route.endpoint(asked.method).to_owned()),
        captures: taken.map(captures).unwrap_or_default(),
        service: route.map(|route| route.definition.service.clone()),
        upstreams: route.map(|route| upstreams(directory, route, tenant)).unwrap_or_default(),
        permission: permission
            .filter(|_| route.is_some_and(|route| !route.definition.public))
            .map(|id| directory.permissions.name(id).to_owned()),
        public: route.is_some_and(|route| route.definition.public),
        limits: limits(directory, asked, route),
        cost: route.map_or(1, |route| route.definition.cost),
        metering: route.map(metering).unwrap_or_default(),
        upstream_path: route.map(|_| asked.path.to_owned()),
        considered: considered(directory, asked, taken.map(|matched| matched.index)),
        refusal: refusal(directory, asked, &found).as_ref().map(ExplainedRefusal::from),
        directory_version: directory.version,
    }
}

fn captures(matched: &Matched<'_, '_>) -> BTreeMap<String, String> {
    let named = matched.captures.iter().filter(|(name, _)| *name != "rest");
    named.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn upstreams(directory: &Directory, route: &Route, tenant: Option<&Tenant>) -> Vec<String> {
    match tenant.and_then(|tenant| tenant.own_upstreams(route.service)) {
        Some(own) => own.iter().map(ToString::to_string).collect(),
        None => directory.services[route.service].upstreams.clone(),
    }
}

fn metering(route: &Route) -> Vec<ExplainedMetering> {
    let counted = route.definition.metering.iter();
    let one = |rule: &super::MeteringRule| ExplainedMetering {
        meter: rule.meter.clone(),
        quantity: rule.quantity.clone(),
    };
    counted.map(one).collect()
}

/// The limits at arrival, then those of the route's service or, without a route, those for all.
fn limits(directory: &Directory, asked: Asked<'_>, route: Option<&Route>) -> Vec<String> {
    let tenant = asked.tenant.map(|(tenant, _)| tenant);
    let applies = |index: usize, limit: &LimitDefinition| match () {
        () if limit.enforcement == Enforcement::Off => false,
        () if limit.scope.at_arrival() => true,
        () => admission_applies(index, limit, asked.method, route, tenant),
    };
    let all = || directory.limits.iter().enumerate().filter(|(index, limit)| applies(*index, limit));
    let arrival = all().filter(|(_, limit)| limit.scope.at_arrival());
    let admission = all().filter(|(_, limit)| !limit.scope.at_arrival());
    arrival.chain(admission).map(|(_, limit)| limit.name.clone()).collect()
}

fn admission_applies(
    index: usize,
    limit: &LimitDefinition,
    method: &str,
    route: Option<&Route>,
    tenant: Option<&Tenant>,
) -> bool {
    let holds = |names: &[String], own: Option<&str>| {
        names.is_empty() || own.is_some_and(|own| names.iter().any(|name| name == own))
    };
    let for_place = match route {
        Some(route) => limit.is_for_service(&route.definition.service),
        None => limit.is_for_unrouted(),
    };
    let has_value = match tenant.filter(|_| limit.scope.within_tenant()) {
        Some(tenant) => tenant.limits.get(index).copied().flatten().is_some(),
        None => !limit.scope.within_tenant(),
    };
    for_place
        && has_value
        && holds(&limit.matches.methods, Some(method))
        && holds(&limit.matches.endpoints, route.map(|route| route.endpoint(method)))
        && holds(&limit.matches.tenants, tenant.map(|tenant| &*tenant.code))
        && holds(&limit.matches.tiers, tenant.map(|tenant| &*tenant.tier))
}

/// The routes that match the path and were not taken, then those whose path begins alike.
fn considered(directory: &Directory, asked: Asked<'_>, taken: Option<usize>) -> Vec<Considered> {
    let routes = directory.routes.routes();
    let others = || routes.iter().enumerate().filter(|(index, _)| Some(*index) != taken);
    let because = |route: &Route| match taken.map(|index| &routes[index].definition) {
        _ if !route.takes(asked.method) => "method",
        Some(winner) if winner.path == route.definition.path => "priority",
        _ => "less_specific",
    };
    let matching = others()
        .filter(|(_, route)| covers(&route.definition, asked.path))
        .map(|(_, route)| (route, because(route)));
    let alike = others()
        .filter(|(_, route)| {
            !covers(&route.definition, asked.path) && begin_alike(&route.definition.path, asked.path)
        })
        .map(|(_, route)| (route, "path"));
    let told = matching.chain(alike).take(CONSIDERED_MAX);
    told.map(|(route, rejected_because)| Considered {
        route: route.definition.name.clone(),
        rejected_because,
    })
    .collect()
}

/// Whether a route's path matches, taken by itself.
fn covers(definition: &RouteDefinition, path: &str) -> bool {
    let (wanted, is_prefix) = match definition.path.strip_suffix("/*") {
        Some(prefix) => (prefix, true),
        None => (definition.path.as_str(), false),
    };
    let mut given = path.split('/');
    let all = wanted.split('/').all(|segment| match given.next() {
        Some(value) if segment.starts_with('{') && segment.ends_with('}') => !value.is_empty(),
        Some(value) => value == segment,
        None => false,
    });
    all && given.next().is_some() == is_prefix
}

/// Whether their first two segments are the same.
fn begin_alike(route: &str, path: &str) -> bool {
    let two = |text: &'_ str| text.split('/').skip(1).take(2).map(str::to_owned).collect::<Vec<_>>();
    two(route) == two(path)
}

fn refusal(directory: &Directory, asked: Asked<'_>, found: &Match<'_, '_>) -> Option<Refusal> {
    let tenant = asked.tenant.map(|(tenant, _)| tenant);
    let public = matches!(found, Match::Found(matched) if matched.route.definition.public);
    match tenant {
        None if !public => {
            return Some(Refusal::new(&kind::TENANT_UNRESOLVED, "Nothing in the request names a tenant."));
        }
        Some(tenant) => {
            if let Err(refusal) = tenant.service.admit(asked.method) {
                return Some(refusal);
            }
        }
        None => {}
    }
    match found {
        Match::Nothing => Some(Refusal::new(&kind::NO_MATCH, "No route leads there.")),
        Match::OtherMethods(methods) => {
            Some(Refusal::new(&kind::ROUTE_METHOD, format!("Here one can only {}.", methods.join(", "))))
        }
        Match::Found(matched) => {
            let none = upstreams(directory, matched.route, tenant).is_empty();
            none.then(|| Refusal::new(&kind::NO_UPSTREAM, "No copy of the service is running."))
        }
    }
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
