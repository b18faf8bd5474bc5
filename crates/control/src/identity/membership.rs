//! Suspending, resuming and removing members.

use rowhouse_domain::access::{GrantEffect, Holder, Permit, Principal, PrincipalKind};
use rowhouse_domain::id::{RequestId, TenantId, UserId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Notice, Transaction};
use serde_json::json;

use super::queries::{self, MemberRow, MembershipStatus};
use super::session;
use crate::{Control, access};

/// What is done to a membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// May not enter until resumed.
    Suspend,
    /// May enter again.
    Resume,
    /// Is gone, with all grants in the tenant.
    Remove,
}

impl Step {
    fn states(self) -> (&'static [&'static str], MembershipStatus) {
        match self {
            Step::Suspend => (&["active"], MembershipStatus::Suspended),
            Step::Resume => (&["suspended"], MembershipStatus::Active),
            Step::Remove => (&["active", "suspended"], MembershipStatus::Removed),
        }
    }

    fn event(self) -> (&'static str, &'static str) {
        match self {
            Step::Suspend => ("identity.member_suspended", "update"),
            Step::Resume => ("identity.member_resumed", "update"),
            Step::Remove => ("identity.member_removed", "delete"),
        }
    }
}

/// Takes a step. Twice is once: a member who stands so already is left so.
///
/// # Errors
/// 404 for who does not belong to the tenant; 409 `access.last_admin`; 409 `identity.wrong_status`.
pub async fn change(
    control: &Control,
    permit: &Permit,
    (tenant, user): (TenantId, UserId),
    step: Step,
    request_id: RequestId,
) -> Result<MemberRow, Refusal> {
    let transaction = control.store.write(permit).await?;
    let before = known(&transaction, tenant, user).await?;
    let (from, to) = step.states();
    if before.status == to {
        transaction.rollback().await?;
        return Ok(before);
    }
    if step != Step::Resume {
        access::refuse_last_administrator(&transaction, tenant, user).await?;
    }
    let now = control.clock().now();
    if !queries::set_member_status(&transaction, (tenant, user), from, to, now).await? {
        let detail = format!("The membership is {}.", before.status.as_str());
        return Err(Refusal::new(&kind::MEMBERSHIP_WRONG_STATUS, detail));
    }
    let (event, action) = step.event();
    let mut changes = vec![
        Change::new(tenant, event, action, permit.principal())
            .on("user", user)
            .details(json!({ "from": before.status.as_str() }))
            .request(request_id)
            .notify(Notice::tenant(tenant)),
    ];
    if step != Step::Resume {
        let because = if step == Step::Remove { "member_removed" } else { "member_suspended" };
        changes.extend(session::end_all(&transaction, (tenant, user), because, permit.principal()).await?);
    }
    if step == Step::Remove {
        changes.extend(take_grants(&transaction, tenant, user).await?);
    }
    let after = queries::find_member(&transaction, tenant, user).await?;
    transaction.commit_all(changes).await?;
    // Once removed the tenant no longer sees the person: what was known before is told.
    Ok(after.unwrap_or(MemberRow { status: to, version: before.version + 1, ..before }))
}

async fn known(transaction: &Transaction, tenant: TenantId, user: UserId) -> Result<MemberRow, Refusal> {
    let row = queries::find_member(transaction, tenant, user).await?;
    row.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such member."))
}

/// All that a person was allowed in a tenant is taken back, and they leave its groups.
async fn take_grants(tx: &Transaction, tenant: TenantId, user: UserId) -> Result<Vec<Change>, Refusal> {
    let theirs = Holder::Principal(Principal { kind: PrincipalKind::User, id: user.0 });
    let mut changes = access::leave_groups(tx, tenant, theirs).await?;
    for (id, grant) in access::grants_of(tx, tenant, user.0).await? {
        // A denial stays: who comes again is still denied it, until somebody with authority lifts it.
        if grant.holder == theirs
            && grant.effect == GrantEffect::Allow
            && let Some((_, change)) = access::remove(tx, id).await?
        {
            changes.push(change);
        }
    }
    Ok(changes)
}
