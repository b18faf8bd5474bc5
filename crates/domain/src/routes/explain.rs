//! What would become of a request, up to where it would be sent. Pure: decided from the directory by the functions that
//! the gateway decides with; nothing is sent, charged or written.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Circumstances, Match, Matched, Route, SplitCaller};
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
    /// As it was asked, with or without a port; empty if none was.
    pub authority: &'a str,
    /// Without its question mark.
    pub query: Option<&'a str>,
    /// By name in lower case.
    pub headers: &'a BTreeMap<String, String>,
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
    /// The release that a caller gets who is known by its tenant alone; `None` where there are no releases.
    pub release: Option<String>,
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
    /// Whether its answers say that it will go away.
    pub deprecated: bool,
    /// The path and query that the service sees.
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
    /// `path`, `method`, `conditions`, `less_specific` or `priority`.
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
    let header = |name: &str| asked.headers.get(name).map(String::as_bytes);
    let given = circumstances(&asked, &header);
    let found = table.find(asked.method, asked.path, &given);
    let taken = if let Match::Found(matched) = &found { Some(matched) } else { None };
    let route = taken.map(|matched| matched.route);
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
        release: route.and_then(|route| release(directory, route, asked)),
        upstreams: route.map(|route| upstreams(directory, route, asked)).unwrap_or_default(),
        permission: permission
            .filter(|_| route.is_some_and(|route| !route.definition.public))
            .map(|id| directory.permissions.name(id).to_owned()),
        public: route.is_some_and(|route| route.definition.public),
        limits: limits(directory, asked, route),
        cost: route.map_or(1, |route| route.definition.cost),
        metering: route.map(metering).unwrap_or_default(),
        upstream_path: route.map(|route| upstream_path(route, asked)),
        deprecated: route.is_some_and(|route| route.definition.deprecated.is_some()),
        considered: considered(directory, asked, &given, taken.map(|matched| matched.index)),
        refusal: refusal(directory, asked, &found).as_ref().map(ExplainedRefusal::from),
        directory_version: directory.version,
    }
}

fn circumstances<'a>(asked: &Asked<'a>, header: &'a dyn Fn(&str) -> Option<&'a [u8]>) -> Circumstances<'a> {
    let tenant = asked.tenant.map(|(tenant, _)| tenant);
    Circumstances { authority: asked.authority, header, query: asked.query, tenant }
}

fn upstream_path(route: &Route, asked: Asked<'_>) -> String {
    let path = route.rewritten(asked.path).unwrap_or_else(|| asked.path.to_owned());
    let query = route.rewritten_query(asked.query).or_else(|| asked.query.map(str::to_owned));
    match query.filter(|query| !query.is_empty()) {
        Some(query) => format!("{path}?{query}"),
        None => path,
    }
}

fn captures(matched: &Matched<'_, '_>) -> BTreeMap<String, String> {
    let value = |name: &str| matched.capture(name).unwrap_or_default().to_owned();
    matched.route.pattern.names().map(|name| (name.to_owned(), value(name))).collect()
}

/// The index of the release, as for a caller who is known by its tenant alone.
fn release_index(directory: &Directory, route: &Route, asked: Asked<'_>) -> usize {
    let tenant = asked.tenant.map(|(tenant, _)| (tenant.id, &*tenant.code));
    let caller = SplitCaller { tenant, user: None, draw: 0 };
    let header = |name: &str| asked.headers.get(name).map(String::as_bytes);
    directory.traffic(route.service).map_or(0, |traffic| traffic.release(caller, header))
}

/// A tenant's own copies run what was deployed for it, and no release of all.
fn release(directory: &Directory, route: &Route, asked: Asked<'_>) -> Option<String> {
    if asked.tenant.is_some_and(|(tenant, _)| tenant.own_upstreams(route.service).is_some()) {
        return None;
    }
    let index = release_index(directory, route, asked);
    let name = directory.services[route.service].release_name(index);
    (!name.is_empty()).then(|| name.to_owned())
}

fn upstreams(directory: &Directory, route: &Route, asked: Asked<'_>) -> Vec<String> {
    match asked.tenant.and_then(|(tenant, _)| tenant.own_upstreams(route.service)) {
        Some(own) => own.iter().map(ToString::to_string).collect(),
        None => {
            let release = release_index(directory, route, asked);
            directory.services[route.service].release_upstreams(release).to_vec()
        }
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
fn considered(
    directory: &Directory,
    asked: Asked<'_>,
    given: &Circumstances<'_>,
    taken: Option<usize>,
) -> Vec<Considered> {
    let routes = directory.routes.routes();
    let others = || routes.iter().enumerate().filter(|(index, _)| Some(*index) != taken);
    let because = |route: &Route| match taken.map(|index| &routes[index].definition) {
        _ if !route.takes(asked.method) => "method",
        _ if !route.definition.when.hold(given) => "conditions",
        Some(winner) if winner.path == route.definition.path && winner.when == route.definition.when => {
            "priority"
        }
        _ => "less_specific",
    };
    let matching = others()
        .filter(|(_, route)| route.pattern.covers(asked.path))
        .map(|(_, route)| (route, because(route)));
    let alike = others()
        .filter(|(_, route)| {
            !route.pattern.covers(asked.path) && begin_alike(&route.definition.path, asked.path)
        })
        .map(|(_, route)| (route, "path"));
    let told = matching.chain(alike).take(CONSIDERED_MAX);
    told.map(|(route, rejected_because)| Considered {
        route: route.definition.name.clone(),
        rejected_because,
    })
    .collect()
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
            let none = upstreams(directory, matched.route, asked).is_empty();
            none.then(|| Refusal::new(&kind::NO_UPSTREAM, "No copy of the service is running."))
        }
    }
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
