//! Giving and taking back.

use jiff::Timestamp;
use rowhouse_domain::access::{
    GrantDefinition, GrantEffect, GrantTarget, PermissionSet, Principal, PrincipalKind,
};
use rowhouse_domain::id::{GrantId, TenantId, UserId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Notice, Transaction};
use serde_json::json;

use super::queries::{self, GrantRow};
use super::{Authority, Rules};
use crate::identity::{self, ADMINISTRATOR_ROLES};

/// A grant to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewGrant {
    /// Whom it is for.
    pub principal: Principal,
    /// Gives or forbids.
    pub effect: GrantEffect,
    /// What.
    pub target: GrantTarget,
    /// From this instant.
    pub valid_from: Option<Timestamp>,
    /// Until before this instant.
    pub valid_until: Option<Timestamp>,
    /// Why; at most 500 characters.
    pub reason: String,
}

impl NewGrant {
    /// A role, for good.
    pub fn role(principal: Principal, role: &str, reason: &str) -> Self {
        NewGrant {
            principal,
            effect: GrantEffect::Allow,
            target: GrantTarget::Role(role.to_owned()),
            valid_from: None,
            valid_until: None,
            reason: reason.to_owned(),
        }
    }
}

/// Makes a grant in `tenant` within `transaction`; what to commit it with comes back beside it, with the tenant's new
/// access version.
///
/// # Errors
/// 422 for an unknown role or permission, a bad interval or principal; 403 `access.escalation` for more than
/// `authority` holds, or for a denial without `grant:deny`.
pub async fn grant(
    transaction: &Transaction,
    tenant: TenantId,
    new: NewGrant,
    authority: &Authority,
) -> Result<(GrantRow, i64, Change), Refusal> {
    let store = transaction.store();
    let now = store.clock().now();
    check(&new, now)?;
    let rules = Rules::load_for(transaction, tenant).await?;
    let given = rules.target(&new.target)?;
    refuse(&rules, authority, new.effect, &given)?;
    if new.principal.kind == PrincipalKind::ServiceAccount {
        crate::keys::service_account_of(transaction, tenant, new.principal.id).await?;
    }
    if new.principal.kind == PrincipalKind::User {
        let user = UserId(new.principal.id);
        let stranger = || {
            Refusal::new(&kind::INVALID, "The person does not belong to the tenant.").field(
                "/principal/id",
                "unknown",
                "invite them first",
            )
        };
        if !identity::is_member(transaction, tenant, user).await? {
            return Err(stranger());
        }
    }
    let micros = |time: Option<Timestamp>| time.map(|time| time.as_microsecond());
    let row = GrantRow {
        id: GrantId(store.entropy().uuid_v7(now.as_microsecond())),
        tenant,
        definition: GrantDefinition {
            principal: new.principal,
            effect: new.effect,
            target: new.target,
            valid_from_us: micros(new.valid_from),
            valid_until_us: micros(new.valid_until),
        },
        reason: new.reason,
        granted_by: transaction.principal().to_string(),
        created_at: now,
        removed_at: None,
    };
    queries::insert(transaction, &row).await?;
    let version = queries::raise_version(transaction, tenant).await?;
    let event = match row.definition.target {
        GrantTarget::Role(_) => "access.role_assigned",
        GrantTarget::Permission(_) => "access.permission_granted",
    };
    let change = change(&row, event, "create", transaction.principal(), version);
    Ok((row, version, change))
}

/// 403 `access.escalation` for more than `authority` holds. Who denies, or lifts a denial, also needs `grant:deny`.
fn refuse(
    rules: &Rules,
    authority: &Authority,
    effect: GrantEffect,
    given: &PermissionSet,
) -> Result<(), Refusal> {
    match effect {
        GrantEffect::Allow => rules.refuse_escalation(authority, &rules.permissions.closed(given)),
        GrantEffect::Deny => rules
            .refuse_escalation(authority, given)
            .and_then(|()| rules.refuse_escalation(authority, &rules.permission("grant:deny")?)),
    }
}

/// Takes a grant back within `transaction`; `None` if there is no such grant, or it was taken back before.
///
/// # Errors
/// 409 `access.last_admin` for the grant by which the only administrator is one; 403 `access.escalation` for a denial of more than `authority` holds: lifting it gives.
pub async fn take_back(
    transaction: &Transaction,
    id: GrantId,
    authority: impl FnOnce(TenantId) -> Authority,
) -> Result<Option<(GrantRow, Change)>, Refusal> {
    let now = transaction.store().clock().now();
    let Some(row) = queries::one(transaction, id).await? else { return Ok(None) };
    if row.definition.effect == GrantEffect::Deny {
        let rules = Rules::load_for(transaction, row.tenant).await?;
        // What it denies may not exist any more; then lifting it gives nothing.
        let lifted = rules.target(&row.definition.target).unwrap_or_default();
        refuse(&rules, &authority(row.tenant), GrantEffect::Deny, &lifted)?;
    }
    refuse_last_administrator(transaction, &row).await?;
    if !queries::remove(transaction, id, now).await? {
        return Ok(None);
    }
    let version = queries::raise_version(transaction, row.tenant).await?;
    let event = match row.definition.target {
        GrantTarget::Role(_) => "access.role_revoked",
        GrantTarget::Permission(_) => "access.permission_revoked",
    };
    let change = change(&row, event, "delete", transaction.principal(), version);
    Ok(Some((row, change)))
}

/// A tenant keeps somebody who administers it, once it has.
async fn refuse_last_administrator(transaction: &Transaction, row: &GrantRow) -> Result<(), Refusal> {
    let GrantDefinition { principal, effect, target, .. } = &row.definition;
    let administers = matches!(target, GrantTarget::Role(role) if ADMINISTRATOR_ROLES.contains(&&**role));
    if !administers || principal.kind != PrincipalKind::User || *effect != GrantEffect::Allow {
        return Ok(());
    }
    identity::refuse_last_administrator(transaction, row.tenant, UserId(principal.id)).await
}

/// The same by Rowhouse itself.
pub async fn remove(transaction: &Transaction, id: GrantId) -> Result<Option<(GrantRow, Change)>, Refusal> {
    take_back(transaction, id, |_| Authority::System).await
}

fn check(new: &NewGrant, now: Timestamp) -> Result<(), Refusal> {
    let mut wrong = Vec::new();
    if new.reason.chars().count() > 500 {
        wrong.push(("/reason", "too_long", "at most 500 characters"));
    }
    if new.valid_until.is_some_and(|until| until <= now) {
        wrong.push(("/valid_until", "in_the_past", "a time to come"));
    }
    if let (Some(from), Some(until)) = (new.valid_from, new.valid_until)
        && from >= until
    {
        wrong.push(("/valid_until", "out_of_bounds", "after `valid_from`"));
    }
    if !matches!(new.principal.kind, PrincipalKind::User | PrincipalKind::ServiceAccount) {
        wrong.push(("/principal/kind", "unknown", "user or service_account; a key has the rights it lists"));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let refusal = Refusal::new(&kind::INVALID, "The grant is not well-formed.");
    Err(wrong.into_iter().fold(refusal, |refusal, (at, code, detail)| refusal.field(at, code, detail)))
}

fn change(row: &GrantRow, event: &str, action: &str, actor: Principal, version: i64) -> Change {
    let definition = &row.definition;
    let (what, name) = match &definition.target {
        GrantTarget::Role(role) => ("role", role),
        GrantTarget::Permission(permission) => ("permission", permission),
    };
    let effect = if definition.effect == GrantEffect::Allow { "allow" } else { "deny" };
    let mut details = json!({
        "effect": effect,
        "access_version": version,
        "valid_from_us": definition.valid_from_us,
        "valid_until_us": definition.valid_until_us,
    });
    details[what] = name.as_str().into();
    Change::new(row.tenant, event, action, actor)
        .on("grant", row.id)
        .on(definition.principal.kind.as_str(), definition.principal)
        .details(details)
        .notify(Notice::tenant(row.tenant))
}
