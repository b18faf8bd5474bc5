//! A tenant's access with names instead of ids, and what it compiles to.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value};
use uuid::Uuid;

use super::step::Party;
use crate::access::{
    AccessTable, Chosen, Condition, Constraint, Grant, GrantEffect, GrantTarget, Holder, Interval,
    Membership, Model, Permissions, Principal, PrincipalKind, Resource, ResourceName, ResourceType,
    RoleCatalogue, RoleDefinition, Sessions,
};

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorldGrant {
    /// Whom it is for.
    pub holder: Party,
    /// Gives or forbids.
    pub effect: GrantEffect,
    /// What.
    pub target: GrantTarget,
    /// On what.
    pub resource: Option<ResourceName>,
    /// When.
    pub interval: Interval,
    /// Under which condition.
    pub condition: Option<Condition>,
}

/// That someone is in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorldMembership {
    /// The group.
    pub group: String,
    /// Who.
    pub member: Party,
    /// When.
    pub interval: Interval,
}

/// Everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct World {
    /// Resource types by name.
    pub types: BTreeMap<String, ResourceType>,
    /// Roles by name, with what `standard` types add to them.
    pub roles: BTreeMap<String, RoleDefinition>,
    /// Of these, the catalogue's, which stay as they are.
    pub predefined: BTreeSet<String>,
    /// Of these, the operator's own people's, which nobody is given here and no role is made of.
    pub reserved: BTreeSet<String>,
    /// Groups.
    pub groups: BTreeSet<String>,
    /// Who is in which.
    pub memberships: Vec<WorldMembership>,
    /// Grants by id.
    pub grants: BTreeMap<String, WorldGrant>,
    /// What nobody may have together, by name.
    pub constraints: BTreeMap<String, Constraint>,
    /// The roles that somebody has made active, for whom that was said.
    pub active: BTreeMap<Party, Vec<String>>,
    /// Registered things with what holds them.
    pub resources: BTreeMap<ResourceName, Option<ResourceName>>,
    /// What is known of things, for conditions.
    pub attributes: BTreeMap<ResourceName, Map<String, Value>>,
    /// Who belongs to the tenant, and so is everyone. When the base is empty, whoever a step names.
    pub people: BTreeSet<Party>,
}

/// A world, compiled, with the way back to its names.
#[derive(Debug)]
pub(super) struct Ready {
    pub permissions: Permissions,
    pub roles: RoleCatalogue,
    pub grants: Vec<Grant>,
    pub grant_ids: Vec<String>,
    pub memberships: Vec<Membership>,
    pub resources: Vec<Resource>,
    pub principals: Vec<Principal>,
    pub apart: Vec<Constraint>,
    pub chosen: Vec<Chosen>,
    pub names: Names,
    pub table: AccessTable,
}

/// Names with the numbers that stand for them.
#[derive(Debug, Default)]
pub(super) struct Names {
    ids: HashMap<Party, Uuid>,
    parties: Vec<Party>,
}

impl Names {
    fn id(&mut self, party: &Party) -> Uuid {
        if let Some(id) = self.ids.get(party) {
            return *id;
        }
        let id = Uuid::from_u128(self.parties.len() as u128);
        self.parties.push(party.clone());
        self.ids.insert(party.clone(), id);
        id
    }

    fn holder(&mut self, party: &Party) -> Holder {
        match kind(party) {
            Some(kind) => Holder::Principal(Principal { kind, id: self.id(party) }),
            None if party.kind == "group" => Holder::Group(self.id(party)),
            None => Holder::Everyone,
        }
    }

    /// The principal of this name, if it is mentioned anywhere.
    pub fn known(&self, party: &Party) -> Option<Principal> {
        Some(Principal { kind: kind(party)?, id: *self.ids.get(party)? })
    }

    /// All names by their numbers.
    pub fn called(&self) -> BTreeMap<Uuid, String> {
        let own = self.parties.iter().enumerate();
        own.map(|(number, party)| (Uuid::from_u128(number as u128), party.id.clone())).collect()
    }

    /// The name of what has this number.
    pub fn party(&self, id: Uuid) -> &Party {
        &self.parties[id.as_u128() as usize]
    }
}

/// The kind of a single principal.
pub(super) fn kind(party: &Party) -> Option<PrincipalKind> {
    [PrincipalKind::User, PrincipalKind::ServiceAccount, PrincipalKind::ApiKey]
        .into_iter()
        .find(|kind| kind.as_str() == party.kind)
}

/// Why a world cannot be, or a step cannot be made in it: a code and what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub code: &'static str,
    pub detail: serde_json::Value,
}

impl Refused {
    pub fn new(code: &'static str, detail: serde_json::Value) -> Self {
        Refused { code, detail }
    }
}

impl World {
    /// All permissions of its types.
    pub(super) fn permissions(&self) -> Result<Permissions, Refused> {
        let types = self.types.values().map(|kind| (kind.name.clone(), kind.actions.clone())).collect();
        let mut permissions = Permissions::new(&types)
            .map_err(|count| Refused::new("access.too_many", serde_json::json!({ "permissions": count })))?;
        for kind in self.types.values() {
            permissions = permissions.with_attributes(&kind.name, &kind.attributes);
            permissions =
                permissions.with_implies(&kind.name, &kind.implies).map_err(|error| match error {
                    crate::access::ImpliesError::Cycle { path } => {
                        Refused::new("access.cycle", serde_json::json!({ "path": path }))
                    }
                    crate::access::ImpliesError::Unknown { permission } => Refused::new(
                        "access.unknown_permission",
                        serde_json::json!({ "permission": permission }),
                    ),
                })?;
        }
        Ok(permissions)
    }

    /// Compiles it. The world is whole: each step is checked before it is kept.
    pub(super) fn ready(&self) -> Result<Ready, Refused> {
        let permissions = self.permissions()?;
        let roles = self.closed_roles(&permissions)?;
        let mut names = Names::default();
        let mut grants = Vec::with_capacity(self.grants.len());
        for (index, grant) in self.grants.values().enumerate() {
            grants.push(Grant {
                id: Uuid::from_u128(index as u128),
                holder: names.holder(&grant.holder),
                effect: grant.effect,
                target: grant.target.clone(),
                resource: grant.resource.clone(),
                interval: grant.interval,
                condition: grant.condition.clone(),
            });
        }
        let memberships = self.memberships.iter().map(|own| Membership {
            group: names.id(&Party::new("group", &own.group)),
            member: names.holder(&own.member),
            interval: own.interval,
        });
        let memberships: Vec<Membership> = memberships.collect();
        let principals = self.people.iter().filter_map(|party| match names.holder(party) {
            Holder::Principal(principal) => Some(principal),
            _ => None,
        });
        let principals: Vec<Principal> = principals.collect();
        let resource = |(name, parent): (&ResourceName, &Option<ResourceName>)| Resource {
            name: name.clone(),
            parent: parent.clone(),
            attributes: self.attributes.get(name).cloned().unwrap_or_default(),
        };
        let resources: Vec<Resource> = self.resources.iter().map(resource).collect();
        let apart: Vec<Constraint> = self.constraints.values().cloned().collect();
        let chosen = self.active.iter().filter_map(|(party, active)| match names.holder(party) {
            Holder::Principal(principal) => Some(Chosen { session: None, principal, active: active.clone() }),
            _ => None,
        });
        let chosen: Vec<Chosen> = chosen.collect();
        let model = Model {
            permissions: &permissions,
            roles: &roles,
            grants: &grants,
            memberships: &memberships,
            resources: &resources,
            principals: &principals,
            sessions: Sessions { apart: &apart, chosen: &chosen },
        };
        let table = model.compile(0);
        let grant_ids = self.grants.keys().cloned().collect();
        Ok(Ready {
            permissions,
            roles,
            grants,
            grant_ids,
            memberships,
            resources,
            principals,
            apart,
            chosen,
            names,
            table,
        })
    }

    pub(super) fn closed_roles(&self, permissions: &Permissions) -> Result<RoleCatalogue, Refused> {
        let roles: Vec<RoleDefinition> = self.roles.values().cloned().collect();
        RoleCatalogue::new(&roles, permissions).map_err(|error| match error {
            crate::access::RoleError::Cycle { path } => {
                Refused::new("access.cycle", serde_json::json!({ "path": path }))
            }
            crate::access::RoleError::UnknownPermission { permission, .. } => {
                Refused::new("access.unknown_permission", serde_json::json!({ "permission": permission }))
            }
            crate::access::RoleError::UnknownRole { inherits, .. } => {
                Refused::new("access.unknown_role", serde_json::json!({ "role": inherits }))
            }
        })
    }
}

impl Ready {
    /// What was compiled.
    pub fn model(&self) -> Model<'_> {
        Model {
            permissions: &self.permissions,
            roles: &self.roles,
            grants: &self.grants,
            memberships: &self.memberships,
            resources: &self.resources,
            principals: &self.principals,
            sessions: Sessions { apart: &self.apart, chosen: &self.chosen },
        }
    }
}
