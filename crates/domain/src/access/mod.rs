//! Who may do what: permissions, roles, grants, compiled into bit sets; one `decide` for both planes.
//!
//! Nothing is cached: what a principal may do is computed when a role or grant changes, never on a request.
//! Deny wins over every allow. Default is deny.

mod audited;
mod bounds;
mod compile;
mod condition;
mod decide;
mod duty;
mod explain;
mod handed;
mod interval;
mod model;
mod permission;
mod resource_type;
mod role;
mod roster;
mod session;
#[cfg(feature = "conditions")]
pub mod simulate;
mod table;
mod tenant_role;
#[cfg(test)]
mod tests;

pub use audited::{DecisionAudit, UnknownAudit};
pub use bounds::{Breach, MEMBERS, REQUIRED_MAX};
pub use compile::compile;
pub use condition::{
    Attribute, AttributeKind, BATCH_MAX, Batch, CONDITIONS_MAX, Condition, ConditionFault, DECISION_MAX,
    Described, Facts, GIVEN_MAX, MEMBERS_MAX, Outcome, SET_MAX, attribute_faults,
};
pub use decide::{
    Decision, Moment, Permit, Reason, decide, decide_key, decide_key_of, decide_of, decide_on, may, may_on,
    of_key,
};
pub use duty::{APART, Constraint, ConstraintKind, Offence};
pub use explain::{Explained, Step, explain, explain_in};
pub use handed::Handed;
pub use interval::{Interval, State};
pub use model::{
    Grant, GrantDefinition, GrantEffect, GrantTarget, Holder, Membership, Model, Resource, ResourceKey,
    ResourceName,
};
pub use permission::{ImpliesError, PermissionId, PermissionSet, Permissions};
pub use resource_type::{ResourceType, RoleDefaults, with_standard_actions};
pub use role::{
    BY_NAME_ONLY, RoleCatalogue, RoleDefinition, RoleError, key_permits, shipped_roles, standard_actions,
};
use serde::{Deserialize, Serialize};
pub use session::{Activity, Chosen, Sessions};
pub use table::{AccessTable, PrincipalRights};
pub use tenant_role::{TenantRoleError, check_tenant_roles, composable, is_for_operator};
use uuid::Uuid;

/// Kinds of principals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKind {
    /// A person.
    User,
    /// A machine's own principal.
    ServiceAccount,
    /// A key, acting for its owner.
    ApiKey,
    /// Rowhouse itself.
    System,
    /// Nobody proven.
    Anonymous,
}

impl PrincipalKind {
    /// The word used everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            PrincipalKind::User => "user",
            PrincipalKind::ServiceAccount => "service_account",
            PrincipalKind::ApiKey => "api_key",
            PrincipalKind::System => "system",
            PrincipalKind::Anonymous => "anonymous",
        }
    }
}

/// Who acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Principal {
    /// What sort.
    pub kind: PrincipalKind,
    /// Which one.
    pub id: Uuid,
}

impl std::fmt::Display for Principal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let prefix = match self.kind {
            PrincipalKind::User => "user",
            PrincipalKind::ServiceAccount => "sa",
            PrincipalKind::ApiKey => "key",
            PrincipalKind::System => return out.write_str("system"),
            PrincipalKind::Anonymous => return out.write_str("anonymous"),
        };
        write!(out, "{prefix}_{}", crate::id::encode(self.id.as_u128()))
    }
}
