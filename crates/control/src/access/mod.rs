//! Who may do what: grants of roles and permissions, and why a decision came out as it did.
//!
//! Every change of a tenant's access raises its access version in the same transaction. Nobody gives what he does not
//! hold ([`Authority`]). Decisions themselves are `domain::access`, from the compiled directory.

pub mod active_roles;
mod active_roles_api;
mod administrators;
mod api;
mod approval;
mod authority;
mod authzen;
mod conditions_api;
mod constraint;
mod constraints_api;
mod explain;
mod grant;
mod group;
mod group_queries;
mod groups_api;
mod member;
mod operator_constraint;
mod queries;
mod resource_queries;
mod resources_api;
mod review;
mod review_api;
mod role_queries;
mod roles;
mod roles_api;
mod simulate;
mod stored;
mod thing;

pub use administrators::{administrators, refuse_last_administrator, take};
pub use api::routes;
pub use approval::{expire as expire_approvals, refuse_alone, refuse_sensitive, run};
pub use authority::{Authority, Rules};
pub use grant::{NewGrant, grant, remove, take_back};
pub use group::leave_groups;
pub use queries::{GrantRow, grants_of, load_grants, roles_of_people};
pub use role_queries::{RoleRow, load_roles};
pub use stored::{Stored, load_stored};
