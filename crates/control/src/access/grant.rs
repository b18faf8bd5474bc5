//! Giving and taking back.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rowhouse_domain::access::{
    Attribute, CONDITIONS_MAX, Condition, ConditionFault, Grant, GrantEffect, GrantTarget, Handed, Holder,
    Interval, PermissionSet, Principal, PrincipalKind, ResourceName,
};
use rowhouse_domain::id::{GrantId, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Notice, Transaction};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::administrators::{refuse_unadministered, take};
use super::constraint::{refuse_breaches, refuse_together};
use super::queries::{self, GrantRow};
use super::{Authority, Rules, Stored, approval, load_roles, member, stored, thing};

/// At most so many grants on the whole tenant for one holder.
const GRANTS_MAX: i64 = 1_000;
/// At most so many grants on single things in a tenant.
const ON_THINGS_MAX: i64 = 1_000_000;

/// A grant to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewGrant {
    /// Whom it is for.
    pub holder: Holder,
    /// Gives or forbids.
    pub effect: GrantEffect,
    /// What.
    pub target: GrantTarget,
    /// On which thing and what it holds; `None` is the whole tenant.
    pub resource: Option<ResourceName>,
    /// From this instant.
    pub valid_from: Option<Timestamp>,
    /// Until before this instant.
    pub valid_until: Option<Timestamp>,
    /// Under which condition, a Cedar expression; with what it reads as `context.params`.
    pub condition: Option<(String, Map<String, Value>)>,
    /// Why; at most 500 characters.
    pub reason: String,
}

impl NewGrant {
    /// A role, for good.
    pub fn role(principal: Principal, role: &str, reason: &str) -> Self {
        NewGrant {
            holder: Holder::Principal(principal),
            effect: GrantEffect::Allow,
            target: GrantTarget::Role(role.to_owned()),
            resource: None,
            valid_from: None,
            valid_until: None,
            condition: None,
            reason: reason.to_owned(),
        }
    }
}

/// Makes a grant in `tenant` within `transaction`; what to commit it with comes back beside it, with the tenant's new
/// access version.
///
/// # Errors
/// 422 for an unknown role, permission or resource type, a bad interval or principal, too many grants, or
/// `access.bad_condition`; 403
/// `access.escalation` for more than `authority` holds on that and for that long, or for a denial without `grant:deny`; 409
/// `access.last_admin` for a denial, or a role beyond what may be active together, that leaves nobody who administers the tenant; 409 `access.sod_violation` for what would be
/// together and is kept apart, `access.too_many_members`, `access.missing_prerequisite`; 409 `access.approval_needed` for what
/// takes two people.
pub async fn grant(
    transaction: &Transaction,
    tenant: TenantId,
    new: NewGrant,
    authority: &Authority,
) -> Result<(GrantRow, i64, Change), Refusal> {
    let judged = judge(transaction, tenant, new, &[authority]).await?;
    if judged.handed.effect == GrantEffect::Allow {
        approval::refuse_alone(transaction, tenant, (authority, &judged.rules), &judged.handed.set).await?;
    }
    make(transaction, judged).await
}

/// A grant that can be made within the transaction that it was judged in.
pub(super) struct Judged {
    /// By these.
    pub rules: Rules,
    /// What it hands over.
    pub handed: Handed,
    row: GrantRow,
    version: i64,
}

/// Whether it can be made by each of these authorities. Takes the tenant's access.
pub(super) async fn judge(
    transaction: &Transaction,
    tenant: TenantId,
    new: NewGrant,
    authorities: &[&Authority],
) -> Result<Judged, Refusal> {
    let store = transaction.store();
    let now = store.clock().now();
    check(&new, now)?;
    // First of all: what is read from here on stays so until the commit.
    let version = take(transaction, tenant).await?;
    let rules = Rules::load_for(transaction, tenant).await?;
    let role_id = refuse_unknown(transaction, (tenant, &rules), &new.target).await?;
    if let GrantTarget::Role(role) = &new.target {
        Rules::refuse_operators_role(tenant, role)?;
    }
    if let Some(name) = &new.resource {
        thing::refuse_unknown_type(&rules, name)?;
    }
    let condition = match &new.condition {
        Some(written) => Some(condition(&rules, &new.target, written)?),
        None => None,
    };
    let definition = Grant {
        id: store.entropy().uuid_v7(now.as_microsecond()),
        holder: new.holder,
        effect: new.effect,
        target: new.target,
        resource: new.resource,
        interval: interval(new.valid_from, new.valid_until),
        condition,
    };
    // A denial to everyone reaches people whom no grant to everyone has made it load before.
    let before = match definition.effect {
        GrantEffect::Deny => stored::with_everybody(transaction, tenant, &rules).await?,
        GrantEffect::Allow => stored::of_one(transaction, tenant, &rules).await?,
    };
    let handed = before.model(&rules).handed(&definition);
    for authority in authorities {
        rules.refuse_handing(authority, std::slice::from_ref(&handed))?;
    }
    member::refuse_unknown(transaction, tenant, definition.holder).await?;
    refuse_too_many(transaction, tenant, &definition).await?;
    let mut after = before.clone();
    after.grants.push(definition.clone());
    if definition.condition.is_some() {
        refuse_too_many_conditions(&before, &after, &rules)?;
    }
    match definition.effect {
        GrantEffect::Deny => {
            refuse_unadministered(transaction, tenant, (&before, &rules), (&after, &rules)).await?
        }
        GrantEffect::Allow => {
            refuse_together(transaction, tenant, (&before, &rules), (&after, &rules)).await?;
            // One role more than may be active together: whoever gets it acts in none of them until they have chosen.
            if !before.apart.is_empty() {
                refuse_unadministered(transaction, tenant, (&before, &rules), (&after, &rules)).await?;
            }
        }
    }
    let row = GrantRow {
        id: GrantId(definition.id),
        tenant,
        definition,
        role_id,
        reason: new.reason,
        granted_by: transaction.principal().to_string(),
        created_at: now,
        removed_at: None,
    };
    Ok(Judged { rules, handed, row, version })
}

/// Makes it.
pub(super) async fn make(
    transaction: &Transaction,
    judged: Judged,
) -> Result<(GrantRow, i64, Change), Refusal> {
    let Judged { row, version, .. } = judged;
    queries::insert(transaction, &row).await?;
    let change = change(&row, event(&row), "create", transaction.principal(), version);
    Ok((row, version, change))
}

/// Makes what `holder` is denied by its groups its own, within the transaction in which it leaves them.
pub(super) async fn keep_denials(
    transaction: &Transaction,
    tenant: TenantId,
    holder: Holder,
    version: i64,
) -> Result<Vec<Change>, Refusal> {
    let rules = Rules::load_for(transaction, tenant).await?;
    let stored = stored::of_one(transaction, tenant, &rules).await?;
    let model = stored.model(&rules);
    let store = transaction.store();
    let now = store.clock().now();
    let mut kept: Vec<Grant> = model.grants.iter().filter(|grant| grant.holder == holder).cloned().collect();
    let mut changes = Vec::new();
    for denial in model.denied_by_groups(holder) {
        let says_it = |own: &Grant| {
            own.effect == denial.effect
                && own.target == denial.target
                && own.resource == denial.resource
                && own.interval.contains(denial.interval)
        };
        if kept.iter().any(says_it) {
            continue;
        }
        // A role that is gone denies nothing.
        let role_id = match refuse_unknown(transaction, (tenant, &rules), &denial.target).await {
            Err(refusal) if refusal.status() == kind::UNKNOWN_ROLE.status => continue,
            found => found?,
        };
        let definition = Grant { id: store.entropy().uuid_v7(now.as_microsecond()), ..denial };
        let row = GrantRow {
            id: GrantId(definition.id),
            tenant,
            role_id,
            definition: definition.clone(),
            reason: "Denied through a group, and kept when its member left the tenant.".to_owned(),
            granted_by: transaction.principal().to_string(),
            created_at: now,
            removed_at: None,
        };
        queries::insert(transaction, &row).await?;
        changes.push(change(&row, event(&row), "create", transaction.principal(), version));
        kept.push(definition);
    }
    Ok(changes)
}

fn event(row: &GrantRow) -> &'static str {
    match row.definition.target {
        GrantTarget::Role(_) => "access.role_assigned",
        GrantTarget::Permission(_) => "access.permission_granted",
    }
}

/// An open end is for good.
pub(super) fn interval(from: Option<Timestamp>, until: Option<Timestamp>) -> Interval {
    let micros = |time: Option<Timestamp>| time.map(|time| time.as_microsecond());
    Interval::new(micros(from), micros(until))
}

/// Which of the tenant's own roles it is, if it is one.
async fn refuse_unknown(
    transaction: &Transaction,
    (tenant, rules): (TenantId, &Rules),
    target: &GrantTarget,
) -> Result<Option<Uuid>, Refusal> {
    let _: PermissionSet = match target {
        GrantTarget::Permission(pattern) => rules.permission(pattern)?,
        GrantTarget::Role(role) => rules.role(role)?,
    };
    match target {
        GrantTarget::Role(role) if rules.catalogue.permissions(role).is_none() => {
            let own = load_roles(transaction, Some(tenant)).await?;
            Ok(own.into_iter().find(|row| row.definition.name == *role).map(|row| row.role_id))
        }
        _ => Ok(None),
    }
}

async fn refuse_too_many(transaction: &Transaction, tenant: TenantId, new: &Grant) -> Result<(), Refusal> {
    let (of_holder, on_things) = queries::count(transaction, tenant, new.holder).await?;
    let (count, most, words) = match new.resource {
        None => (of_holder, GRANTS_MAX, "grants on everything for one holder"),
        Some(_) => (on_things, ON_THINGS_MAX, "grants on single things in a tenant"),
    };
    match count < most {
        true => Ok(()),
        false => Err(Refusal::new(&kind::ACCESS_TOO_MANY, format!("There are at most {most} {words}."))),
    }
}

/// A condition, checked against what the types declare that the grant is about.
fn condition(
    rules: &Rules,
    target: &GrantTarget,
    (text, parameters): &(String, Map<String, Value>),
) -> Result<Condition, Refusal> {
    let set = match target {
        GrantTarget::Permission(pattern) => rules.permission(pattern)?,
        GrantTarget::Role(role) => rules.role(role)?,
    };
    let set = rules.permissions.closed(&set);
    check_condition(text, parameters.clone(), &rules.permissions.kinds(&set))
}

/// 422 `access.bad_condition` with line and column.
pub(super) fn check_condition(
    text: &str,
    parameters: Map<String, Value>,
    kinds: &BTreeMap<&str, &[Attribute]>,
) -> Result<Condition, Refusal> {
    Condition::check(text, parameters, kinds).map_err(|fault| {
        let ConditionFault { line, column, message } = &fault;
        Refusal::new(&kind::BAD_CONDITION, format!("The condition is wrong at {fault}."))
            .field("/condition", "malformed", message)
            .member("line", *line)
            .member("column", *column)
    })
}

/// What is asked for one decision is bounded.
fn refuse_too_many_conditions(before: &Stored, after: &Stored, rules: &Rules) -> Result<(), Refusal> {
    let (before, after) = (before.compile(rules), after.compile(rules));
    let beyond = |who: &Principal| {
        let count = after.conditions(who);
        count > CONDITIONS_MAX && count > before.conditions(who)
    };
    match after.principals().find(beyond) {
        None => Ok(()),
        Some(who) => {
            let detail =
                format!("At most {CONDITIONS_MAX} grants with conditions reach one principal, here {who}.");
            Err(Refusal::new(&kind::ACCESS_TOO_MANY, detail))
        }
    }
}

/// Takes a grant back within `transaction`; `None` if there is no such grant, or it was taken back before.
///
/// # Errors
/// 409 `access.last_admin` for the grant by which the only administrator is one, `access.missing_prerequisite` for what another role
/// of the holder's requires; 403 `access.escalation` for a denial of more than
/// `authority` holds: lifting it gives.
pub async fn take_back(
    transaction: &Transaction,
    id: GrantId,
    authority: impl FnOnce(TenantId) -> Authority,
) -> Result<Option<(GrantRow, Change)>, Refusal> {
    let Some(row) = queries::one(transaction, id).await? else { return Ok(None) };
    let version = take(transaction, row.tenant).await?;
    let rules = Rules::load_for(transaction, row.tenant).await?;
    let before = stored::of_one(transaction, row.tenant, &rules).await?;
    let authority = authority(row.tenant);
    if row.definition.effect == GrantEffect::Deny {
        rules.refuse_handing(&authority, &[before.model(&rules).handed(&row.definition)])?;
    } else {
        let mut after = before.clone();
        after.grants.retain(|grant| grant.id != id.0);
        refuse_unadministered(transaction, row.tenant, (&before, &rules), (&after, &rules)).await?;
        // Who leaves, leaves with everything, one grant after the other.
        if !matches!(authority, Authority::System) {
            refuse_breaches(transaction, (&before, &rules), (&after, &rules))?;
        }
    }
    if !queries::remove(transaction, id, transaction.store().clock().now()).await? {
        return Ok(None);
    }
    let event = match row.definition.target {
        GrantTarget::Role(_) => "access.role_revoked",
        GrantTarget::Permission(_) => "access.permission_revoked",
    };
    let change = change(&row, event, "delete", transaction.principal(), version);
    Ok(Some((row, change)))
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
    let is_a_key =
        |principal: Principal| !matches!(principal.kind, PrincipalKind::User | PrincipalKind::ServiceAccount);
    if matches!(new.holder, Holder::Principal(principal) if is_a_key(principal)) {
        wrong.push(("/principal/kind", "unknown", "not a key: it has the rights that it lists"));
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
    let end = |us: i64| Some(us).filter(|us| !matches!(*us, i64::MIN | i64::MAX));
    let mut details = json!({
        "effect": definition.effect.as_str(),
        "access_version": version,
        "valid_from_us": end(definition.interval.from_us),
        "valid_until_us": end(definition.interval.until_us),
    });
    details[what] = name.as_str().into();
    if let Some(ResourceName { kind, id }) = &definition.resource {
        details["resource"] = json!({ "type": kind, "id": id });
    }
    if let Some(condition) = &definition.condition {
        details["condition"] = condition.text().into();
        details["parameters"] = Value::Object(condition.parameters().clone());
    }
    let change = Change::new(row.tenant, event, action, actor).on("grant", row.id);
    member::on(change, definition.holder).details(details).notify(Notice::tenant(row.tenant))
}
