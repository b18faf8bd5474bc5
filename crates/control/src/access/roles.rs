//! A tenant's own roles: made, changed, removed. Nobody puts into a role what he does not hold, unless he holds
//! `role:escalate`; and nobody takes out of one what he does not hold, for a grant may deny by it.

use rowhouse_domain::access::{PermissionSet, RoleDefinition, TenantRoleError, check_tenant_roles};
use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Notice, Transaction};
use serde_json::json;

use super::administrators::refuse_unadministered;
use super::constraint::refuse_together;
use super::role_queries::{self, RoleRow};
use super::stored::of_one;
use super::{Authority, Rules, approval, queries};

/// At most so many own roles in a tenant.
const ROLES_MAX: usize = 200;

/// Makes or changes a role of `tenant` within `transaction`; it, and what to commit it with. One that is there already as it
/// should be is changed all the same, to its next version.
///
/// # Errors
/// 422 for a malformed, predefined or too great role, or one of what is unknown or not composable; 409 `access.cycle`; 403
/// `access.escalation`; 409 `access.last_admin`, `access.sod_violation`, `access.too_many_members`,
/// `access.missing_prerequisite`.
pub(super) async fn put_role(
    transaction: &Transaction,
    tenant: TenantId,
    role: RoleDefinition,
    authority: &Authority,
) -> Result<(RoleRow, Change), Refusal> {
    check(&role)?;
    let version = queries::raise_version(transaction, tenant).await?;
    let rows = role_queries::load_roles(transaction, Some(tenant)).await?;
    let mut own: Vec<RoleDefinition> = rows.iter().map(|row| row.definition.clone()).collect();
    let before = Rules::load_for(transaction, tenant).await?;
    let existed = own.iter().any(|other| other.name == role.name);
    own.retain(|other| other.name != role.name);
    own.push(role.clone());
    if own.len() > ROLES_MAX {
        return Err(Refusal::new(
            &kind::ACCESS_TOO_MANY,
            format!("A tenant has at most {ROLES_MAX} own roles."),
        ));
    }
    check_tenant_roles(&before.catalogue, &own, &before.permissions, &before.composable).map_err(refusal)?;
    let was = if existed { before.role(&role.name)? } else { PermissionSet::default() };
    let after = before.clone().with_own(&own);
    let is = after.role(&role.name)?;
    let (mut changed, mut lost) = (is, was);
    changed.subtract(&was);
    // A role that is new is nobody's yet.
    if existed {
        let gained = after.permissions.closed(&changed);
        approval::refuse_alone(transaction, tenant, (authority, &after), &gained).await?;
    }
    lost.subtract(&is);
    changed.extend(&lost);
    if !authority.may("role:escalate") {
        after.refuse_escalation(authority, &after.permissions.closed(&changed))?;
    }
    if existed {
        let stored = of_one(transaction, tenant, &before).await?;
        refuse_unadministered(transaction, tenant, (&stored, &before), (&stored, &after)).await?;
        refuse_together(transaction, tenant, (&stored, &before), (&stored, &after)).await?;
    }
    let now = transaction.store().clock().now();
    let (stored, role_id) = role_queries::put(transaction, tenant, &role, now).await?;
    let action = if existed { "update" } else { "create" };
    let change = change(transaction, tenant, &role, (action, version));
    Ok((RoleRow { tenant, role_id, definition: role, version: stored, updated_at: now }, change))
}

/// Removes a role within `transaction`; `None` if there is none.
///
/// # Errors
/// 409 `access.role_in_use` while it is granted or another role inherits or requires it.
pub(super) async fn remove_role(
    transaction: &Transaction,
    tenant: TenantId,
    name: &str,
) -> Result<Option<Change>, Refusal> {
    let version = queries::raise_version(transaction, tenant).await?;
    let own = role_queries::load_roles(transaction, Some(tenant)).await?;
    let Some(role) = own.iter().find(|role| role.definition.name == name) else { return Ok(None) };
    let in_use = |by: String| Refusal::new(&kind::ROLE_IN_USE, by);
    if role_queries::is_granted(transaction, role).await? {
        return Err(in_use(format!("`{name}` is granted to somebody.")));
    }
    let inherits = |other: &&RoleRow| other.definition.inherits.iter().any(|parent| parent == name);
    if let Some(heir) = own.iter().find(inherits) {
        return Err(in_use(format!("`{}` inherits `{name}`.", heir.definition.name)));
    }
    let requires = |other: &&RoleRow| other.definition.requires.iter().any(|required| required == name);
    if let Some(other) = own.iter().find(requires) {
        return Err(in_use(format!("`{}` requires `{name}`.", other.definition.name)));
    }
    role_queries::remove(transaction, tenant, name).await?;
    Ok(Some(change(transaction, tenant, &role.definition, ("delete", version))))
}

fn check(role: &RoleDefinition) -> Result<(), Refusal> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    let named = (1..=63).contains(&role.name.len())
        && role.name.as_bytes()[0].is_ascii_lowercase()
        && role.name.bytes().all(plain);
    let mut wrong = Vec::new();
    if !named {
        wrong.push(("/name", "malformed", "[a-z][a-z0-9_-]{0,62}"));
    }
    if role.title.chars().count() > 500 {
        wrong.push(("/title", "too_long", "at most 500 characters"));
    }
    if role.permissions.len() > 512 {
        wrong.push(("/permissions", "out_of_bounds", "at most 512"));
    }
    if role.inherits.len() > 16 {
        wrong.push(("/inherits", "out_of_bounds", "at most 16"));
    }
    for (field, detail) in role.bound_faults() {
        let at = if field == "requires" { "/requires" } else { "/max_members" };
        wrong.push((at, "out_of_bounds", detail));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let refusal = Refusal::new(&kind::INVALID, "The role is not well-formed.");
    Err(wrong.into_iter().fold(refusal, |refusal, (at, code, detail)| refusal.field(at, code, detail)))
}

fn refusal(error: TenantRoleError) -> Refusal {
    let kind = match &error {
        TenantRoleError::Predefined { .. } => &kind::ACCESS_PREDEFINED,
        TenantRoleError::UnknownRole { .. } | TenantRoleError::UnknownRequired { .. } => &kind::UNKNOWN_ROLE,
        TenantRoleError::UnknownPermission { .. } => &kind::UNKNOWN_PERMISSION,
        TenantRoleError::NotComposable { .. } => &kind::NOT_COMPOSABLE,
        TenantRoleError::Cycle { .. } => &kind::ACCESS_CYCLE,
    };
    Refusal::new(kind, format!("{error}."))
}

fn change(
    transaction: &Transaction,
    tenant: TenantId,
    role: &RoleDefinition,
    (action, version): (&str, i64),
) -> Change {
    Change::new(tenant, "access.role_changed", action, transaction.principal())
        .on("role", &role.name)
        .details(json!({
            "access_version": version, "permissions": role.permissions, "inherits": role.inherits,
            "requires": role.requires, "max_members": role.max_members,
        }))
        .notify(Notice::tenant(tenant))
}
