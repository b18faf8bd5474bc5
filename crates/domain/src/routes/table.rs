//! All routes compiled into one tree. Most specific wins: exact before template before prefix; then the one with more
//! conditions; then priority. Two that could take one request and of which none goes first are refused when they are
//! declared, with such a request.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::conditions::Circumstances;
use super::path::decoded;
use super::transform::{BadTransform, Rewrite};
use super::tree::{Pattern, Tree};
use super::{CountWhen, RouteDefinition, RouteResource, ServiceDefinition, Writes, action_of_method};
use crate::access::{PermissionId, Permissions};
use crate::metering::quantity::Quantity;

/// A route with everything looked up beforehand.
#[derive(Debug, Clone)]
pub struct Route {
    /// As declared.
    pub definition: RouteDefinition,
    /// Index into the directory's services.
    pub service: usize,
    /// The permission named for all methods, if one is.
    permission: Option<PermissionId>,
    /// By method, when only the resource type is named.
    by_method: BTreeMap<String, PermissionId>,
    /// Type and capture of the thing that the permission is needed on.
    thing: Option<(Box<str>, Box<str>)>,
    /// Usage per request.
    pub usage: Vec<(Arc<str>, Quantity, CountWhen)>,
    endpoints: BTreeMap<String, Arc<str>>,
    pub(super) pattern: Pattern,
    rewrite: Option<Rewrite>,
    conditional: bool,
}

impl Route {
    /// Whether the permission is needed on one thing only.
    pub fn is_about_a_thing(&self) -> bool {
        self.thing.is_some()
    }

    /// What a request with `method` needs; `None` on a public route.
    pub fn permission(&self, method: &str) -> Option<PermissionId> {
        self.permission.or_else(|| self.by_method.get(method).copied())
    }

    /// `GET /v1/stamps/{stamp_id}`; never the raw path.
    pub fn endpoint(&self, method: &str) -> &str {
        self.endpoints.get(method).map_or(&self.definition.path, |endpoint| endpoint)
    }

    /// Whether a request with `method` stores something; `storing` are services (by index) with tables.
    pub fn writes(&self, method: &str, storing: &[usize]) -> bool {
        match self.definition.writes {
            Some(Writes::Storage) => !matches!(method, "GET" | "HEAD" | "OPTIONS" | "DELETE"),
            Some(Writes::Nothing) => false,
            None => matches!(method, "POST" | "PUT" | "PATCH") && storing.contains(&self.service),
        }
    }

    /// The path that the service sees for one that was matched; `None` if it is the same.
    pub fn rewritten(&self, path: &str) -> Option<String> {
        self.rewrite.as_ref().map(|rewrite| rewrite.apply(&self.pattern, path))
    }

    /// The query that the service sees; `None` if it is the same.
    pub fn rewritten_query(&self, query: Option<&str>) -> Option<String> {
        let edits = &self.definition.request.query;
        (!edits.is_empty()).then(|| edits.of_query(query.unwrap_or_default()))
    }

    pub(super) fn takes(&self, method: &str) -> bool {
        self.definition.methods.is_empty() || self.definition.methods.iter().any(|m| m == method)
    }
}

/// Why routes cannot be compiled. Each names the route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// Its service is not declared.
    #[error("route `{route}` leads to service `{service}`, which does not exist")]
    UnknownService { route: String, service: String },
    /// Its permission is not declared.
    #[error("route `{route}` needs `{permission}`, which no resource type declares")]
    UnknownPermission { route: String, permission: String },
    /// It asks for nothing and does not say that it is public.
    #[error(
        "route `{route}` names neither a permission nor a resource type, and does not say `public = true`"
    )]
    Open { route: String },
    /// The thing that it is about is of no declared type, or is not in its path.
    #[error("route `{route}` is about a thing: {reason}")]
    BadResource { route: String, reason: String },
    /// Its path has no form we know.
    #[error("route `{route}` has the path `{path}`: {reason}")]
    BadPath { route: String, path: String, reason: String },
    /// A condition or a change that it declares cannot be so.
    #[error("route `{route}`: {field}: {detail}")]
    BadRule { route: String, field: String, detail: String },
    /// Its metering rule has a quantity that is no number.
    #[error("route `{route}` counts `{quantity}`, which is not a decimal number")]
    BadQuantity { route: String, quantity: String },
    /// Another route matches the same requests equally.
    #[error("routes `{first}` and `{second}` match the same request, for example `{example}`")]
    Conflict { first: String, second: String, example: String },
}

/// What a path and method lead to.
#[derive(Debug)]
pub enum Match<'t, 'p> {
    /// This route.
    Found(Matched<'t, 'p>),
    /// The path is there, with other methods.
    OtherMethods(Vec<&'t str>),
    /// Nothing.
    Nothing,
}

/// A route and the captures of its template.
#[derive(Debug)]
pub struct Matched<'t, 'p> {
    /// The route.
    pub route: &'t Route,
    /// Its place in [`RouteTable::routes`].
    pub index: usize,
    /// The path that was matched.
    pub path: &'p str,
}

impl<'p> Matched<'_, 'p> {
    /// Type and id of the thing that a request on a route about things is about. `None` if what the path says can be read in two
    /// ways: a broken escape, no text, or parameters (`;`), which some servers cut off.
    pub fn thing(&self) -> Option<(&str, Cow<'p, str>)> {
        let (kind, capture) = self.route.thing.as_ref()?;
        let id = decoded(self.capture(capture)?)?;
        (!id.is_empty()).then_some((kind, id))
    }

    /// The value of a capture, as it stood in the path.
    pub fn capture(&self, name: &str) -> Option<&'p str> {
        self.route.pattern.capture(name, self.path)
    }
}

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// The compiled routes.
#[derive(Clone, Default)]
pub struct RouteTable {
    routes: Vec<Route>,
    tree: Tree,
}

impl std::fmt::Debug for RouteTable {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_list().entries(self.routes.iter().map(|route| &route.definition.name)).finish()
    }
}

impl RouteTable {
    /// Compiles all routes or says what is wrong with the first that cannot be.
    pub fn new(
        definitions: &[RouteDefinition],
        services: &[ServiceDefinition],
        permissions: &Permissions,
    ) -> Result<Self, TableError> {
        let mut routes = definitions
            .iter()
            .map(|definition| compile(definition, services, permissions))
            .collect::<Result<Vec<_>, _>>()?;
        routes.sort_by_key(precedence);
        refuse_conflicts(&routes)?;
        let mut tree = Tree::default();
        routes.iter().enumerate().for_each(|(index, route)| tree.insert(&route.pattern, index));
        Ok(RouteTable { routes, tree })
    }

    /// The route for a normalised path, if its conditions hold. No allocation unless no method fits.
    pub fn find<'t, 'p>(&'t self, method: &str, path: &'p str, given: &Circumstances<'_>) -> Match<'t, 'p> {
        let mut best = usize::MAX;
        let mut other = false;
        self.tree.each(path, |index| {
            let route = &self.routes[index];
            if index < best && (!route.conditional || route.definition.when.hold(given)) {
                if route.takes(method) { best = index } else { other = true }
            }
        });
        match self.routes.get(best) {
            Some(route) => Match::Found(Matched { route, index: best, path }),
            None if other => Match::OtherMethods(self.methods(path, given)),
            None => Match::Nothing,
        }
    }

    #[cold]
    fn methods(&self, path: &str, given: &Circumstances<'_>) -> Vec<&str> {
        let mut methods = Vec::new();
        self.tree.each(path, |index| {
            let definition = &self.routes[index].definition;
            if definition.when.hold(given) {
                methods.extend(definition.methods.iter().map(String::as_str));
            }
        });
        methods.sort_unstable();
        methods.dedup();
        methods
    }

    /// All routes; those that go first when several take a request come first.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }
}

/// What goes first: the more specific path, then more conditions, then the higher priority.
fn precedence(route: &Route) -> impl Ord + use<> {
    (route.pattern.rank(), Reverse(route.definition.when.count()), Reverse(route.definition.priority))
}

fn refuse_conflicts(routes: &[Route]) -> Result<(), TableError> {
    // Sorted as they are, those of equal precedence stand beside each other.
    for equals in routes.chunk_by(|a, b| precedence(a) == precedence(b)) {
        for (place, first) in equals.iter().enumerate() {
            if let Some((second, example)) =
                equals[place + 1..].iter().find_map(|second| Some((second, shared_request(first, second)?)))
            {
                let (first, second) = (first.definition.name.clone(), second.definition.name.clone());
                return Err(TableError::Conflict { first, second, example });
            }
        }
    }
    Ok(())
}

/// A request that both take.
fn shared_request(a: &Route, b: &Route) -> Option<String> {
    let method = METHODS.into_iter().find(|method| a.takes(method) && b.takes(method))?;
    let path = a.pattern.shared_with(&b.pattern)?;
    let (one, other) = (&a.definition.when, &b.definition.when);
    one.meet(other).then(|| format!("{method} {path}{}", one.example_with(other)))
}

fn compile(
    definition: &RouteDefinition,
    services: &[ServiceDefinition],
    permissions: &Permissions,
) -> Result<Route, TableError> {
    let route = || definition.name.clone();
    let service = services
        .iter()
        .position(|service| service.name == definition.service)
        .ok_or_else(|| TableError::UnknownService { route: route(), service: definition.service.clone() })?;
    let pattern = Pattern::parse(&definition.path).map_err(|reason| TableError::BadPath {
        route: route(),
        path: definition.path.clone(),
        reason: reason.to_owned(),
    })?;
    check_rules(definition, &pattern)?;
    let id = |name: &str| {
        permissions
            .id(name)
            .ok_or_else(|| TableError::UnknownPermission { route: route(), permission: name.to_owned() })
    };
    let permission = definition.permission.as_deref().map(id).transpose()?;
    let taken = METHODS
        .into_iter()
        .filter(|method| definition.methods.is_empty() || definition.methods.iter().any(|own| own == method));
    let mut by_method = BTreeMap::new();
    if let (Some(kind), None) = (&definition.resource_type, permission) {
        for (method, action) in taken.clone().filter_map(|m| Some((m, action_of_method(m)?))) {
            by_method.insert(method.to_owned(), id(&format!("{kind}:{action}"))?);
        }
    }
    let thing =
        definition.resource.as_ref().map(|resource| thing(definition, resource, permissions)).transpose()?;
    if permission.is_none() && by_method.is_empty() && !definition.public {
        return Err(TableError::Open { route: route() });
    }
    let usage = definition.metering.iter().map(|rule| {
        let quantity = rule
            .quantity
            .parse::<Quantity>()
            .map_err(|_| TableError::BadQuantity { route: route(), quantity: rule.quantity.clone() })?;
        Ok((Arc::from(rule.meter.as_str()), quantity, rule.count_when))
    });
    let endpoints =
        taken.map(|m| (m.to_owned(), Arc::from(format!("{m} {}", definition.path).as_str()))).collect();
    Ok(Route {
        service,
        permission,
        by_method,
        thing,
        usage: usage.collect::<Result<_, _>>()?,
        endpoints,
        rewrite: definition.request.path.as_deref().and_then(|path| Rewrite::parse(path, &pattern).ok()),
        conditional: !definition.when.is_empty(),
        pattern,
        definition: definition.clone(),
    })
}

fn thing(
    definition: &RouteDefinition,
    resource: &RouteResource,
    permissions: &Permissions,
) -> Result<(Box<str>, Box<str>), TableError> {
    let bad =
        |reason: &str| TableError::BadResource { route: definition.name.clone(), reason: reason.to_owned() };
    let capture = resource.capture().ok_or_else(|| bad("`id_from` is `path.` and a capture of the path"))?;
    match () {
        () if !definition.path.contains(&format!("{{{capture}}}")) => {
            Err(bad("the path has no such capture"))
        }
        () if resource.kind.contains('*')
            || permissions.matching(&format!("{}:*", resource.kind)).is_none() =>
        {
            Err(bad("its type is not declared"))
        }
        () if definition.public => Err(bad("it is public, and asks for no permission")),
        () => Ok((resource.kind.as_str().into(), capture.into())),
    }
}

fn check_rules(definition: &RouteDefinition, pattern: &Pattern) -> Result<(), TableError> {
    let bad =
        |(field, detail): BadTransform| TableError::BadRule { route: definition.name.clone(), field, detail };
    let when = definition.when.check().map_err(|(field, detail)| (format!("when/{field}"), detail));
    when.map_err(bad)?;
    definition.request.check(pattern).map_err(bad)?;
    definition.answer.check().map_err(bad)?;
    definition.deprecated.as_ref().map_or(Ok(()), |own| own.check().map_err(bad))
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
