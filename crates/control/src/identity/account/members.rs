//! Nobody takes from a person what is more than their own.

use rowhouse_domain::access::{Principal, PrincipalKind};
use rowhouse_domain::id::{TenantId, UserId};
use rowhouse_domain::refusal::{Refusal, kind};

use crate::api::Caller;

/// 403 `access.escalation` if the person may do in the tenant what the caller may not.
pub fn refuse_more_privileged(caller: &Caller, tenant: TenantId, user: UserId) -> Result<(), Refusal> {
    let directory = caller.directory();
    let Some(home) = directory.tenants.get(&tenant) else { return Ok(()) };
    let principal = Principal { kind: PrincipalKind::User, id: user.0 };
    // What they may under a condition is theirs too, and what they may in another session by choosing other roles.
    let theirs = home.access.within_reach(&principal, caller.now_us());
    let theirs = directory.permissions.names_of(&theirs).into_iter();
    let beyond = theirs.filter(|name| caller.permit(name, Some(tenant)).is_err()).count();
    match beyond {
        0 => Ok(()),
        _ => Err(Refusal::new(&kind::ACCESS_ESCALATION, "The person may do more than you.")),
    }
}
