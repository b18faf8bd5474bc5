//! Groups: made, filled, emptied, removed. Who puts somebody into a group gives him what the group has, and needs to hold that
//! himself; who takes somebody out lifts what the group denies him.

use jiff::Timestamp;
use rowhouse_domain::access::{GrantEffect, Handed, Holder, Interval, Membership};
use rowhouse_domain::id::{GroupId, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Notice, Transaction};
use serde_json::json;

use super::administrators::{refuse_unadministered, take};
use super::constraint::{refuse_breaches, refuse_together};
use super::group_queries::{self, GroupRow, MemberRow};
use super::{Authority, Rules, approval, grant, member, stored};

/// At most so many groups in a tenant.
const GROUPS_MAX: i64 = 1_000;
/// At most so many in one group.
const MEMBERS_MAX: i64 = 10_000;

/// Makes an empty group; it, and what to commit it with.
///
/// # Errors
/// 422 for a malformed name or one group too many; 409 `access.name_taken`.
pub(super) async fn create(
    transaction: &Transaction,
    tenant: TenantId,
    (name, title): (String, String),
) -> Result<(GroupRow, Change), Refusal> {
    check(&name, &title)?;
    let version = take(transaction, tenant).await?;
    if group_queries::count(transaction, tenant).await? >= GROUPS_MAX {
        let detail = format!("A tenant has at most {GROUPS_MAX} groups.");
        return Err(Refusal::new(&kind::ACCESS_TOO_MANY, detail));
    }
    let store = transaction.store();
    let now = store.clock().now();
    let row = GroupRow {
        id: GroupId(store.entropy().uuid_v7(now.as_microsecond())),
        tenant,
        name,
        title,
        created_by: transaction.principal().to_string(),
        created_at: now,
    };
    if !group_queries::insert(transaction, &row).await? {
        return Err(Refusal::new(&kind::ROLE_NAME_TAKEN, "There is a group of this name."));
    }
    let change = change(transaction, &row, "access.group_changed", "create");
    Ok((row.clone(), change.details(json!({ "name": row.name, "access_version": version }))))
}

/// Removes a group with its memberships and grants; `None` if there is none.
///
/// # Errors
/// 403 `access.escalation` if it denies its members more than `authority` holds; 409 `access.last_admin`,
/// `access.missing_prerequisite`.
pub(super) async fn remove(
    transaction: &Transaction,
    id: GroupId,
    authority: impl FnOnce(TenantId) -> Authority,
) -> Result<Option<Change>, Refusal> {
    let Some(row) = group_queries::one(transaction, id).await? else { return Ok(None) };
    let version = take(transaction, row.tenant).await?;
    let rules = Rules::load_for(transaction, row.tenant).await?;
    let before = stored::of_one(transaction, row.tenant, &rules).await?;
    let own = Holder::Group(id.0);
    let alone = Membership { group: id.0, member: Holder::Everyone, interval: Interval::ALWAYS };
    let lifted = denials(before.model(&rules).handed_by(&alone));
    rules.refuse_handing(&authority(row.tenant), &lifted)?;
    let mut after = before.clone();
    after.grants.retain(|grant| grant.holder != own);
    after.memberships.retain(|one| one.group != id.0 && one.member != own);
    refuse_unadministered(transaction, row.tenant, (&before, &rules), (&after, &rules)).await?;
    refuse_breaches(transaction, (&before, &rules), (&after, &rules))?;
    group_queries::remove(transaction, &row, transaction.store().clock().now()).await?;
    let grants: Vec<String> = before
        .grants
        .iter()
        .filter(|grant| grant.holder == own)
        .map(|grant| rowhouse_domain::id::GrantId(grant.id).to_string())
        .collect();
    let details = json!({ "name": row.name, "access_version": version, "grants_taken_back": grants });
    Ok(Some(change(transaction, &row, "access.group_changed", "delete").details(details)))
}

/// Someone who is to be in a group.
#[derive(Debug, Clone)]
pub(super) struct Joining {
    pub group: GroupId,
    pub member: Holder,
    pub from: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// Puts someone into a group, or changes for how long he is in it. Twice is once: then there is no change.
///
/// # Errors
/// 404 for a group, account or person that the tenant has not; 409 `access.cycle`; 403 `access.escalation`; 422 for a bad
/// interval or one member too many; 409 `access.last_admin`, `access.sod_violation`, `access.too_many_members`,
/// `access.missing_prerequisite`.
pub(super) async fn add_member(
    transaction: &Transaction,
    joining: Joining,
    authority: impl FnOnce(TenantId) -> Authority,
) -> Result<(MemberRow, Option<Change>), Refusal> {
    let row = group_queries::one(transaction, joining.group).await?.ok_or_else(no_such_group)?;
    let now = transaction.store().clock().now();
    check_interval(&joining, now)?;
    let version = take(transaction, row.tenant).await?;
    member::refuse_unknown(transaction, row.tenant, joining.member).await?;
    let rules = Rules::load_for(transaction, row.tenant).await?;
    let before = stored::of_one(transaction, row.tenant, &rules).await?;
    let interval = super::grant::interval(joining.from, joining.until);
    let membership = Membership { group: row.id.0, member: joining.member, interval };
    let added = MemberRow {
        membership: membership.clone(),
        added_by: transaction.principal().to_string(),
        added_at: now,
    };
    let same = |one: &&Membership| one.group == membership.group && one.member == membership.member;
    let was = before.memberships.iter().find(same).cloned();
    if was.as_ref() == Some(&membership) {
        return Ok((added, None));
    }
    refuse_circle(&before.memberships, &membership)?;
    if was.is_none() && group_queries::count_members(transaction, &row).await? >= MEMBERS_MAX {
        let detail = format!("A group has at most {MEMBERS_MAX} members.");
        return Err(Refusal::new(&kind::ACCESS_TOO_MANY, detail));
    }
    let model = before.model(&rules);
    // For another time than before: what was denied then is lifted, in part or in whole.
    let lifted = was.as_ref().map(|was| denials(model.handed_by(was))).unwrap_or_default();
    let authority = authority(row.tenant);
    let handed = model.handed_by(&membership);
    rules.refuse_handing(&authority, &handed)?;
    rules.refuse_handing(&authority, &lifted)?;
    for given in handed.iter().filter(|one| one.effect == GrantEffect::Allow) {
        approval::refuse_alone(transaction, row.tenant, (&authority, &rules), &given.set).await?;
    }
    let mut after = before.clone();
    after.memberships.retain(|one| !same(&one));
    after.memberships.push(membership);
    refuse_unadministered(transaction, row.tenant, (&before, &rules), (&after, &rules)).await?;
    refuse_together(transaction, row.tenant, (&before, &rules), (&after, &rules)).await?;
    group_queries::put_member(transaction, row.tenant, &added).await?;
    let details = json!({
        "access_version": version,
        "valid_from": joining.from.map(|time| time.to_string()),
        "valid_until": joining.until.map(|time| time.to_string()),
    });
    let action = if was.is_some() { "update" } else { "create" };
    let change = change(transaction, &row, "access.member_added", action);
    Ok((added, Some(member::on(change, joining.member).details(details))))
}

/// Takes someone out of a group; `None` if he was not in it.
///
/// # Errors
/// 404 for a group that there is not; 403 `access.escalation` if it denies him more than `authority` holds; 409
/// `access.last_admin`, `access.missing_prerequisite`.
pub(super) async fn remove_member(
    transaction: &Transaction,
    (group, leaving): (GroupId, Holder),
    authority: impl FnOnce(TenantId) -> Authority,
) -> Result<Option<Change>, Refusal> {
    let row = group_queries::one(transaction, group).await?.ok_or_else(no_such_group)?;
    let version = take(transaction, row.tenant).await?;
    let rules = Rules::load_for(transaction, row.tenant).await?;
    let before = stored::of_one(transaction, row.tenant, &rules).await?;
    let same = |one: &&Membership| one.group == group.0 && one.member == leaving;
    let Some(was) = before.memberships.iter().find(same) else { return Ok(None) };
    rules.refuse_handing(&authority(row.tenant), &denials(before.model(&rules).handed_by(was)))?;
    let mut after = before.clone();
    after.memberships.retain(|one| !same(&one));
    refuse_unadministered(transaction, row.tenant, (&before, &rules), (&after, &rules)).await?;
    refuse_breaches(transaction, (&before, &rules), (&after, &rules))?;
    group_queries::remove_member(transaction, row.tenant, (group, leaving)).await?;
    let change = change(transaction, &row, "access.member_removed", "delete");
    Ok(Some(member::on(change, leaving).details(json!({ "access_version": version }))))
}

/// A person who leaves the tenant leaves its groups, within the transaction of that. What the groups deny it stays with it as denials of
/// its own: who comes again is still denied it, until somebody with authority lifts it.
///
/// # Errors
/// If the database fails.
pub async fn leave_groups(
    transaction: &Transaction,
    tenant: TenantId,
    leaving: Holder,
) -> Result<Vec<Change>, Refusal> {
    let version = take(transaction, tenant).await?;
    let mut changes = grant::keep_denials(transaction, tenant, leaving, version).await?;
    let groups = group_queries::leave_all(transaction, tenant, leaving).await?;
    let told = |group: GroupId| {
        let change = Change::new(tenant, "access.member_removed", "delete", transaction.principal());
        member::on(change.on("group", group), leaving)
            .details(json!({ "access_version": version }))
            .notify(Notice::tenant(tenant))
    };
    changes.extend(groups.into_iter().map(told));
    Ok(changes)
}

pub(super) fn no_such_group() -> Refusal {
    Refusal::new(&kind::NOT_FOUND, "There is no group with this id.")
}

fn denials(mut handed: Vec<Handed>) -> Vec<Handed> {
    handed.retain(|one| one.effect == GrantEffect::Deny);
    handed
}

fn refuse_circle(memberships: &[Membership], new: &Membership) -> Result<(), Refusal> {
    let Holder::Group(lower) = new.member else { return Ok(()) };
    // From the group up: whoever is reached holds it. The new member must not be among them.
    let (mut open, mut seen) = (vec![new.group], Vec::new());
    while let Some(group) = open.pop() {
        if group == lower {
            let detail = format!("{} holds {} already.", GroupId(lower), GroupId(new.group));
            return Err(Refusal::new(&kind::ACCESS_CYCLE, detail));
        }
        if !seen.contains(&group) {
            seen.push(group);
            let up = memberships.iter().filter(|one| one.member == Holder::Group(group));
            open.extend(up.map(|one| one.group));
        }
    }
    Ok(())
}

fn check(name: &str, title: &str) -> Result<(), Refusal> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    let named = (1..=63).contains(&name.len())
        && name.as_bytes()[0].is_ascii_lowercase()
        && name.bytes().all(plain)
        && name != "everyone";
    let refusal = Refusal::new(&kind::INVALID, "The group is not well-formed.");
    match (named, title.chars().count() <= 500) {
        (true, true) => Ok(()),
        (false, _) => Err(refusal.field("/name", "malformed", "[a-z][a-z0-9_-]{0,62}, not `everyone`")),
        (true, false) => Err(refusal.field("/title", "too_long", "at most 500 characters")),
    }
}

fn check_interval(joining: &Joining, now: Timestamp) -> Result<(), Refusal> {
    let wrong = |detail: &str| {
        let refusal = Refusal::new(&kind::INVALID, "The membership is not well-formed.");
        Err(refusal.field("/valid_until", "out_of_bounds", detail))
    };
    match (joining.from, joining.until) {
        (_, Some(until)) if until <= now => wrong("a time to come"),
        (Some(from), Some(until)) if from >= until => wrong("after `valid_from`"),
        _ => Ok(()),
    }
}

fn change(transaction: &Transaction, row: &GroupRow, event: &str, action: &str) -> Change {
    Change::new(row.tenant, event, action, transaction.principal())
        .on("group", row.id)
        .notify(Notice::tenant(row.tenant))
}
