//! Separation of duty: roles and permissions of which nobody in a tenant may have too many together. A constraint is a tenant's
//! own, or the operator's for all tenants ([`super::operator_constraint`]). It is checked in the transaction of every change that
//! could break it: a grant, a membership, a role, a constraint; and so is what roles ask of those who have them.

use jiff::Timestamp;
use rowhouse_domain::access::{Breach, Constraint, ConstraintKind, Offence};
use rowhouse_domain::id::{OPERATOR_TENANT, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Notice, StoreError, Transaction};
use serde_json::{Value, json};
use tokio_postgres::Row;

use super::administrators::{refuse_unadministered, take};
use super::{Rules, Stored, operator_constraint, stored};

/// At most so many constraints in a tenant.
const CONSTRAINTS_MAX: usize = 100;
/// A constraint as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConstraintRow {
    /// Whose; the operator's for all tenants if it is no tenant's own.
    pub tenant: Option<TenantId>,
    /// What it says.
    pub definition: Constraint,
    /// By whom.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
}

/// Makes a constraint that everybody keeps already; it, and what to commit it with.
///
/// # Errors
/// 422 for a malformed one, an unknown role or permission, or one too many; 409 `access.name_taken`; 409 `access.sod_violation`
/// with who has too much now or will have; 409 `access.last_admin` for one of kind `dynamic` under which nobody would administer the tenant
/// without having chosen a role for it.
pub(super) async fn create(
    transaction: &Transaction,
    tenant: TenantId,
    definition: Constraint,
) -> Result<(ConstraintRow, Change), Refusal> {
    check(&definition)?;
    let version = take(transaction, tenant).await?;
    let rules = Rules::load_for(transaction, tenant).await?;
    refuse_unknown(&rules, &definition)?;
    let present = load(transaction, tenant).await?;
    refuse_another(&present, &definition)?;
    let now = transaction.store().clock().now();
    let own = stored::of_one(transaction, tenant, &rules).await?;
    let offences = own.model(&rules).offences(std::slice::from_ref(&definition), now.as_microsecond());
    refuse(&offences)?;
    if definition.kind == ConstraintKind::Dynamic {
        let mut held = own.clone();
        held.apart.push(definition.clone());
        refuse_unadministered(transaction, tenant, (&own, &rules), (&held, &rules)).await?;
    }
    let row = ConstraintRow {
        tenant: Some(tenant),
        definition,
        created_by: transaction.principal().to_string(),
        created_at: now,
    };
    insert(transaction, tenant, &row).await?;
    let change = change(transaction, &row, "create", json!(version));
    Ok((row, change))
}

/// 422 for roles and permissions that there are not.
pub(super) fn refuse_unknown(rules: &Rules, definition: &Constraint) -> Result<(), Refusal> {
    definition.roles.iter().try_for_each(|role| rules.role(role).map(drop))?;
    for name in &definition.permissions {
        let known = rules.permissions.id(name);
        let unknown = || Refusal::new(&kind::UNKNOWN_PERMISSION, format!("There is no permission `{name}`."));
        known.ok_or_else(unknown)?;
    }
    Ok(())
}

/// 409 for a name that is taken, 422 for one too many.
pub(super) fn refuse_another(present: &[ConstraintRow], definition: &Constraint) -> Result<(), Refusal> {
    if present.iter().any(|row| row.definition.name == definition.name) {
        return Err(Refusal::new(&kind::ROLE_NAME_TAKEN, "There is a constraint of this name."));
    }
    match present.len() < CONSTRAINTS_MAX {
        true => Ok(()),
        false => {
            let detail = format!("There are at most {CONSTRAINTS_MAX} constraints.");
            Err(Refusal::new(&kind::ACCESS_TOO_MANY, detail))
        }
    }
}

/// Takes a constraint away; `None` if there is none of this name.
pub(super) async fn remove(
    transaction: &Transaction,
    tenant: TenantId,
    name: &str,
) -> Result<Option<Change>, Refusal> {
    let version = take(transaction, tenant).await?;
    let present = load(transaction, tenant).await?;
    let Some(row) = present.into_iter().find(|row| row.definition.name == name) else { return Ok(None) };
    if row.tenant.is_none() {
        let detail = format!("`{name}` is the operator's, for all tenants, and stays as it is.");
        return Err(Refusal::new(&kind::ACCESS_PREDEFINED, detail));
    }
    let sql = "DELETE FROM access.constraints WHERE tenant_id = $1 AND name = $2";
    transaction.execute(sql, &[&tenant.0, &name]).await?;
    Ok(Some(change(transaction, &row, "delete", json!(version))))
}

/// 409 `access.sod_violation`, `access.too_many_members` or `access.missing_prerequisite` if somebody would have together what is
/// kept apart, or have a role beyond its bounds, with `after` and does not with `before`. Call it within the transaction of the
/// change, after [`take`]. Who has too much already, by a change of the catalogue, does not stand in the way of others.
///
/// # Errors
/// See above; and if the database fails.
pub(super) async fn refuse_together(
    transaction: &Transaction,
    tenant: TenantId,
    before: (&Stored, &Rules),
    after: (&Stored, &Rules),
) -> Result<(), Refusal> {
    refuse_breaches(transaction, before, after)?;
    let rows = load(transaction, tenant).await?;
    if rows.is_empty() {
        return Ok(());
    }
    let constraints: Vec<Constraint> = rows.into_iter().map(|row| row.definition).collect();
    let from_us = transaction.store().clock().now_us();
    let of = |(stored, rules): (&Stored, &Rules)| stored.model(rules).offences(&constraints, from_us);
    let mut new = of(after);
    if !new.is_empty() {
        let old = of(before);
        new.retain(|offence| !old.contains(offence));
    }
    refuse(&new)
}

/// 409 `access.too_many_members` or `access.missing_prerequisite` for what only `after` has.
pub(super) fn refuse_breaches(
    transaction: &Transaction,
    (before, rules_before): (&Stored, &Rules),
    (after, rules_after): (&Stored, &Rules),
) -> Result<(), Refusal> {
    let from_us = transaction.store().clock().now_us();
    let mut new = after.model(rules_after).breaches(from_us);
    if !new.is_empty() {
        let old = before.model(rules_before).breaches(from_us);
        new.retain(|breach| breach.is_new(&old));
    }
    let at = |us: i64| Timestamp::from_microsecond(us).map(|time| time.to_string()).unwrap_or_default();
    match new.into_iter().next() {
        None => Ok(()),
        Some(Breach::TooMany { role, most, members, from_us }) => {
            let named: Vec<String> = members.iter().take(NAMED_MAX).map(|one| one.to_string()).collect();
            let detail =
                format!("At most {most} may have `{role}` at one instant, of themselves or through others.");
            Err(Refusal::new(&kind::TOO_MANY_MEMBERS, detail)
                .member("role", role)
                .member("max_members", most)
                .member("members", named)
                .member("from", at(from_us)))
        }
        Some(Breach::Missing { role, required, principal, from_us }) => {
            let who = principal.map_or("everyone".to_owned(), |own| own.to_string());
            let detail = format!("{who} would have `{role}` without `{required}`, which it requires.");
            Err(Refusal::new(&kind::MISSING_PREREQUISITE, detail)
                .member("role", role)
                .member("required", required)
                .member("principal", who)
                .member("from", at(from_us)))
        }
    }
}

fn refuse(offences: &[Offence]) -> Result<(), Refusal> {
    let Some(first) = offences.first() else { return Ok(()) };
    let of_first = offences.iter().filter(|offence| offence.constraint == first.constraint).count();
    let detail = format!(
        "`{}` keeps apart {}: {} would have them together{}.",
        first.constraint,
        first.together.join(", "),
        who(first),
        if of_first > 1 { format!(", and {} more", of_first - 1) } else { String::new() },
    );
    let named: Vec<Value> = offences.iter().take(NAMED_MAX).map(told).collect();
    Err(violation(detail, named, offences.len()))
}

/// At most so many of those who would have too much are named.
pub(super) const NAMED_MAX: usize = 100;

pub(super) fn violation(detail: String, named: Vec<Value>, count: usize) -> Refusal {
    Refusal::new(&kind::SOD_VIOLATION, detail).member("offences", named).member("offences_count", count)
}

fn who(offence: &Offence) -> String {
    offence.principal.map_or("everyone".to_owned(), |own| own.to_string())
}

/// An offence as it is told.
pub(super) fn told(offence: &Offence) -> Value {
    let from = Timestamp::from_microsecond(offence.from_us).map(|time| time.to_string()).unwrap_or_default();
    json!({ "constraint": offence.constraint, "principal": who(offence), "together": offence.together, "from": from })
}

pub(super) fn check(definition: &Constraint) -> Result<(), Refusal> {
    let faults = definition.faults();
    if faults.is_empty() {
        return Ok(());
    }
    let refusal = Refusal::new(&kind::INVALID, "The constraint is not well-formed.");
    Err(faults.into_iter().fold(refusal, |refusal, (at, detail)| refusal.field(at, "malformed", detail)))
}

/// In the tenant's log, or in the operator's.
pub(super) fn change(transaction: &Transaction, row: &ConstraintRow, action: &str, version: Value) -> Change {
    let Constraint { name, kind, roles, permissions, at_most } = &row.definition;
    let log = row.tenant.unwrap_or(OPERATOR_TENANT);
    let change = Change::new(log, "access.constraint_changed", action, transaction.principal())
        .on("constraint", name)
        .details(json!({ "kind": kind, "roles": roles, "permissions": permissions, "at_most": at_most, "access_version": version }));
    match row.tenant {
        Some(tenant) => change.notify(Notice::tenant(tenant)),
        // What is active in sessions is decided in every tenant.
        None => change.notify(Notice::catalog()),
    }
}

/// Constraints that hold in a tenant: its own, by name, then the operator's.
pub(super) async fn load(
    transaction: &Transaction,
    tenant: TenantId,
) -> Result<Vec<ConstraintRow>, StoreError> {
    let rows = transaction
        .query(
            "SELECT tenant_id, name, roles, permissions, at_most, created_by, created_at, kind FROM access.constraints \
             WHERE tenant_id = $1 ORDER BY name",
            &[&tenant.0],
        )
        .await?;
    let mut all: Vec<ConstraintRow> = rows.iter().map(parse).collect();
    if tenant != OPERATOR_TENANT {
        all.extend(operator_constraint::load(transaction).await?);
    }
    Ok(all)
}

/// Constraints of kind `dynamic`: with whose they are, each tenant's by name, then the operator's with `None`.
pub(super) async fn load_dynamic(
    transaction: &Transaction,
    tenant: Option<TenantId>,
) -> Result<Vec<(Option<TenantId>, Constraint)>, StoreError> {
    let rows = transaction
        .query(
            "SELECT tenant_id, name, roles, permissions, at_most, created_by, created_at, kind FROM access.constraints \
             WHERE kind = 'dynamic' AND ($1::uuid IS NULL OR tenant_id = $1) ORDER BY tenant_id, name",
            &[&tenant.map(|tenant| tenant.0)],
        )
        .await?;
    let of_operator = operator_constraint::load(transaction).await?.into_iter();
    let is_dynamic = |row: &ConstraintRow| row.definition.kind == ConstraintKind::Dynamic;
    let all = rows.iter().map(parse).chain(of_operator.filter(is_dynamic));
    Ok(all.map(|row| (row.tenant, row.definition)).collect())
}

fn kind_of(word: &str) -> ConstraintKind {
    match word {
        "dynamic" => ConstraintKind::Dynamic,
        _ => ConstraintKind::Static,
    }
}

/// The columns of a constraint, its tenant first.
pub(super) fn parse(row: &Row) -> ConstraintRow {
    ConstraintRow {
        tenant: row.get::<_, Option<uuid::Uuid>>(0).map(TenantId),
        definition: Constraint {
            name: row.get(1),
            kind: kind_of(row.get(7)),
            roles: row.get(2),
            permissions: row.get(3),
            at_most: row.get::<_, i32>(4).unsigned_abs(),
        },
        created_by: row.get(5),
        created_at: row.get(6),
    }
}

async fn insert(transaction: &Transaction, tenant: TenantId, row: &ConstraintRow) -> Result<(), StoreError> {
    let Constraint { name, kind, roles, permissions, at_most } = &row.definition;
    let at_most = i32::try_from(*at_most).unwrap_or(i32::MAX);
    transaction
        .execute(
            "INSERT INTO access.constraints (tenant_id, name, roles, permissions, at_most, created_by, created_at, kind) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            &[
                &tenant.0,
                name,
                roles,
                permissions,
                &at_most,
                &row.created_by,
                &row.created_at,
                &kind.as_str(),
            ],
        )
        .await
        .map(drop)
}
