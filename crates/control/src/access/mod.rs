//! Who may do what: grants of roles and permissions, and why a decision came out as it did.
//!
//! Every change of a tenant's access raises its access version in the same transaction. Nobody gives what he does not
//! hold ([`Authority`]). Decisions themselves are `domain::access`, from the compiled directory.

mod api;
mod authority;
mod explain;
mod grant;
mod queries;
mod role_queries;
mod roles;
mod roles_api;
mod simulate;

pub use api::routes;
pub use authority::{Authority, Rules};
pub use grant::{NewGrant, grant, remove, take_back};
pub use queries::{GrantRow, grants_of, load_grants, load_versions};
pub use role_queries::{RoleRow, load_roles};
