//! Resource types: the kinds of things that permissions are about, and what the shipped roles may do with them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::audited::DecisionAudit;
use super::condition::Attribute;
use super::role::{RoleDefinition, standard_actions};

/// A kind of thing with its actions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceType {
    /// `[a-z][a-z0-9_]{0,62}`.
    pub name: String,
    /// The service that has such things; `rowhouse` for our own.
    pub service: String,
    /// What can be done with them: 1 to 64 of `[a-z][a-z0-9_]{0,30}`.
    pub actions: Vec<String>,
    /// What else is allowed to who is allowed an action: `{"update": ["read"]}`. No circles. A deny is never extended.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub implies: BTreeMap<String, Vec<String>>,
    /// The type of the things that hold such things: a grant on the holder reaches what it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Actions that tenants cannot put into roles of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_composable: Vec<String>,
    /// Actions that are not given lightly: a tenant can want two people for it, and each time one is done is in its audit log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sensitive: Vec<String>,
    /// By action, which decisions become audit events: `denied` (the default), `all`, `sampled:<n>` or `none`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub audit: BTreeMap<String, DecisionAudit>,
    /// What the shipped roles get.
    #[serde(default)]
    pub role_defaults: RoleDefaults,
    /// What conditions may ask for: of such things, of who asks, of what is done, of the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<Attribute>,
}

/// What a type adds to the shipped roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleDefaults {
    /// Its create, read, update and delete, as [`standard_actions`] says.
    Standard,
    /// Nothing: only roles that name it have it.
    #[default]
    None,
}

/// The roles with what `standard` types add to them. Actions that a type does not declare are left out.
pub fn with_standard_actions(roles: &[RoleDefinition], types: &[ResourceType]) -> Vec<RoleDefinition> {
    let standard = || types.iter().filter(|kind| kind.role_defaults == RoleDefaults::Standard);
    let mut extended = roles.to_vec();
    for role in &mut extended {
        for kind in standard() {
            let declared = |action: &&&str| kind.actions.iter().any(|own| own == **action);
            let added = standard_actions(&role.name).iter().filter(declared);
            role.permissions.extend(added.map(|action| format!("{}:{action}", kind.name)));
        }
    }
    extended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_types_reach_the_shipped_roles_and_no_others() {
        let kind = |name: &str, role_defaults| ResourceType {
            name: name.into(),
            service: "parking".into(),
            actions: vec!["create".into(), "read".into(), "open".into()],
            role_defaults,
            ..ResourceType::default()
        };
        let role = |name: &str| RoleDefinition { name: name.into(), ..RoleDefinition::default() };
        let types = [kind("entry", RoleDefaults::Standard), kind("secret", RoleDefaults::None)];
        let roles = with_standard_actions(&["readonly", "developer", "valet"].map(role), &types);
        let of = |index: usize| roles[index].permissions.join(" ");
        assert_eq!([of(0), of(1), of(2)], ["entry:read", "entry:create entry:read", ""].map(str::to_owned));
    }
}
