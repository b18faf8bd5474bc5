//! All routes compiled into one tree. Most specific wins: exact before template before prefix, then priority.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{CountWhen, RouteDefinition, ServiceDefinition, Writes, action_of_method};
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
    /// Usage per request.
    pub usage: Vec<(Arc<str>, Quantity, CountWhen)>,
    endpoints: BTreeMap<String, Arc<str>>,
}

impl Route {
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
    /// Its path has no form we know.
    #[error("route `{route}` has the path `{path}`: {reason}")]
    BadPath { route: String, path: String, reason: String },
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
    pub(super) captures: matchit::Params<'t, 'p>,
}

impl<'p> Matched<'_, 'p> {
    /// The value of a capture, as it stood in the path.
    pub fn capture(&self, name: &str) -> Option<&'p str> {
        self.captures.get(name)
    }
}

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// The compiled routes.
#[derive(Clone, Default)]
pub struct RouteTable {
    routes: Vec<Route>,
    tree: matchit::Router<Vec<usize>>,
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
        routes.sort_by_key(|route| -route.definition.priority);
        let mut by_path: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, route) in routes.iter().enumerate() {
            for path in tree_paths(&route.definition.path) {
                by_path.entry(path).or_default().push(index);
            }
        }
        let mut tree = matchit::Router::new();
        for (path, indexes) in by_path {
            refuse_conflicts(&routes, &indexes)?;
            let route = &routes[indexes[0]].definition;
            let (name, shown) = (route.name.clone(), route.path.clone());
            tree.insert(path, indexes).map_err(|error| TableError::BadPath {
                route: name,
                path: shown,
                reason: error.to_string(),
            })?;
        }
        Ok(RouteTable { routes, tree })
    }

    /// The route for a normalised path. No allocation unless no method fits.
    pub fn find<'t, 'p>(&'t self, method: &str, path: &'p str) -> Match<'t, 'p> {
        let Ok(found) = self.tree.at(path) else { return Match::Nothing };
        let fitting = found.value.iter().find(|&&index| self.routes[index].takes(method));
        match fitting {
            Some(&index) => {
                Match::Found(Matched { route: &self.routes[index], index, captures: found.params })
            }
            None => {
                let methods = found.value.iter().flat_map(|&index| &self.routes[index].definition.methods);
                Match::OtherMethods(methods.map(String::as_str).collect())
            }
        }
    }

    /// All routes, highest priority first.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }
}

fn tree_paths(path: &str) -> Vec<String> {
    match path.strip_suffix("/*") {
        Some(prefix) => vec![format!("{prefix}/"), format!("{prefix}/{{*rest}}")],
        None => vec![path.to_owned()],
    }
}

fn refuse_conflicts(routes: &[Route], indexes: &[usize]) -> Result<(), TableError> {
    for (position, &first) in indexes.iter().enumerate() {
        for &second in &indexes[position + 1..] {
            let (a, b) = (&routes[first], &routes[second]);
            let shared = METHODS.into_iter().find(|method| a.takes(method) && b.takes(method));
            if let (Some(method), true) = (shared, a.definition.priority == b.definition.priority) {
                return Err(TableError::Conflict {
                    first: a.definition.name.clone(),
                    second: b.definition.name.clone(),
                    example: format!("{method} {}", a.definition.path),
                });
            }
        }
    }
    Ok(())
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
    check_path(definition)?;
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
        usage: usage.collect::<Result<_, _>>()?,
        endpoints,
        definition: definition.clone(),
    })
}

fn check_path(definition: &RouteDefinition) -> Result<(), TableError> {
    let path = &definition.path;
    let reason = match () {
        () if !path.starts_with('/') => "it must start with a slash",
        () if path.contains("{*") => "write a prefix as `/…/*`",
        () if path[..path.len() - 1].contains('*') => "`*` may only stand at the end, after a slash",
        () if path.ends_with('*') && !path.ends_with("/*") => "`*` may only stand after a slash",
        () => return Ok(()),
    };
    Err(TableError::BadPath { route: definition.name.clone(), path: path.clone(), reason: reason.to_owned() })
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
