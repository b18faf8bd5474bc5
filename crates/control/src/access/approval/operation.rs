//! What needs a second person's yes, and how it happens then.

use jiff::SignedDuration;
use rowhouse_domain::access::{
    AccessTable, GrantEffect, GrantTarget, Handed, Holder, PermissionSet, Principal,
};
use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::queries::ApprovalRow;
use super::{person, settings};
use crate::Control;
use crate::access::api::{GrantBody, parse};
use crate::access::resources_api::ThingBody;
use crate::access::{Authority, NewGrant, Rules, grant, stored};

/// A grant as somebody with authority asks for it.
pub(super) const GRANT: &str = "access.grant";
/// A role that somebody asks for, for themselves and for a time.
pub(super) const ROLE: &str = "access.request";
/// That two people are not asked any more.
pub(super) const SETTINGS: &str = "access.settings";

/// Longest time for which somebody can ask for a role: 30 days.
const MINUTES_MAX: u32 = 30 * 24 * 60;

/// Something that waits for a second person.
#[derive(Debug, Clone)]
pub(in crate::access) struct Asked {
    /// In which tenant.
    pub tenant: TenantId,
    /// What it is.
    pub operation: &'static str,
    /// As it was sent.
    pub request: Value,
    /// What it would do.
    pub would: Value,
    /// Why.
    pub reason: String,
    /// The same for people.
    pub words: String,
}

/// A role for oneself, for a time.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleRequest {
    /// Which.
    pub role: String,
    /// On which thing and what it holds; the whole tenant if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ThingBody>,
    /// For how long from the yes on: 1 to 43,200 (30 days).
    pub minutes: u32,
    /// What for: 1 to 500 characters.
    pub reason: String,
}

impl RoleRequest {
    fn new_grant(self, control: &Control, who: Principal) -> Result<NewGrant, Refusal> {
        let wrong = |pointer: &str, detail: &str| {
            Refusal::new(&kind::INVALID, "The request is not well-formed.").field(pointer, "invalid", detail)
        };
        if !(1..=MINUTES_MAX).contains(&self.minutes) {
            return Err(wrong("/minutes", "1 to 43,200"));
        }
        if !(1..=500).contains(&self.reason.chars().count()) {
            return Err(wrong("/reason", "1 to 500 characters"));
        }
        let until = control.clock().now() + SignedDuration::from_mins(i64::from(self.minutes));
        Ok(NewGrant {
            resource: self.resource.map(Into::into),
            valid_until: Some(until),
            ..NewGrant::role(who, &self.role, &self.reason)
        })
    }

    /// Judged as if it were given now by who may give everything.
    pub(super) async fn asked(
        self,
        control: &Control,
        transaction: &Transaction,
        (tenant, who): (TenantId, Principal),
    ) -> Result<Asked, Refusal> {
        let request = serde_json::to_value(&self).expect("wire types are JSON");
        let (reason, role, minutes) = (self.reason.clone(), self.role.clone(), self.minutes);
        let new = self.new_grant(control, who)?;
        let judged = grant::judge(transaction, tenant, new, &[&Authority::System]).await?;
        Ok(Asked {
            tenant,
            operation: ROLE,
            request,
            would: would(&judged.rules, &judged.handed),
            reason,
            words: format!("the role {role} for {minutes} minutes"),
        })
    }
}

/// What a grant would hand over.
fn would(rules: &Rules, handed: &Handed) -> Value {
    let end = |us: i64| crate::access::queries::bound(us).map(|time| time.to_string());
    json!({
        "gives": rules.permissions.names_of(&handed.set),
        "valid_from": end(handed.interval.from_us),
        "valid_until": end(handed.interval.until_us),
    })
}

/// Whether `tenant` wants two people for giving this.
async fn is_sensitive(
    transaction: &Transaction,
    tenant: TenantId,
    (rules, set): (&Rules, &PermissionSet),
) -> Result<bool, Refusal> {
    let mut sensitive = *set;
    sensitive.intersect(rules.permissions.sensitive());
    Ok(!sensitive.is_empty() && settings::is_by_two(transaction, tenant).await?)
}

/// What to ask for if the grant takes two people, judged as if it were made now.
pub(in crate::access) async fn wanted(
    transaction: &Transaction,
    tenant: TenantId,
    (new, sent): (&NewGrant, &Value),
    authority: &Authority,
) -> Result<Option<Asked>, Refusal> {
    if new.effect == GrantEffect::Deny || !settings::is_by_two(transaction, tenant).await? {
        return Ok(None);
    }
    let reason = new.reason.clone();
    let words = match &new.target {
        GrantTarget::Role(role) => format!("the role {role} for somebody"),
        GrantTarget::Permission(permission) => format!("the permission {permission} for somebody"),
    };
    let judged = grant::judge(transaction, tenant, new.clone(), &[authority]).await?;
    if !is_sensitive(transaction, tenant, (&judged.rules, &judged.handed.set)).await? {
        return Ok(None);
    }
    let would = would(&judged.rules, &judged.handed);
    Ok(Some(Asked { tenant, operation: GRANT, request: sent.clone(), would, reason, words }))
}

/// 409 `access.approval_needed` for somebody who would give alone what takes two, in another way than by a grant.
///
/// # Errors
/// See above; and if the database fails.
pub async fn refuse_alone(
    transaction: &Transaction,
    tenant: TenantId,
    (authority, rules): (&Authority, &Rules),
    set: &PermissionSet,
) -> Result<(), Refusal> {
    match authority {
        Authority::System => Ok(()),
        _ => refuse_sensitive(transaction, tenant, (rules, set)).await,
    }
}

/// The same for what somebody began to give alone before, whoever it was: what takes two counts when it is given.
///
/// # Errors
/// As [`refuse_alone`].
pub async fn refuse_sensitive(
    transaction: &Transaction,
    tenant: TenantId,
    (rules, set): (&Rules, &PermissionSet),
) -> Result<(), Refusal> {
    match is_sensitive(transaction, tenant, (rules, set)).await? {
        false => Ok(()),
        true => Err(Refusal::new(
            &kind::APPROVAL_NEEDED,
            "This would give sensitive permissions, which takes two people here.",
        )),
    }
}

/// What came of a yes.
pub(super) enum Outcome {
    /// It has happened, but for the commit.
    Done(Value, Vec<Change>),
    /// It does not fit any more, and why.
    Stale(Refusal),
}

/// Whom an operation is for.
pub(super) fn beneficiary(row: &ApprovalRow) -> Result<Option<Holder>, Refusal> {
    match row.operation.as_str() {
        GRANT => Ok(Some(read_grant(row)?.holder)),
        ROLE => Ok(Some(Holder::Principal(person(row.requester)))),
        _ => Ok(None),
    }
}

fn unreadable(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(&kind::INTERNAL, "What was asked for cannot be read any more.").private(error.to_string())
}

fn read_grant(row: &ApprovalRow) -> Result<NewGrant, Refusal> {
    let body: GrantBody = serde_json::from_value(row.request.clone()).map_err(unreadable)?;
    parse(body)
}

/// Does it, by right of who asked and of who says yes.
///
/// # Errors
/// 403 `access.escalation` for who says yes and could not do it himself; and if the database fails.
pub(super) async fn run(
    control: &Control,
    transaction: &Transaction,
    row: &ApprovalRow,
    approver: &Authority,
) -> Result<Outcome, Refusal> {
    let (tenant, asker) = (row.tenant, person(row.requester));
    let new = match row.operation.as_str() {
        GRANT => read_grant(row)?,
        ROLE => {
            let request: RoleRequest = serde_json::from_value(row.request.clone()).map_err(unreadable)?;
            request.new_grant(control, asker)?
        }
        SETTINGS => {
            let asks = asker_of(control, transaction, row).await?;
            if !asks.may("constraint:delete") {
                return Ok(Outcome::Stale(lost("constraint:delete")));
            }
            let change = settings::set(transaction, tenant, false).await?;
            return Ok(Outcome::Done(json!({ "approve_sensitive_grants": false }), vec![change]));
        }
        other => return Err(unreadable(format!("the operation {other}"))),
    };
    // First what is for who says yes to hear, then what has changed since it was asked for.
    let judged = match grant::judge(transaction, tenant, new, &[approver]).await {
        Ok(judged) => judged,
        Err(refusal) if refusal.code() == kind::ACCESS_ESCALATION.code || refusal.status() >= 500 => {
            return Err(refusal);
        }
        Err(refusal) => return Ok(Outcome::Stale(refusal)),
    };
    if let Some(more) = beyond_what_was_shown(row, &judged.rules, &judged.handed) {
        return Ok(Outcome::Stale(more));
    }
    if row.operation == GRANT {
        let asks = asker_of(control, transaction, row).await?;
        if !asks.may("grant:create") {
            return Ok(Outcome::Stale(lost("grant:create")));
        }
        if let Err(refusal) = judged.rules.refuse_handing(&asks, std::slice::from_ref(&judged.handed)) {
            return Ok(Outcome::Stale(refusal));
        }
    }
    let (granted, _, change) = grant::make(transaction, judged).await?;
    Ok(Outcome::Done(json!({ "grant": granted.id.to_string() }), vec![change]))
}

/// Who says yes has read what it would give: a role that has come to mean more since, or another one of its name, is not what was agreed to.
fn beyond_what_was_shown(row: &ApprovalRow, rules: &Rules, handed: &Handed) -> Option<Refusal> {
    let shown: Vec<_> =
        row.would["gives"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let names = rules.permissions.names_of(&handed.set);
    let more: Vec<_> = names.into_iter().filter(|name| !shown.contains(name)).collect();
    (!more.is_empty()).then(|| {
        let words = format!("It would give more by now than was asked for: {}.", more.join(", "));
        Refusal::new(&kind::ACCESS_ESCALATION, words)
    })
}

fn lost(permission: &str) -> Refusal {
    Refusal::new(&kind::ACCESS_DENIED, format!("Who asked has not got `{permission}` any more."))
}

/// What who asked may do now: as the running transaction sees it in the tenant itself, and for the operator's people as the
/// directory says, which is of this second.
async fn asker_of(
    control: &Control,
    transaction: &Transaction,
    row: &ApprovalRow,
) -> Result<Authority, Refusal> {
    let asker = person(row.requester);
    if row.requester_home != row.tenant {
        let (directory, now_us) = (control.directory.current(), control.clock().now_us());
        return Ok(Authority::of_person(&directory, (row.requester_home, asker), (row.tenant, now_us)));
    }
    let rules = Rules::load_for(transaction, row.tenant).await?;
    let active = crate::identity::active_people(transaction, &[row.tenant.0]).await?;
    let is_active = active.iter().any(|(_, user)| *user == row.requester);
    let own = stored::with_everybody(transaction, row.tenant, &rules).await?;
    let table = if is_active { own.compile(&rules) } else { AccessTable::default() };
    Ok(Authority::as_stored(&rules, table, (asker, control.clock().now_us())))
}
