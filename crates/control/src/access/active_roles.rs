//! Which of a person's roles are active in a session, where a constraint of kind `dynamic` does not let all of them be. The person
//! chooses; what is chosen is kept with the session and ends with it.

use std::collections::BTreeSet;

use rowhouse_domain::access::{Activity, Constraint, Permit, Principal, PrincipalKind};
use rowhouse_domain::id::{RequestId, SessionId, TenantId, UserId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Notice, Transaction};
use serde_json::json;

use super::administrators::take;
use super::{Rules, constraint, stored};
use crate::{Control, identity};

/// At most so many roles are named.
pub const ACTIVE_MAX: usize = 200;

/// A person's session in a tenant.
#[derive(Debug, Clone, Copy)]
pub struct Sitting {
    /// Where.
    pub tenant: TenantId,
    /// The session.
    pub session: SessionId,
    /// Whose.
    pub user: UserId,
}

impl Sitting {
    fn principal(self) -> Principal {
        Principal { kind: PrincipalKind::User, id: self.user.0 }
    }

    async fn chosen(self, transaction: &Transaction) -> Result<Option<Vec<String>>, Refusal> {
        let now = transaction.store().clock().now();
        let whose = (self.tenant, self.session, self.user);
        let chosen = identity::active_roles(transaction, whose, now).await?;
        chosen.ok_or_else(|| Refusal::new(&kind::SESSION_ENDED, "The session has ended."))
    }

    async fn begin(self, control: &Control) -> Result<Transaction, Refusal> {
        let permit = Permit::for_system(Some(self.tenant), "the roles of a person's own session");
        Ok(control.store.write(&permit).await?)
    }
}

/// The person's roles: those that are active in the session, and those that are not.
///
/// # Errors
/// 401 `identity.session_ended`; if the database fails.
pub async fn read(control: &Control, own: Sitting) -> Result<Activity, Refusal> {
    let transaction = own.begin(control).await?;
    let chosen = own.chosen(&transaction).await?.unwrap_or_default();
    let rules = Rules::load_for(&transaction, own.tenant).await?;
    let stored = stored::of_one(&transaction, own.tenant, &rules).await?;
    transaction.rollback().await?;
    Ok(stored.model(&rules).activity(own.principal(), &chosen, control.clock().now_us()))
}

/// What a person chooses among.
#[derive(Debug)]
pub struct Choice {
    /// The constraints that do not let all that they have be active, each with those of its roles that they have.
    pub apart: Vec<Constraint>,
    /// Their roles as they are now.
    pub activity: Activity,
}

/// What there is to choose in a session; none for who acts in all that they have.
///
/// # Errors
/// As [`read`].
pub async fn choice(control: &Control, own: Sitting) -> Result<Option<Choice>, Refusal> {
    let permit = Permit::for_system(Some(own.tenant), "whether a person's own roles exclude each other");
    let transaction = control.store.read(&permit).await?;
    let apart = constraint::load_dynamic(&transaction, Some(own.tenant)).await?;
    transaction.finish().await?;
    if apart.is_empty() {
        return Ok(None);
    }
    let activity = read(control, own).await?;
    let had = |role: &String| activity.active.contains(role) || activity.inactive.contains(role);
    let apart = apart.into_iter().map(|(_, mut one)| {
        one.roles.retain(had);
        one
    });
    let apart: Vec<Constraint> = apart.filter(|one| one.roles.len() > one.at_most as usize).collect();
    Ok((!apart.is_empty()).then_some(Choice { apart, activity }))
}

/// Makes these roles active, each with what it inherits, and no others of those of which not all may be.
///
/// # Errors
/// 422 `access.unknown_role` for a role that the person does not have; 409 `access.roles_exclude_each_other` with the constraint; 401
/// `identity.session_ended`; if the database fails.
pub async fn activate(
    control: &Control,
    own: Sitting,
    active: Vec<String>,
    request_id: RequestId,
) -> Result<Activity, Refusal> {
    let active: Vec<String> = active.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    let transaction = own.begin(control).await?;
    let version = take(&transaction, own.tenant).await?;
    let before = own.chosen(&transaction).await?;
    let rules = Rules::load_for(&transaction, own.tenant).await?;
    let stored = stored::of_one(&transaction, own.tenant, &rules).await?;
    let model = stored.model(&rules);
    let activity = model.activity(own.principal(), &active, control.clock().now_us());
    let has = |role: &String| activity.active.contains(role) || activity.inactive.contains(role);
    if let Some(role) = active.iter().find(|role| !has(role)) {
        let detail = format!("You do not have the role `{role}` here.");
        return Err(Refusal::new(&kind::UNKNOWN_ROLE, detail).field(
            "/active",
            "unknown",
            "roles that you have",
        ));
    }
    if let Some((constraint, together)) = model.excluding(&active) {
        let detail = format!(
            "`{}` lets at most {} of {} be active together.",
            constraint.name,
            constraint.at_most,
            constraint.roles.join(", ")
        );
        return Err(Refusal::new(&kind::ROLES_EXCLUDE_EACH_OTHER, detail)
            .member("constraint", constraint.name.as_str())
            .member("together", together));
    }
    if before.as_ref() == Some(&active) {
        transaction.rollback().await?;
        return Ok(activity);
    }
    identity::keep_active_roles(&transaction, own.session, &active).await?;
    let details =
        json!({ "before": before.unwrap_or_default(), "active": active, "access_version": version });
    let change = Change::new(own.tenant, "access.roles_activated", "update", own.principal())
        .on("session", own.session)
        .details(details)
        .notify(Notice::tenant(own.tenant))
        .request(request_id);
    transaction.commit(change).await?;
    Ok(activity)
}
