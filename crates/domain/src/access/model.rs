//! What a tenant's access is made of before it is compiled: grants, groups, and the things that they are about.

use std::sync::Arc;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::condition::Condition;
use super::interval::Interval;
use super::{Permissions, Principal, RoleCatalogue, Sessions};

/// Whether a grant gives or forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum GrantEffect {
    /// Gives.
    Allow,
    /// Forbids; wins over every allow.
    Deny,
}

impl GrantEffect {
    /// The word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            GrantEffect::Allow => "allow",
            GrantEffect::Deny => "deny",
        }
    }
}

/// What a grant is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum GrantTarget {
    /// All permissions of a role.
    Role(String),
    /// One permission or pattern.
    Permission(String),
}

/// A principal's grant on the whole tenant, in force in `[from, until)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantDefinition {
    /// Whom it is for.
    pub principal: Principal,
    /// Gives or forbids.
    pub effect: GrantEffect,
    /// What.
    pub target: GrantTarget,
    /// From this instant, µs since 1970.
    pub valid_from_us: Option<i64>,
    /// Until before this instant.
    pub valid_until_us: Option<i64>,
}

/// Who can be granted something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Holder {
    /// One principal.
    Principal(Principal),
    /// All members of a group, and of the groups in it.
    Group(Uuid),
    /// Each principal of the tenant.
    Everyone,
}

/// One thing of the operator's services: its type and its id there, at most 256 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceName {
    /// Its resource type.
    pub kind: String,
    /// Its id, in the service's words.
    pub id: String,
}

impl ResourceName {
    /// Its key.
    pub fn key(&self) -> ResourceKey {
        ResourceKey::new(&self.kind, &self.id)
    }
}

/// A thing's type and id in 16 bytes: the first half of their SHA-256. No two things have the same, even when somebody
/// chooses ids to that end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct ResourceKey(u64, u64);

impl ResourceKey {
    /// Of a type and an id. A type has no NUL in it, so that nothing can be read in two ways.
    pub fn new(kind: &str, id: &str) -> Self {
        let digest = Sha256::new().chain_update(kind).chain_update([0]).chain_update(id).finalize();
        let word = |at: usize| u64::from_be_bytes(*digest[at..].first_chunk().expect("SHA-256 has 32 bytes"));
        ResourceKey(word(0), word(8))
    }

    /// Where it would be among `count` keys in order if they lay at even distances, which digests nearly do.
    pub(super) fn of_evenly(self, count: usize) -> usize {
        ((u128::from(self.0) * count as u128) >> 64) as usize
    }
}

/// A grant of any kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its id.
    pub id: Uuid,
    /// Whom it is for.
    pub holder: Holder,
    /// Gives or forbids.
    pub effect: GrantEffect,
    /// What.
    pub target: GrantTarget,
    /// On which thing and what it holds; `None` is the whole tenant.
    pub resource: Option<ResourceName>,
    /// When.
    pub interval: Interval,
    /// Under which condition.
    pub condition: Option<Condition>,
}

impl From<&GrantDefinition> for Grant {
    fn from(definition: &GrantDefinition) -> Self {
        Grant {
            id: Uuid::nil(),
            holder: Holder::Principal(definition.principal),
            effect: definition.effect,
            target: definition.target.clone(),
            resource: None,
            interval: Interval::new(definition.valid_from_us, definition.valid_until_us),
            condition: None,
        }
    }
}

/// That someone is in a group, for a time or for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The group.
    pub group: Uuid,
    /// A principal, or a group whose members are then in this one too.
    pub member: Holder,
    /// When.
    pub interval: Interval,
}

/// A thing that is held by another, or of which something is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The thing.
    pub name: ResourceName,
    /// What holds it.
    pub parent: Option<ResourceName>,
    /// What its service has said of it, for conditions: at most 4 KiB of JSON.
    pub attributes: Map<String, Value>,
}

/// A tenant's whole access.
#[derive(Debug, Clone, Copy)]
pub struct Model<'a> {
    /// All permissions.
    pub permissions: &'a Permissions,
    /// The catalogue's roles and the tenant's own, closed.
    pub roles: &'a RoleCatalogue,
    /// Grants.
    pub grants: &'a [Grant],
    /// Who is in which group. Without circles.
    pub memberships: &'a [Membership],
    /// What holds what. Without circles; of chains longer than 16 links the rest is not looked at.
    pub resources: &'a [Resource],
    /// Who belongs to the tenant: those that grants to everyone are for.
    pub principals: &'a [Principal],
    /// What is kept apart within sessions, and what was chosen in them.
    pub sessions: Sessions<'a>,
}

impl Model<'_> {
    /// A grant's condition with what it may ask for.
    pub(super) fn condition(&self, grant: &Grant) -> Option<Condition> {
        let declared: Arc<[_]> = self.permissions.attributes(&self.set(grant)).into();
        grant.condition.as_ref().map(|condition| condition.about(declared))
    }

    /// What a grant is about, an allow with what it implies. A role or permission that does not exist (any more) is nothing.
    pub fn set(&self, grant: &Grant) -> super::PermissionSet {
        let set = match &grant.target {
            GrantTarget::Role(role) => self.roles.permissions(role).copied(),
            GrantTarget::Permission(pattern) => self.permissions.matching(pattern),
        };
        match grant.effect {
            GrantEffect::Allow => self.permissions.closed(&set.unwrap_or_default()),
            GrantEffect::Deny => set.unwrap_or_default(),
        }
    }
}
