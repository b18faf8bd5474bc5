//! Roles that a tenant makes itself, of what the operator lets it use.
//!
//! A permission that the operator takes out of use leaves every tenant's roles at once: what a role lists is cut down to what
//! may be composed each time that it is compiled, not only when it is written.

use std::collections::BTreeMap;

use super::bounds::RoleBounds;
use super::permission::{PermissionSet, Permissions};
use super::resource_type::ResourceType;
use super::role::{Closed, RoleCatalogue, RoleDefinition};

/// Why a tenant cannot have such roles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TenantRoleError {
    /// The catalogue has a role of this name.
    #[error("`{role}` is a role of the catalogue and stays as it is")]
    Predefined { role: String },
    /// Inherits what is not there, or what is for the operator's own people.
    #[error("role `{role}` inherits `{inherits}`, which does not exist or cannot be extended")]
    UnknownRole { role: String, inherits: String },
    /// Lists what no resource type declares.
    #[error("role `{role}` lists `{permission}`, which no resource type declares")]
    UnknownPermission { role: String, permission: String },
    /// Lists what tenants may not put together themselves.
    #[error("role `{role}` lists `{permission}`, which tenants cannot put into roles of their own")]
    NotComposable { role: String, permission: String },
    /// Requires what is not there, or what is for the operator's own people.
    #[error("role `{role}` requires `{required}`, which does not exist or is not for tenants")]
    UnknownRequired { role: String, required: String },
    /// Inherit, or require each other, in a circle.
    #[error("roles inherit or require each other in a circle: {}", path.join(" → "))]
    Cycle { path: Vec<String> },
}

/// Whether a role is for the operator's own people, who are principals of the reserved tenant. Nobody of a tenant has it, and no
/// tenant's role inherits or requires it.
pub fn is_for_operator(role: &str) -> bool {
    role.starts_with("platform_")
}

/// What tenants may put into roles of their own.
pub fn composable(types: &[ResourceType], permissions: &Permissions) -> PermissionSet {
    let mut all = permissions.matching("*:*").unwrap_or_default();
    for kind in types {
        for action in &kind.not_composable {
            if let Some(bit) = permissions.id(&format!("{}:{action}", kind.name)) {
                all.remove(bit);
            }
        }
    }
    all
}

/// Whether `own` can stand beside `catalogue`.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_tenant_roles(
    catalogue: &RoleCatalogue,
    own: &[RoleDefinition],
    permissions: &Permissions,
    composable: &PermissionSet,
) -> Result<(), TenantRoleError> {
    let by_name: BTreeMap<&str, &RoleDefinition> =
        own.iter().map(|role| (role.name.as_str(), role)).collect();
    for role in own {
        if catalogue.permissions(&role.name).is_some() {
            return Err(TenantRoleError::Predefined { role: role.name.clone() });
        }
        for permission in &role.permissions {
            listed(role, permission, permissions, composable)?;
        }
        for inherits in &role.inherits {
            let extendable = catalogue.permissions(inherits).is_some() && !is_for_operator(inherits);
            if !extendable && !by_name.contains_key(inherits.as_str()) {
                let (role, inherits) = (role.name.clone(), inherits.clone());
                return Err(TenantRoleError::UnknownRole { role, inherits });
            }
        }
        for required in &role.requires {
            let of_tenants = catalogue.permissions(required).is_some() && !is_for_operator(required);
            if !of_tenants && !by_name.contains_key(required.as_str()) {
                let (role, required) = (role.name.clone(), required.clone());
                return Err(TenantRoleError::UnknownRequired { role, required });
            }
        }
        circle(role, &by_name, |role| &role.inherits, &mut Vec::new())?;
        circle(role, &by_name, |role| &role.requires, &mut Vec::new())?;
    }
    Ok(())
}

fn listed(
    role: &RoleDefinition,
    permission: &str,
    permissions: &Permissions,
    composable: &PermissionSet,
) -> Result<(), TenantRoleError> {
    let named = || (role.name.clone(), permission.to_owned());
    let Some(mut set) = permissions.matching(permission) else {
        let (role, permission) = named();
        return Err(TenantRoleError::UnknownPermission { role, permission });
    };
    // A wildcard over types stands for types to come, which nobody has judged yet.
    set.intersect(composable);
    let whole = permission.ends_with(":*") || permissions.id(permission).is_some();
    if permission.starts_with("*:") || set.is_empty() || !whole {
        let (role, permission) = named();
        return Err(TenantRoleError::NotComposable { role, permission });
    }
    Ok(())
}

fn circle<'r>(
    role: &'r RoleDefinition,
    by_name: &BTreeMap<&str, &'r RoleDefinition>,
    links: fn(&RoleDefinition) -> &[String],
    path: &mut Vec<String>,
) -> Result<(), TenantRoleError> {
    let closed = path.contains(&role.name);
    path.push(role.name.clone());
    if closed {
        return Err(TenantRoleError::Cycle { path: path.clone() });
    }
    for parent in links(role).iter().filter_map(|name| by_name.get(name.as_str())) {
        circle(parent, by_name, links, path)?;
    }
    path.pop();
    Ok(())
}

impl RoleCatalogue {
    /// The catalogue with a tenant's own roles. What cannot be (any more) is left out, never more given: the catalogue's
    /// role wins over one of the same name, and permissions that are unknown or not `composable` are nothing.
    #[must_use]
    pub fn with_tenant(
        &self,
        own: &[RoleDefinition],
        permissions: &Permissions,
        composable: &PermissionSet,
    ) -> RoleCatalogue {
        let by_name: BTreeMap<&str, &RoleDefinition> = own
            .iter()
            .filter(|role| !self.0.contains_key(&role.name))
            .map(|role| (role.name.as_str(), role))
            .collect();
        let mut all = self.clone();
        for (name, role) in &by_name {
            let mut seen = Vec::new();
            let mut closed = Closed::default();
            self.gather(role, &by_name, (permissions, composable), &mut seen, &mut closed);
            closed.roles.extend(seen.into_iter().map(str::to_owned));
            closed.bounds = RoleBounds::from(*role);
            all.0.insert((*name).to_owned(), closed);
        }
        all
    }

    fn gather<'r>(
        &self,
        role: &'r RoleDefinition,
        by_name: &BTreeMap<&str, &'r RoleDefinition>,
        known: (&Permissions, &PermissionSet),
        seen: &mut Vec<&'r str>,
        into: &mut Closed,
    ) {
        if seen.contains(&role.name.as_str()) {
            return;
        }
        seen.push(&role.name);
        for permission in role.permissions.iter().filter(|permission| !permission.starts_with("*:")) {
            let mut bits = known.0.matching(permission).unwrap_or_default();
            bits.intersect(known.1);
            into.all.extend(&bits);
            if known.0.id(permission).is_some() {
                into.by_name.extend(&bits);
            }
        }
        for parent in &role.inherits {
            match (self.0.get(parent), by_name.get(parent.as_str())) {
                (Some(shipped), _) if !parent.starts_with("platform_") => {
                    into.all.extend(&shipped.all);
                    into.by_name.extend(&shipped.by_name);
                    into.roles.extend(shipped.roles.iter().cloned());
                }
                (None, Some(own)) => self.gather(own, by_name, known, seen, into),
                _ => {}
            }
        }
    }
}
