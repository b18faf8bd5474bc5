//! Separation of duty: roles and permissions of which nobody in a tenant may have too many together. It is checked in the
//! transaction of every change that could break it: a grant, a membership, a role, a constraint.

use jiff::Timestamp;
use rowhouse_domain::access::{Constraint, Offence};
use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Notice, StoreError, Transaction};
use serde_json::{Value, json};
use tokio_postgres::Row;

use super::administrators::take;
use super::{Rules, Stored, stored};

/// At most so many constraints in a tenant.
const CONSTRAINTS_MAX: usize = 100;
/// At most so many of those who would have too much are named.
const NAMED_MAX: usize = 100;

/// A constraint as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConstraintRow {
    /// Whose.
    pub tenant: TenantId,
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
/// with who has too much now or will have.
pub(super) async fn create(
    transaction: &Transaction,
    tenant: TenantId,
    definition: Constraint,
) -> Result<(ConstraintRow, Change), Refusal> {
    check(&definition)?;
    let version = take(transaction, tenant).await?;
    let rules = Rules::load_for(transaction, tenant).await?;
    definition.roles.iter().try_for_each(|role| rules.role(role).map(drop))?;
    for name in &definition.permissions {
        let known = rules.permissions.id(name);
        let unknown = || Refusal::new(&kind::UNKNOWN_PERMISSION, format!("There is no permission `{name}`."));
        known.ok_or_else(unknown)?;
    }
    let present = load(transaction, Some(tenant)).await?;
    if present.iter().any(|row| row.definition.name == definition.name) {
        return Err(Refusal::new(&kind::ROLE_NAME_TAKEN, "There is a constraint of this name."));
    }
    if present.len() >= CONSTRAINTS_MAX {
        let detail = format!("A tenant has at most {CONSTRAINTS_MAX} constraints.");
        return Err(Refusal::new(&kind::ACCESS_TOO_MANY, detail));
    }
    let now = transaction.store().clock().now();
    let own = stored::of_one(transaction, tenant, &rules).await?;
    let offences = own.model(&rules).offences(std::slice::from_ref(&definition), now.as_microsecond());
    refuse(&offences)?;
    let row = ConstraintRow {
        tenant,
        definition,
        created_by: transaction.principal().to_string(),
        created_at: now,
    };
    insert(transaction, &row).await?;
    let change = change(transaction, &row, ("create", version));
    Ok((row, change))
}

/// Takes a constraint away; `None` if there is none of this name.
pub(super) async fn remove(
    transaction: &Transaction,
    tenant: TenantId,
    name: &str,
) -> Result<Option<Change>, Refusal> {
    let version = take(transaction, tenant).await?;
    let present = load(transaction, Some(tenant)).await?;
    let Some(row) = present.into_iter().find(|row| row.definition.name == name) else { return Ok(None) };
    let sql = "DELETE FROM access.constraints WHERE tenant_id = $1 AND name = $2";
    transaction.execute(sql, &[&tenant.0, &name]).await?;
    Ok(Some(change(transaction, &row, ("delete", version))))
}

/// 409 `access.sod_violation` if somebody would have together what is kept apart with `after` and does not with `before`. Call it
/// within the transaction of the change, after [`take`]. Who has too much already, by a change of the catalogue, does not stand in
/// the way of others.
///
/// # Errors
/// See above; and if the database fails.
pub(super) async fn refuse_together(
    transaction: &Transaction,
    tenant: TenantId,
    before: (&Stored, &Rules),
    after: (&Stored, &Rules),
) -> Result<(), Refusal> {
    let rows = load(transaction, Some(tenant)).await?;
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

fn refuse(offences: &[Offence]) -> Result<(), Refusal> {
    let Some(first) = offences.first() else { return Ok(()) };
    let who = |offence: &Offence| offence.principal.map_or("everyone".to_owned(), |own| own.to_string());
    let of_first = offences.iter().filter(|offence| offence.constraint == first.constraint).count();
    let detail = format!(
        "`{}` keeps apart {}: {} would have them together{}.",
        first.constraint,
        first.together.join(", "),
        who(first),
        if of_first > 1 { format!(", and {} more", of_first - 1) } else { String::new() },
    );
    let told = |offence: &Offence| {
        let from =
            Timestamp::from_microsecond(offence.from_us).map(|time| time.to_string()).unwrap_or_default();
        json!({ "constraint": offence.constraint, "principal": who(offence), "together": offence.together, "from": from })
    };
    let named: Vec<Value> = offences.iter().take(NAMED_MAX).map(told).collect();
    Err(Refusal::new(&kind::SOD_VIOLATION, detail)
        .member("offences", named)
        .member("offences_count", offences.len()))
}

fn check(definition: &Constraint) -> Result<(), Refusal> {
    let faults = definition.faults();
    if faults.is_empty() {
        return Ok(());
    }
    let refusal = Refusal::new(&kind::INVALID, "The constraint is not well-formed.");
    Err(faults.into_iter().fold(refusal, |refusal, (at, detail)| refusal.field(at, "malformed", detail)))
}

fn change(transaction: &Transaction, row: &ConstraintRow, (action, version): (&str, i64)) -> Change {
    let Constraint { name, roles, permissions, at_most } = &row.definition;
    Change::new(row.tenant, "access.constraint_changed", action, transaction.principal())
        .on("constraint", name)
        .details(json!({ "roles": roles, "permissions": permissions, "at_most": at_most, "access_version": version }))
        .notify(Notice::tenant(row.tenant))
}

/// Constraints of one tenant or of all that the transaction sees, by name.
pub(super) async fn load(
    transaction: &Transaction,
    tenant: Option<TenantId>,
) -> Result<Vec<ConstraintRow>, StoreError> {
    let rows = transaction
        .query(
            "SELECT tenant_id, name, roles, permissions, at_most, created_by, created_at FROM access.constraints \
             WHERE $1::uuid IS NULL OR tenant_id = $1 ORDER BY tenant_id, name",
            &[&tenant.map(|tenant| tenant.0)],
        )
        .await?;
    Ok(rows.iter().map(parse).collect())
}

fn parse(row: &Row) -> ConstraintRow {
    ConstraintRow {
        tenant: TenantId(row.get(0)),
        definition: Constraint {
            name: row.get(1),
            roles: row.get(2),
            permissions: row.get(3),
            at_most: row.get::<_, i32>(4).unsigned_abs(),
        },
        created_by: row.get(5),
        created_at: row.get(6),
    }
}

async fn insert(transaction: &Transaction, row: &ConstraintRow) -> Result<(), StoreError> {
    let Constraint { name, roles, permissions, at_most } = &row.definition;
    let at_most = i32::try_from(*at_most).unwrap_or(i32::MAX);
    transaction
        .execute(
            "INSERT INTO access.constraints (tenant_id, name, roles, permissions, at_most, created_by, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            &[&row.tenant.0, name, roles, permissions, &at_most, &row.created_by, &row.created_at],
        )
        .await
        .map(drop)
}
