//! Compiles all definitions into what both planes decide from. This is also the check of a catalogue: what compiles
//! here is exactly what the directory will be built from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rowhouse_domain::access::{
    PermissionSet, Permissions, ResourceType, RoleCatalogue, composable, with_standard_actions,
};
use rowhouse_domain::limits::LimitDefinition;
use rowhouse_domain::metering::quantity::Quantity;
use rowhouse_domain::routes::{RouteTable, ServiceDefinition};
use rowhouse_domain::tenancy::Tier;
use rowhouse_domain::tenancy::features::{self, Flag};

use super::{Definitions, Finding, check};

/// All definitions, compiled.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// Services, in the order that routes index.
    pub services: Arc<[ServiceDefinition]>,
    /// The route table.
    pub routes: Arc<RouteTable>,
    /// Limits, in the order that tenants' values index.
    pub limits: Arc<[LimitDefinition]>,
    /// Interned permissions.
    pub permissions: Arc<Permissions>,
    /// Roles, closed over what they inherit and what standard types add.
    pub roles: Arc<RoleCatalogue>,
    /// What tenants may put into roles of their own.
    pub composable: PermissionSet,
    /// Flags by name, those that tiers imply among them.
    pub flags: Vec<Flag>,
    /// Tiers by name.
    pub tiers: BTreeMap<String, Tier>,
}

/// What a tier gives of a meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaLimit {
    /// No end.
    Unlimited,
    /// In units of 10⁻¹².
    Units(i128),
}

impl QuotaLimit {
    /// Reads a decimal string that is not negative, or `unlimited`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "unlimited" {
            return Some(QuotaLimit::Unlimited);
        }
        let units = text.parse::<Quantity>().ok()?.units();
        (units >= 0).then_some(QuotaLimit::Units(units))
    }
}

/// Compiles everything, or says everything that is wrong.
pub fn compile(definitions: &Definitions) -> Result<Compiled, Vec<Finding>> {
    let mut findings = check::all(definitions);
    let permissions = permissions(definitions).unwrap_or_else(|finding| {
        findings.push(finding);
        Permissions::default()
    });
    let roles = roles(definitions, &permissions, &mut findings);
    let routes = routes(definitions, &permissions, &mut findings);
    if !findings.is_empty() {
        return Err(findings);
    }
    Ok(Compiled {
        services: definitions.services.clone().into(),
        routes: Arc::new(routes),
        limits: definitions.limits.clone().into(),
        composable: composable(&definitions.resource_types, &permissions),
        permissions: Arc::new(permissions),
        roles: Arc::new(roles),
        flags: features::flags(&definitions.flags, &definitions.tiers),
        tiers: definitions.tiers.iter().map(|tier| (tier.name.clone(), tier.clone())).collect(),
    })
}

/// What rights are made of.
#[derive(Debug)]
pub struct CompiledAccess {
    /// Interned permissions.
    pub permissions: Permissions,
    /// Roles, closed.
    pub roles: RoleCatalogue,
    /// What tenants may put into roles of their own.
    pub composable: PermissionSet,
    /// By resource type: the type of what holds such things.
    pub parents: BTreeMap<String, String>,
}

/// What rights are made of, alone, for those who decide within a transaction.
pub fn compile_access(definitions: &Definitions) -> Result<CompiledAccess, Vec<Finding>> {
    let permissions = permissions(definitions).map_err(|finding| vec![finding])?;
    let mut findings = Vec::new();
    let roles = roles(definitions, &permissions, &mut findings);
    let composable = composable(&definitions.resource_types, &permissions);
    let parent = |kind: &ResourceType| Some((kind.name.clone(), kind.parent.clone()?));
    let parents = definitions.resource_types.iter().filter_map(parent).collect();
    if findings.is_empty() {
        Ok(CompiledAccess { permissions, roles, composable, parents })
    } else {
        Err(findings)
    }
}

fn permissions(definitions: &Definitions) -> Result<Permissions, Finding> {
    let types =
        definitions.resource_types.iter().map(|kind| (kind.name.clone(), kind.actions.clone())).collect();
    let permissions = Permissions::new(&types).map_err(|count| {
        let last = definitions.resource_types.last().map_or("", |kind| &kind.name);
        Finding::new(super::Kind::ResourceType, last, "actions", "too_many")
            .detail(format!("there are {count} permissions in all; at most 512 fit"))
    })?;
    definitions.resource_types.iter().try_fold(permissions, implied)
}

fn implied(permissions: Permissions, kind: &ResourceType) -> Result<Permissions, Finding> {
    let permissions = permissions.with_attributes(&kind.name, &kind.attributes).with_audit(kind);
    permissions.with_implies(&kind.name, &kind.implies).map_err(|error| {
        Finding::new(super::Kind::ResourceType, &kind.name, "implies", "invalid").detail(error.to_string())
    })
}

fn roles(definitions: &Definitions, permissions: &Permissions, findings: &mut Vec<Finding>) -> RoleCatalogue {
    let before = findings.len();
    check::roles(&definitions.roles, permissions, findings);
    if findings.len() > before {
        return RoleCatalogue::default();
    }
    let extended = with_standard_actions(&definitions.roles, &definitions.resource_types);
    RoleCatalogue::new(&extended, permissions).unwrap_or_else(|error| {
        findings.push(check::role_finding(&error));
        RoleCatalogue::default()
    })
}

fn routes(definitions: &Definitions, permissions: &Permissions, findings: &mut Vec<Finding>) -> RouteTable {
    let services = &definitions.services;
    let alone = |route| RouteTable::new(std::slice::from_ref(route), services, permissions).map(drop);
    let mut fit = Vec::new();
    for route in &definitions.routes {
        match alone(route) {
            Ok(()) => fit.push(route.clone()),
            Err(error) => findings.push(check::route_finding(&error, &route.name)),
        }
    }
    // Each conflict is told once: the second of the two is left out, and the rest is tried again.
    let mut told = BTreeSet::new();
    loop {
        match RouteTable::new(&fit, services, permissions) {
            Ok(table) => return table,
            Err(error) => {
                let finding = check::route_finding(&error, fit.last().map_or("", |route| &route.name));
                let place = fit.iter().position(|route| route.name == finding.name);
                if !told.insert(finding.name.clone()) || place.is_none() {
                    findings.push(finding);
                    return RouteTable::default();
                }
                findings.push(finding);
                fit.remove(place.expect("checked above"));
            }
        }
    }
}
