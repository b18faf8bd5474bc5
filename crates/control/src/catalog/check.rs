//! Checks of definitions against their bounds and against each other. Every error is found, not just the first.

use std::collections::BTreeSet;

use rowhouse_domain::access::{Permissions, ResourceType, RoleDefinition, RoleError, attribute_faults};
use rowhouse_domain::limits::{BadLimit, BadNumbers, LimitDefinition};
use rowhouse_domain::routes::{Discovered, RouteDefinition, ServiceDefinition, TableError};
use rowhouse_domain::tenancy::Tier;
use rowhouse_domain::tenancy::features::{Flag, FlagType};

use super::compile::QuotaLimit;
use super::nearest::nearest;
use super::{Definitions, Finding, Kind};

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// Largest body that a route may take: 1 GiB.
const BODY_MAX: u64 = 1 << 30;
/// Units that one request can cost.
const COST_MAX: u32 = 1_000_000;

/// Names that others refer to.
struct Known<'a> {
    services: BTreeSet<&'a str>,
    meters: BTreeSet<&'a str>,
    plans: BTreeSet<&'a str>,
    tiers: BTreeSet<&'a str>,
    /// Flags that a tier cannot turn on.
    valued_flags: BTreeSet<&'a str>,
}

/// All findings but those of permissions, roles and the route table, which are found by compiling them.
pub(super) fn all(definitions: &Definitions) -> Vec<Finding> {
    let known = Known {
        services: definitions.services.iter().map(|service| service.name.as_str()).collect(),
        meters: definitions.meters.iter().map(|meter| meter.name.as_str()).collect(),
        plans: definitions.plans.iter().map(|plan| plan.name.as_str()).collect(),
        tiers: definitions.tiers.iter().map(|tier| tier.name.as_str()).collect(),
        valued_flags: valued_flags(&definitions.flags),
    };
    let mut findings = names(definitions);
    definitions.services.iter().for_each(|service| self::service(service, &mut findings));
    definitions.resource_types.iter().for_each(|kind| resource_type(kind, &known, &mut findings));
    definitions.flags.iter().for_each(|flag| self::flag(flag, &mut findings));
    definitions.tiers.iter().for_each(|tier| self::tier(tier, &known, &mut findings));
    definitions.limits.iter().for_each(|limit| self::limit(limit, &known, &mut findings));
    definitions.routes.iter().for_each(|route| self::route(route, &known, &mut findings));
    super::meters_and_plans::check(definitions, &mut findings);
    findings
}

fn names(definitions: &Definitions) -> Vec<Finding> {
    let twice = definitions.items().err().unwrap_or_default();
    let repeated = twice.iter().map(|(kind, name)| {
        Finding::new(*kind, name, "name", "twice").detail("each name stands once within its kind")
    });
    let items = definitions.items().unwrap_or_default();
    let malformed = items.keys().filter(|(kind, name)| !well_formed(*kind, name)).map(|(kind, name)| {
        let form =
            if *kind == Kind::ResourceType { "[a-z][a-z0-9_]{0,62}" } else { "[a-z][a-z0-9._-]{0,62}" };
        Finding::new(*kind, name, "name", "malformed").detail(format!("a name is of the form {form}"))
    });
    repeated.chain(malformed).collect()
}

fn well_formed(kind: Kind, name: &str) -> bool {
    let punctuation: &[u8] = if kind == Kind::ResourceType { b"_" } else { b"._-" };
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || punctuation.contains(&b);
    (1..=63).contains(&name.len()) && name.as_bytes()[0].is_ascii_lowercase() && name.bytes().all(plain)
}

fn service(service: &ServiceDefinition, findings: &mut Vec<Finding>) {
    let mut find = |field: &str, code, detail: String| {
        findings.push(Finding::new(Kind::Service, &service.name, field, code).detail(detail));
    };
    if service.upstreams.is_empty() || service.upstreams.len() > 64 {
        find("upstreams", "out_of_bounds", "a service has 1 to 64 upstreams".into());
    }
    for address in service.upstreams.iter().filter(|address| !is_address(address)) {
        find(
            "upstreams",
            "malformed",
            format!("`{address}` is not of the form host:port, dns:host:port or srv:_service._tcp.host"),
        );
    }
    for (address, weight) in &service.weights {
        if !service
            .upstreams
            .iter()
            .chain(service.releases.iter().flat_map(|r| &r.upstreams))
            .any(|own| own == address)
        {
            find("weights", "unknown", format!("the service has no upstream `{address}`"));
        }
        if !(1..=100).contains(weight) {
            find("weights", "out_of_bounds", "1 to 100".into());
        }
    }
    if let Some((field, detail)) = service.health.as_ref().and_then(|check| check.check().err()) {
        find(&format!("health/{field}"), "out_of_bounds", detail.into());
    }
    if let Some((field, detail)) = service.cors.as_ref().and_then(|cors| cors.check().err()) {
        find(&format!("cors/{field}"), "invalid", detail.into());
    }
    if let Some((field, detail)) = service.tls.as_ref().and_then(|tls| tls.check().err()) {
        find(&format!("tls/{field}"), "invalid", detail.into());
    }
    releases(service, &mut find);
    if !["http1", "http2", "grpc"].contains(&service.protocol.as_str()) {
        find("protocol", "unknown", "http1, http2 or grpc".into());
    }
    if !(1..=60_000).contains(&service.connect_timeout_ms) {
        find("connect_timeout_ms", "out_of_bounds", "1 to 60,000 ms".into());
    }
    if !(1..=600_000).contains(&service.first_byte_timeout_ms) {
        find("first_byte_timeout_ms", "out_of_bounds", "1 to 600,000 ms".into());
    }
}

/// Releases that one service may declare beside its own.
const RELEASES_MAX: usize = 16;

fn releases(service: &ServiceDefinition, find: &mut impl FnMut(&str, &'static str, String)) {
    if !service.releases.is_empty() && service.release.is_none() {
        let detail = "a service with further releases names that of its own upstreams";
        find("release", "missing", detail.into());
    }
    if service.releases.len() > RELEASES_MAX {
        find("releases", "out_of_bounds", format!("at most {RELEASES_MAX}"));
    }
    let names = service.release.iter().chain(service.releases.iter().map(|release| &release.name));
    let mut known = BTreeSet::new();
    for name in names {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        let begins = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !begins || name.len() > 63 || !name.bytes().all(plain) {
            find("releases", "malformed", format!("`{name}` is not of the form [a-z0-9][a-z0-9._-]{{0,62}}"));
        }
        if !known.insert(name) {
            find("releases", "twice", format!("`{name}` stands twice"));
        }
    }
    for release in &service.releases {
        if release.upstreams.is_empty() || release.upstreams.len() > 64 {
            find("releases", "out_of_bounds", format!("`{}` has 1 to 64 upstreams", release.name));
        }
        for address in release.upstreams.iter().filter(|address| !is_address(address)) {
            find(
                "releases",
                "malformed",
                format!("`{address}` is not of the form host:port, dns:host:port or srv:_service._tcp.host"),
            );
        }
    }
}

fn is_address(text: &str) -> bool {
    if Discovered::is_meant(text) {
        return Discovered::parse(text).is_some();
    }
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host_fits = (1..=253).contains(&host.len())
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    host_fits && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn resource_type(kind: &ResourceType, known: &Known<'_>, findings: &mut Vec<Finding>) {
    let mut find = |field, code, detail: String| {
        findings.push(Finding::new(Kind::ResourceType, &kind.name, field, code).detail(detail));
    };
    if kind.service != "rowhouse" && !known.services.contains(kind.service.as_str()) {
        find("service", "unknown", unknown("service", &kind.service, &known.services));
    }
    if !(1..=64).contains(&kind.actions.len()) {
        find("actions", "out_of_bounds", "a type has 1 to 64 actions".into());
    }
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    let fits = |action: &str| {
        (1..=31).contains(&action.len())
            && action.as_bytes()[0].is_ascii_lowercase()
            && action.bytes().all(plain)
    };
    for action in kind.audit.keys().filter(|action| !kind.actions.contains(action)) {
        find("audit", "unknown", format!("`{action}` is not an action of this type"));
    }
    for action in kind.sensitive.iter().filter(|action| !kind.actions.contains(action)) {
        find("sensitive", "unknown", format!("`{action}` is not an action of this type"));
    }
    for action in kind.not_composable.iter().filter(|action| !kind.actions.contains(action)) {
        find("not_composable", "unknown", format!("`{action}` is not an action of this type"));
    }
    for (name, wanted) in attribute_faults(&kind.attributes) {
        find("attributes", "malformed", format!("`{name}`: {wanted}"));
    }
    for action in kind.actions.iter().filter(|action| !fits(action)) {
        find("actions", "malformed", format!("`{action}` is not of the form [a-z][a-z0-9_]{{0,30}}"));
    }
}

fn valued_flags(flags: &[Flag]) -> BTreeSet<&str> {
    flags.iter().filter(|flag| flag.kind != FlagType::Bool).map(|flag| flag.name.as_str()).collect()
}

fn flag(flag: &Flag, findings: &mut Vec<Finding>) {
    let mut find = |field: &str, code, detail: String| {
        findings.push(Finding::new(Kind::Flag, &flag.name, field, code).detail(detail));
    };
    if !flag.default.fits(flag.kind) {
        find("default", "malformed", flag.kind.expected().to_owned());
    }
    if flag.description.chars().count() > 1_000 {
        find("description", "too_long", "at most 1,000 characters".into());
    }
    if flag.rollout.is_some() && flag.kind != FlagType::Bool {
        find("rollout", "invalid", "only a flag of type bool can be rolled out".into());
    }
    if flag.rollout.as_ref().is_some_and(|rollout| rollout.salt.len() > 100) {
        find("rollout", "too_long", "a salt has at most 100 bytes".into());
    }
}

fn tier(tier: &Tier, known: &Known<'_>, findings: &mut Vec<Finding>) {
    let mut find = |field: &str, code, detail: String| {
        findings.push(Finding::new(Kind::Tier, &tier.name, field, code).detail(detail));
    };
    for (meter, quota) in &tier.quotas {
        if !known.meters.contains(meter.as_str()) {
            find("quotas", "unknown", unknown("meter", meter, &known.meters));
        }
        if QuotaLimit::parse(quota).is_none() {
            find("quotas", "malformed", format!("`{quota}` is neither a decimal number nor `unlimited`"));
        }
    }
    for (meter, rule) in &tier.quota_rules {
        if !tier.quotas.contains_key(meter) {
            find(
                "quota_rules",
                "unknown",
                format!("the tier has no quota of `{meter}` that a rule could be for"),
            );
        }
        if let Err(problem) = rule.rule(meter) {
            find(&format!("quota_rules/{meter}/{}", problem.field), "invalid", problem.detail.to_owned());
        }
    }
    for feature in tier.features.iter().filter(|feature| known.valued_flags.contains(feature.as_str())) {
        find(
            "features",
            "invalid",
            format!("`{feature}` is no flag of type bool, so no tier can turn it on"),
        );
    }
    if !(1..=200).contains(&tier.connection_pool_size) {
        find("connection_pool_size", "out_of_bounds", "1 to 200".into());
    }
    if !(1..=1_000).contains(&tier.weight) {
        find("weight", "out_of_bounds", "1 to 1,000".into());
    }
    if tier.hosts > 1_000 {
        find("hosts", "out_of_bounds", "at most 1,000".into());
    }
    if !known.plans.contains(tier.plan.as_str()) {
        find("plan", "unknown", unknown("plan", &tier.plan, &known.plans));
    }
}

fn limit(limit: &LimitDefinition, known: &Known<'_>, findings: &mut Vec<Finding>) {
    let mut find = |field: &str, code, detail: String| {
        findings.push(Finding::new(Kind::Limit, &limit.name, field, code).detail(detail));
    };
    if let Err(error) = limit.check() {
        let (field, code) = match &error {
            BadLimit::Numbers(BadNumbers::OutOfBounds { name, .. }) => (*name, "out_of_bounds"),
            BadLimit::Numbers(BadNumbers::TooSlow { .. }) => ("burst", "too_slow"),
            BadLimit::Numbers(BadNumbers::TooFine { .. }) => ("window_ms", "too_fine"),
            BadLimit::Scopes => ("scope", "out_of_bounds"),
            BadLimit::BurstOfWindow => ("burst", "malformed"),
            BadLimit::MatchAtArrival => ("match", "malformed"),
            BadLimit::StrictOverTenants => ("mode", "bad_mode"),
        };
        find(field, code, error.to_string());
    }
    for tier in limit.tiers.keys().filter(|tier| !known.tiers.contains(tier.as_str())) {
        find("tiers", "unknown", unknown("tier", tier, &known.tiers));
    }
    for tier in limit.matches.tiers.iter().filter(|tier| !known.tiers.contains(tier.as_str())) {
        find("match", "unknown", unknown("tier", tier, &known.tiers));
    }
    let services = limit.services.iter().chain(&limit.matches.services);
    for service in services.filter(|service| !known.services.contains(service.as_str())) {
        find("services", "unknown", unknown("service", service, &known.services));
    }
}

fn route(route: &RouteDefinition, known: &Known<'_>, findings: &mut Vec<Finding>) {
    let mut find = |field: &str, code, detail: String| {
        findings.push(Finding::new(Kind::Route, &route.name, field, code).detail(detail));
    };
    for method in route.methods.iter().filter(|method| !METHODS.contains(&method.as_str())) {
        find("methods", "unknown", format!("`{method}` is none of {}", METHODS.join(", ")));
    }
    for rule in route.metering.iter().filter(|rule| !known.meters.contains(rule.meter.as_str())) {
        find("metering", "unknown", unknown("meter", &rule.meter, &known.meters));
    }
    if let Some(capture) = &route.resource_from
        && !route.path.contains(&format!("{{{capture}}}"))
    {
        find("resource_from", "unknown", format!("the path has no `{{{capture}}}`"));
    }
    if route.cost > COST_MAX {
        find("cost", "out_of_bounds", format!("at most {COST_MAX}"));
    }
    if route.body_max_bytes > BODY_MAX {
        find("body_max_bytes", "out_of_bounds", format!("at most {BODY_MAX}"));
    }
    for (field, timeout) in [("timeout_ms", route.timeout_ms), ("idle_timeout_ms", route.idle_timeout_ms)] {
        if timeout.is_some_and(|timeout| !(1..=3_600_000).contains(&timeout)) {
            find(field, "out_of_bounds", "1 to 3,600,000 ms".into());
        }
    }
}

/// Permissions and inherited roles that do not exist.
pub(super) fn roles(roles: &[RoleDefinition], permissions: &Permissions, findings: &mut Vec<Finding>) {
    let names: BTreeSet<&str> = roles.iter().map(|role| role.name.as_str()).collect();
    let declared: BTreeSet<&str> = permissions.all().collect();
    for role in roles {
        for permission in &role.permissions {
            if permissions.matching(permission).is_none() {
                let detail = unknown("permission", permission, &declared);
                findings.push(Finding::new(Kind::Role, &role.name, "permissions", "unknown").detail(detail));
            }
        }
        for parent in role.inherits.iter().filter(|parent| !names.contains(parent.as_str())) {
            let detail = unknown("role", parent, &names);
            findings.push(Finding::new(Kind::Role, &role.name, "inherits", "unknown").detail(detail));
        }
        for required in role.requires.iter().filter(|required| !names.contains(required.as_str())) {
            let detail = unknown("role", required, &names);
            findings.push(Finding::new(Kind::Role, &role.name, "requires", "unknown").detail(detail));
        }
        for (field, wanted) in role.bound_faults() {
            let finding = Finding::new(Kind::Role, &role.name, field, "out_of_bounds");
            findings.push(finding.detail(wanted.to_owned()));
        }
    }
}

/// The place of an error that was met while closing roles.
pub(super) fn role_finding(error: &RoleError) -> Finding {
    let (role, field, code) = match error {
        RoleError::UnknownPermission { role, .. } => (role.as_str(), "permissions", "unknown"),
        RoleError::UnknownRole { role, .. } => (role.as_str(), "inherits", "unknown"),
        RoleError::Cycle { path } => (path.first().map_or("", String::as_str), "inherits", "cycle"),
    };
    Finding::new(Kind::Role, role, field, code).detail(error.to_string())
}

/// The place of an error that was met while compiling routes; `name` if the error itself names no route.
pub(super) fn route_finding(error: &TableError, name: &str) -> Finding {
    let (route, field, code) = match error {
        TableError::UnknownService { route, .. } => (route.as_str(), "service", "unknown"),
        TableError::UnknownPermission { route, .. } => (route.as_str(), "permission", "unknown"),
        TableError::Open { route } => (route.as_str(), "permission", "missing"),
        TableError::BadResource { route, .. } => (route.as_str(), "resource", "invalid"),
        TableError::BadPath { route, .. } => (route.as_str(), "path", "malformed"),
        TableError::BadRule { route, field, .. } => (route.as_str(), field.as_str(), "invalid"),
        TableError::BadQuantity { route, .. } => (route.as_str(), "metering", "malformed"),
        TableError::Conflict { second, .. } => (second.as_str(), "path", "conflict"),
        #[allow(
            unreachable_patterns,
            reason = "the table's owner may add an error; its text still names the route"
        )]
        _ => (name, "", "invalid"),
    };
    Finding::new(Kind::Route, route, field, code).detail(error.to_string())
}

/// Words for a name that nobody has, with the one that was probably meant.
pub(super) fn unknown(what: &str, name: &str, names: &BTreeSet<&str>) -> String {
    match nearest(name, names.iter().copied()) {
        Some(meant) => format!("there is no {what} `{name}`; did you mean `{meant}`?"),
        None => format!("there is no {what} `{name}`"),
    }
}
