//! The steps as they are written.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::access::{Attribute, Constraint, ResourceName, RoleDefaults};

/// Someone, or a group, or `{"kind": "everyone"}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Party {
    /// `user`, `service_account`, `api_key`, `group` or `everyone`.
    pub kind: String,
    /// Any name when the base is empty, else an id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
}

impl Party {
    /// Of a kind and an id.
    pub fn new(kind: &str, id: &str) -> Self {
        Party { kind: kind.to_owned(), id: id.to_owned() }
    }
}

/// One thing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thing {
    /// Its resource type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its id.
    pub id: String,
}

impl Thing {
    /// As a name.
    pub fn name(&self) -> ResourceName {
        ResourceName { kind: self.kind.clone(), id: self.id.clone() }
    }
}

/// A resource type.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TypeValue {
    /// Its name.
    pub name: String,
    /// What can be done.
    pub actions: Vec<String>,
    /// What implies what.
    #[serde(default)]
    pub implies: BTreeMap<String, Vec<String>>,
    /// The type of what holds such things.
    #[serde(default)]
    pub parent: Option<String>,
    /// What the shipped roles get; nothing when the base is empty, which has none.
    #[serde(default)]
    pub role_defaults: RoleDefaults,
    /// What conditions may ask for.
    #[serde(default)]
    pub attributes: Vec<Attribute>,
}

/// A role.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleValue {
    /// Its name.
    pub name: String,
    /// Permissions and patterns.
    #[serde(default)]
    pub permissions: Vec<String>,
    /// Roles.
    #[serde(default)]
    pub inherits: Vec<String>,
    /// Roles that who has it has besides.
    #[serde(default)]
    pub requires: Vec<String>,
    /// At most so many have it.
    #[serde(default)]
    pub max_members: Option<u32>,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupValue {
    /// Its name.
    pub name: String,
}

/// A thing and what holds it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceValue {
    /// Its resource type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its id.
    pub id: String,
    /// What holds it.
    #[serde(default)]
    pub parent: Option<Thing>,
    /// What conditions can ask for of it.
    #[serde(default)]
    pub attributes: Map<String, Value>,
}

/// A grant: exactly one of `role` and `permission`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantValue {
    /// Whom it is for.
    pub principal: Party,
    /// `allow`, the default, or `deny`.
    #[serde(default)]
    pub effect: Option<String>,
    /// A role.
    #[serde(default)]
    pub role: Option<String>,
    /// A permission or pattern.
    #[serde(default)]
    pub permission: Option<String>,
    /// On what; the whole tenant if not said.
    #[serde(default)]
    pub resource: Option<Thing>,
    /// From when.
    #[serde(default)]
    pub valid_from: Option<Timestamp>,
    /// Until before when.
    #[serde(default)]
    pub valid_until: Option<Timestamp>,
    /// Under which condition: a Cedar expression.
    #[serde(default)]
    pub condition: Option<String>,
    /// What the condition reads as `context.params`.
    #[serde(default)]
    pub parameters: Map<String, Value>,
}

/// Who is asked about, with what is known of it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedParty {
    /// Its kind.
    pub kind: String,
    /// Its id.
    #[serde(default)]
    pub id: String,
    /// As if they were declared so.
    #[serde(default)]
    pub attributes: Map<String, Value>,
}

/// What is asked about, with what is known of it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedThing {
    /// Its resource type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its id.
    pub id: String,
    /// As if they were stored, unless others are.
    #[serde(default)]
    pub attributes: Map<String, Value>,
}

/// One step. `as` runs a change with that principal's authority; without it the system makes it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Declares or changes a resource type.
    PutResourceType { value: TypeValue, r#as: Option<Party> },
    /// Takes one away.
    DeleteResourceType { name: String, r#as: Option<Party> },
    /// Makes or changes a role.
    PutRole { value: RoleValue, r#as: Option<Party> },
    /// Takes one away.
    DeleteRole { name: String, r#as: Option<Party> },
    /// Makes a group.
    PutGroup { value: GroupValue, r#as: Option<Party> },
    /// Takes one away, with its memberships and grants.
    DeleteGroup { name: String, r#as: Option<Party> },
    /// Puts someone into a group.
    AddMember {
        group: String,
        principal: Party,
        valid_from: Option<Timestamp>,
        valid_until: Option<Timestamp>,
        r#as: Option<Party>,
    },
    /// Takes someone out.
    RemoveMember { group: String, principal: Party, r#as: Option<Party> },
    /// Makes a grant.
    PutGrant { value: GrantValue, r#as: Option<Party> },
    /// Takes one back.
    DeleteGrant { id: String, r#as: Option<Party> },
    /// Keeps roles or permissions apart, or others than before.
    PutConstraint { value: Constraint, r#as: Option<Party> },
    /// No longer.
    DeleteConstraint { name: String, r#as: Option<Party> },
    /// Makes roles active, and no others of those that may not all be active together.
    Activate { principal: Party, roles: Vec<String> },
    /// Registers a thing.
    PutResource { value: ResourceValue, r#as: Option<Party> },
    /// Forgets one.
    DeleteResource { value: Thing, r#as: Option<Party> },
    /// Asks. The context is what conditions would read.
    Check {
        principal: AskedParty,
        permission: String,
        resource: Option<AskedThing>,
        #[serde(default)]
        context: Map<String, Value>,
    },
    /// Moves the clock.
    SetTime { at: Timestamp },
}

impl Step {
    /// Who or what group it is about, if it names one.
    pub(super) fn names(&self) -> Option<Party> {
        match self {
            Step::PutGrant { value, .. } => Some(value.principal.clone()),
            Step::AddMember { principal, .. } => Some(principal.clone()),
            Step::Check { principal, .. } => Some(Party::new(&principal.kind, &principal.id)),
            _ => None,
        }
    }
}
