//! Roles: named sets of permissions that inherit; the shipped ones.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::bounds::RoleBounds;
use super::permission::{PermissionSet, Permissions};

/// A role as declared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleDefinition {
    /// `[a-z][a-z0-9_-]{0,62}`.
    pub name: String,
    /// Shown to people.
    #[serde(default)]
    pub title: String,
    /// Exact permissions and patterns.
    #[serde(default)]
    pub permissions: Vec<String>,
    /// Roles whose permissions it has too.
    #[serde(default)]
    pub inherits: Vec<String>,
    /// Roles that who has it has besides, all of the time: at most 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// At most so many have it at any one instant, 1 to 1,000,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_members: Option<u32>,
}

/// Why a set of roles cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    /// A permission or pattern that means nothing.
    #[error("role `{role}` lists `{permission}`, which no resource type declares")]
    UnknownPermission { role: String, permission: String },
    /// An inherited role that is not there.
    #[error("role `{role}` inherits `{inherits}`, which does not exist")]
    UnknownRole { role: String, inherits: String },
    /// Roles inherit in a circle.
    #[error("roles inherit in a circle: {}", path.join(" → "))]
    Cycle { path: Vec<String> },
}

/// Roles with their closed permissions.
#[derive(Debug, Clone, Default)]
pub struct RoleCatalogue(pub(super) BTreeMap<String, Closed>);

/// What a role permits, inherited included.
#[derive(Debug, Clone, Default)]
pub(super) struct Closed {
    pub(super) all: PermissionSet,
    /// Of these, what is listed by its name and not only by a pattern.
    pub(super) by_name: PermissionSet,
    /// It and all that it inherits.
    pub(super) roles: BTreeSet<String>,
    /// What it asks of those who have it.
    pub(super) bounds: RoleBounds,
}

impl RoleCatalogue {
    /// Closes every role over what it inherits.
    pub fn new(roles: &[RoleDefinition], permissions: &Permissions) -> Result<Self, RoleError> {
        let by_name: BTreeMap<&str, &RoleDefinition> =
            roles.iter().map(|role| (role.name.as_str(), role)).collect();
        let mut closed = RoleCatalogue::default();
        for role in roles {
            let mut path = Vec::new();
            let mut seen = BTreeSet::new();
            let mut set = Closed::default();
            collect(role, &by_name, permissions, &mut path, &mut seen, &mut set)?;
            set.roles = seen;
            set.bounds = RoleBounds::from(role);
            closed.0.insert(role.name.clone(), set);
        }
        Ok(closed)
    }

    /// The names of all roles, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// What a role permits, inherited included.
    pub fn permissions(&self, role: &str) -> Option<&PermissionSet> {
        self.0.get(role).map(|closed| &closed.all)
    }

    /// Whether `role` is `other` or inherits it, directly or not.
    pub fn includes(&self, role: &str, other: &str) -> bool {
        self.0.get(role).is_some_and(|closed| closed.roles.contains(other))
    }

    /// Roles that ask something of those who have them, with what.
    pub(super) fn bounded(&self) -> impl Iterator<Item = (&str, &RoleBounds)> {
        let all = self.0.iter().map(|(name, closed)| (name.as_str(), &closed.bounds));
        all.filter(|(_, bounds)| !bounds.is_empty())
    }

    /// Of these, what the role or one that it inherits lists by name.
    fn by_name(&self, role: &str) -> Option<&PermissionSet> {
        self.0.get(role).map(|closed| &closed.by_name)
    }
}

fn collect(
    role: &RoleDefinition,
    by_name: &BTreeMap<&str, &RoleDefinition>,
    permissions: &Permissions,
    path: &mut Vec<String>,
    seen: &mut BTreeSet<String>,
    set: &mut Closed,
) -> Result<(), RoleError> {
    if path.contains(&role.name) {
        path.push(role.name.clone());
        return Err(RoleError::Cycle { path: path.clone() });
    }
    if !seen.insert(role.name.clone()) {
        return Ok(());
    }
    for permission in &role.permissions {
        let bits = permissions.matching(permission).ok_or_else(|| RoleError::UnknownPermission {
            role: role.name.clone(),
            permission: permission.clone(),
        })?;
        set.all.extend(&bits);
        if permissions.id(permission).is_some() {
            set.by_name.extend(&bits);
        }
    }
    path.push(role.name.clone());
    for parent in &role.inherits {
        let parent = by_name
            .get(parent.as_str())
            .ok_or_else(|| RoleError::UnknownRole { role: role.name.clone(), inherits: parent.clone() })?;
        collect(parent, by_name, permissions, path, seen, set)?;
    }
    path.pop();
    Ok(())
}

/// What a key holds only if it, or a role of its, lists it by name: what makes more power out of power, and what is billed. A pattern
/// such as `*:*` is written once and then stands for what nobody thought of.
pub const BY_NAME_ONLY: &[&str] = &[
    "api_key:create",
    "api_key:update",
    "constraint:create",
    "constraint:delete",
    "grant:bind",
    "grant:create",
    "grant:delete",
    "grant:deny",
    "grant:update",
    "group:create",
    "group:delete",
    "group:update",
    "invitation:create",
    "resource:delete",
    "resource:update",
    "role:create",
    "role:delete",
    "role:update",
    "usage:create",
];

/// What a key with these roles and permissions permits. Those that do not exist (any more) permit nothing.
pub fn key_permits(
    roles: &[String],
    listed: &[String],
    catalogue: &RoleCatalogue,
    permissions: &Permissions,
) -> PermissionSet {
    let (mut set, mut by_name) = (PermissionSet::default(), PermissionSet::default());
    for role in roles {
        set.extend(&catalogue.permissions(role).copied().unwrap_or_default());
        by_name.extend(&catalogue.by_name(role).copied().unwrap_or_default());
    }
    for pattern in listed {
        let bits = permissions.matching(pattern).unwrap_or_default();
        set.extend(&bits);
        if permissions.id(pattern).is_some() {
            by_name.extend(&bits);
        }
    }
    set = permissions.closed(&set);
    for bit in BY_NAME_ONLY.iter().filter_map(|name| permissions.id(name)) {
        if !by_name.contains(bit) {
            set.remove(bit);
        }
    }
    set
}

/// The shipped roles of tenants and of the operator's own people. `standard` resource types of services add
/// their `read`, `create`, `update`, `delete` to `readonly`, `operator` and `developer` ([`standard_actions`]).
pub fn shipped_roles() -> Vec<RoleDefinition> {
    let rows: [(&str, &[&str], &[&str]); 11] = [
        ("readonly", &[], &["metadata_stamp:read", "system:read"]),
        ("operator", &["readonly"], &["metadata_stamp:create", "metadata_stamp:read", "system:read"]),
        (
            "developer",
            &["operator"],
            &[
                "metadata_stamp:create",
                "metadata_stamp:read",
                "metadata_stamp:update",
                "metadata_stamp:delete",
                "api_key:create",
                "api_key:read",
                "api_key:delete",
            ],
        ),
        ("admin", &["developer"], &["*:*"]),
        ("tenant_admin", &["admin"], &[]),
        ("user", &["operator"], &[]),
        ("viewer", &["readonly"], &[]),
        ("platform_admin", &[], &["*:*"]),
        ("platform_support", &[], &["*:read"]),
        ("platform_billing", &[], &["invoice:*", "plan:*", "usage:read", "tenant:read"]),
        ("platform_auditor", &[], &["*:read", "audit:read", "audit:export"]),
    ];
    rows.into_iter()
        .map(|(name, inherits, permissions)| RoleDefinition {
            name: name.to_owned(),
            title: String::new(),
            permissions: permissions.iter().map(|p| (*p).to_owned()).collect(),
            inherits: inherits.iter().map(|p| (*p).to_owned()).collect(),
            ..RoleDefinition::default()
        })
        .collect()
}

/// What a resource type with `role_defaults = "standard"` adds to a shipped role.
pub fn standard_actions(role: &str) -> &'static [&'static str] {
    match role {
        "readonly" => &["read"],
        "operator" => &["create", "read"],
        "developer" => &["create", "read", "update", "delete"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permissions() -> Permissions {
        let actions = |list: &[&str]| list.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>();
        let crud = actions(&["create", "read", "update", "delete"]);
        let types = ["metadata_stamp", "api_key", "invoice", "plan"].map(|t| (t.to_owned(), crud.clone()));
        let mut types = BTreeMap::from(types);
        types.insert("system".into(), actions(&["read", "admin"]));
        types.insert("usage".into(), actions(&["read"]));
        types.insert("tenant".into(), actions(&["read", "create"]));
        types.insert("audit".into(), actions(&["read", "export", "hold"]));
        Permissions::new(&types).expect("few")
    }

    fn role(name: &str, permissions: &[&str], inherits: &[&str]) -> RoleDefinition {
        let own = |list: &[&str]| list.iter().map(|p| (*p).to_owned()).collect();
        RoleDefinition {
            name: name.into(),
            title: String::new(),
            permissions: own(permissions),
            inherits: own(inherits),
            ..RoleDefinition::default()
        }
    }

    #[test]
    fn shipped_roles_allow_exactly_their_table() {
        let permissions = permissions();
        let roles = RoleCatalogue::new(&shipped_roles(), &permissions).expect("shipped");
        let names = |role: &str| permissions.names_of(roles.permissions(role).expect("role")).join(" ");
        assert_eq!(names("viewer"), "metadata_stamp:read system:read");
        assert_eq!(names("user"), "metadata_stamp:create metadata_stamp:read system:read");
        assert_eq!(
            names("developer"),
            "api_key:create api_key:read api_key:delete metadata_stamp:create metadata_stamp:read \
             metadata_stamp:update metadata_stamp:delete system:read"
        );
        assert!(names("tenant_admin").contains("system:admin"));
    }

    #[test]
    fn a_circle_and_unknown_names_are_refused() {
        let permissions = permissions();
        let circle = [role("a", &[], &["b"]), role("b", &[], &["a"])];
        assert!(matches!(RoleCatalogue::new(&circle, &permissions), Err(RoleError::Cycle { .. })));
        let unknown = RoleCatalogue::new(&[role("a", &["x:y"], &[])], &permissions);
        assert!(matches!(unknown, Err(RoleError::UnknownPermission { .. })));
        let missing = RoleCatalogue::new(&[role("a", &[], &["nobody"])], &permissions);
        assert!(matches!(missing, Err(RoleError::UnknownRole { .. })));
        let diamond = [
            role("a", &[], &["b", "c"]),
            role("b", &[], &["d"]),
            role("c", &[], &["d"]),
            role("d", &["tenant:read"], &[]),
        ];
        assert!(RoleCatalogue::new(&diamond, &permissions).is_ok());
    }

    #[test]
    fn a_key_makes_keys_and_grants_only_if_that_is_listed_by_name() {
        let types = [("api_key", vec!["create", "read"]), ("grant", vec!["create", "read"])];
        let types =
            types.map(|(kind, actions)| (kind.to_owned(), actions.into_iter().map(str::to_owned).collect()));
        let permissions = Permissions::new(&BTreeMap::from(types)).expect("few");
        let role = |name: &str, permissions: &[&str], inherits: &[&str]| RoleDefinition {
            name: name.to_owned(),
            title: String::new(),
            permissions: permissions.iter().map(|one| (*one).to_owned()).collect(),
            inherits: inherits.iter().map(|one| (*one).to_owned()).collect(),
            ..RoleDefinition::default()
        };
        let roles = [
            role("all", &["*:*"], &["maker"]),
            role("maker", &["api_key:create"], &[]),
            role("any", &["*:create"], &[]),
        ];
        let roles = RoleCatalogue::new(&roles, &permissions).expect("roles");
        let holds = |own: &[&str], listed: &[&str]| {
            let words = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
            let set = key_permits(&words(own), &words(listed), &roles, &permissions);
            permissions.names_of(&set).join(" ")
        };
        assert_eq!(holds(&[], &["*:*"]), "api_key:read grant:read");
        assert_eq!(holds(&["any"], &[]), "");
        assert_eq!(
            holds(&["all"], &[]),
            "api_key:create api_key:read grant:read",
            "named by a role that it inherits"
        );
        assert_eq!(holds(&["any"], &["grant:create"]), "grant:create");
        assert_eq!(holds(&["nobody"], &["x:y"]), "");
    }
}
