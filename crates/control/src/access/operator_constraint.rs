//! What the operator keeps apart in every tenant. A tenant sees these constraints and is held to them, and cannot change them.
//!
//! Declaring one looks at every tenant, so it waits for every running change of anybody's access and lets none begin until it is
//! there: nobody comes to break it unseen. The operator's own people, who may do everything in the reserved tenant, are held to what
//! is declared there (`?tenant=operator`).

use std::collections::HashMap;

use rowhouse_domain::access::{Constraint, ConstraintKind, Grant, GrantTarget, Offence, RoleDefinition};
use rowhouse_domain::id::{OPERATOR_TENANT, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, StoreError, Transaction};
use serde_json::{Value, json};

use super::administrators::is_unadministered_with;
use super::constraint::{self, ConstraintRow, NAMED_MAX};
use super::{Rules, load_roles, load_stored, queries};

/// Declares a constraint that everybody in every tenant keeps already; it, and what to commit it with.
///
/// # Errors
/// 422 for a malformed one, an unknown role or permission, or one too many; 409 `access.name_taken`; 409 `access.sod_violation`
/// with the first 100 who have too much now or will have, in which tenants, and how many they are; 409 `access.last_admin` for one of kind
/// `dynamic` under which tenants would have no administrator, with the first 100 of them.
pub(super) async fn declare(
    transaction: &Transaction,
    definition: Constraint,
) -> Result<(ConstraintRow, Change), Refusal> {
    constraint::check(&definition)?;
    queries::take_all(transaction).await?;
    let rules = Rules::load(transaction).await?;
    constraint::refuse_unknown(&rules, &definition)?;
    constraint::refuse_another(&load(transaction).await?, &definition)?;
    let now = transaction.store().clock().now();
    refuse_broken(transaction, rules, &definition, now.as_microsecond()).await?;
    let created_by = transaction.principal().to_string();
    let row = ConstraintRow { tenant: None, definition, created_by, created_at: now };
    insert(transaction, &row).await?;
    let change = constraint::change(transaction, &row, "create", Value::Null);
    Ok((row, change))
}

/// Takes one away; `None` if there is none of this name.
pub(super) async fn withdraw(transaction: &Transaction, name: &str) -> Result<Option<Change>, Refusal> {
    let present = load(transaction).await?;
    let Some(row) = present.into_iter().find(|row| row.definition.name == name) else { return Ok(None) };
    let sql = "DELETE FROM access.operator_constraints WHERE name = $1";
    match transaction.execute(sql, &[&name]).await? {
        0 => Ok(None),
        _ => Ok(Some(constraint::change(transaction, &row, "delete", Value::Null))),
    }
}

/// Who breaks it, tenant by tenant.
async fn refuse_broken(
    transaction: &Transaction,
    rules: Rules,
    definition: &Constraint,
    from_us: i64,
) -> Result<(), Refusal> {
    let mut own: HashMap<TenantId, Vec<RoleDefinition>> = HashMap::new();
    for role in load_roles(transaction, None).await? {
        own.entry(role.tenant).or_default().push(role.definition);
    }
    let mut all: Vec<_> = load_stored(transaction, None, &rules.catalogue).await?.into_iter().collect();
    all.sort_unstable_by_key(|(tenant, _)| *tenant);
    let (mut named, mut count, mut left) = (Vec::new(), 0, Vec::new());
    for (tenant, stored) in all.into_iter().filter(|(tenant, _)| *tenant != OPERATOR_TENANT) {
        let of_tenant = own.get(&tenant).map(|own| rules.clone().with_own(own));
        let of_tenant = of_tenant.as_ref().unwrap_or(&rules);
        let offences = stored.model(of_tenant).offences(std::slice::from_ref(definition), from_us);
        // Only who has been given one of these roles, or what inherits it, can be kept from acting.
        let is_about = |grant: &Grant| match &grant.target {
            GrantTarget::Role(role) => {
                definition.roles.iter().any(|own| of_tenant.roles().includes(role, own))
            }
            GrantTarget::Permission(_) => false,
        };
        if definition.kind == ConstraintKind::Dynamic
            && stored.grants.iter().any(is_about)
            && is_unadministered_with(transaction, tenant, (&stored, of_tenant), definition).await?
        {
            left.push(tenant.to_string());
        }
        count += offences.len();
        let room = NAMED_MAX - named.len();
        named.extend(offences.iter().take(room).map(|offence| told(tenant, offence)));
    }
    if count == 0 {
        return refuse_unadministered(definition, &left);
    }
    let detail = format!("`{}` is broken already, {count} times.", definition.name);
    Err(constraint::violation(detail, named, count))
}

/// 409 `access.last_admin` with the tenants that nobody would administer.
fn refuse_unadministered(definition: &Constraint, left: &[String]) -> Result<(), Refusal> {
    if left.is_empty() {
        return Ok(());
    }
    let detail =
        format!("With `{}`, {} tenants would have nobody who administers them.", definition.name, left.len());
    let named = &left[..left.len().min(NAMED_MAX)];
    Err(Refusal::new(&kind::LAST_ADMINISTRATOR, detail)
        .member("tenants", named)
        .member("tenants_count", left.len()))
}

fn told(tenant: TenantId, offence: &Offence) -> Value {
    let mut told = constraint::told(offence);
    told["tenant"] = json!(tenant.to_string());
    told
}

/// All of them, by name.
pub(super) async fn load(transaction: &Transaction) -> Result<Vec<ConstraintRow>, StoreError> {
    let rows = transaction
        .query(
            "SELECT NULL::uuid, name, roles, permissions, at_most, created_by, created_at, kind \
             FROM access.operator_constraints ORDER BY name",
            &[],
        )
        .await?;
    Ok(rows.iter().map(constraint::parse).collect())
}

async fn insert(transaction: &Transaction, row: &ConstraintRow) -> Result<(), StoreError> {
    let Constraint { name, kind, roles, permissions, at_most } = &row.definition;
    let at_most = i32::try_from(*at_most).unwrap_or(i32::MAX);
    transaction
        .execute(
            "INSERT INTO access.operator_constraints (name, roles, permissions, at_most, created_by, created_at, kind) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            &[name, roles, permissions, &at_most, &row.created_by, &row.created_at, &kind.as_str()],
        )
        .await
        .map(drop)
}
