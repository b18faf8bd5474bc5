//! Who administers a tenant: active people who hold everything in it, by themselves, through groups or with everyone. A tenant
//! that has somebody without end keeps somebody. Who holds everything only by a role that must be chosen for a session first
//! (a constraint of kind `dynamic`) is not counted.

use std::collections::BTreeSet;

use rowhouse_domain::access::{Constraint, Interval, Principal, PrincipalKind};
use rowhouse_domain::id::{TenantId, UserId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{StoreError, Transaction};

use super::stored::{Stored, of_one};
use super::{Rules, queries};
use crate::catalog::LoadError;
use crate::identity;

/// Active people who hold everything in `tenant` now.
///
/// # Errors
/// If the database fails.
pub async fn administrators(
    transaction: &Transaction,
    tenant: TenantId,
) -> Result<BTreeSet<UserId>, StoreError> {
    let rules = Rules::load_for(transaction, tenant).await.map_err(|error| match error {
        LoadError::Store(error) => error,
        LoadError::Unreadable(_) | LoadError::Invalid(_) => StoreError::Stored { what: "the catalogue" },
    })?;
    let stored = of_one(transaction, tenant, &rules).await?;
    let now_us = transaction.store().clock().now_us();
    let now = Interval { from_us: now_us, until_us: now_us + 1 };
    let people = people(transaction, tenant).await?;
    Ok(holders((&stored, &rules), &people, now).into_iter().collect())
}

/// Takes the tenant's access: who changes it waits for who does, and sees what he has done. The new version.
///
/// # Errors
/// If the database fails.
pub async fn take(transaction: &Transaction, tenant: TenantId) -> Result<i64, StoreError> {
    queries::raise_version(transaction, tenant).await
}

/// 409 `access.last_admin` if somebody administers the tenant without end with `before`, and nobody would with `after`. Call
/// it before the change, after [`take`].
///
/// # Errors
/// See above; and if the database fails.
pub(super) async fn refuse_unadministered(
    transaction: &Transaction,
    tenant: TenantId,
    before: (&Stored, &Rules),
    after: (&Stored, &Rules),
) -> Result<(), Refusal> {
    let people = people(transaction, tenant).await?;
    unless_left(transaction, before, after, (&people, &people))
}

/// The same for a person who leaves with everything. Takes the tenant's access.
///
/// # Errors
/// 409 `access.last_admin`; and if the database fails.
pub async fn refuse_last_administrator(
    transaction: &Transaction,
    tenant: TenantId,
    leaving: UserId,
) -> Result<(), Refusal> {
    take(transaction, tenant).await?;
    let rules = Rules::load_for(transaction, tenant).await?;
    let stored = of_one(transaction, tenant, &rules).await?;
    let all = people(transaction, tenant).await?;
    let others: Vec<Principal> = all.iter().filter(|one| one.id != leaving.0).copied().collect();
    unless_left(transaction, (&stored, &rules), (&stored, &rules), (&all, &others))
}

/// Whether `stored` leaves the tenant with nobody who administers it without end, by themselves and without having chosen anything,
/// though somebody does without `definition`.
///
/// # Errors
/// If the database fails.
pub(super) async fn is_unadministered_with(
    transaction: &Transaction,
    tenant: TenantId,
    (stored, rules): (&Stored, &Rules),
    definition: &Constraint,
) -> Result<bool, StoreError> {
    let mut held = stored.clone();
    held.apart.push(definition.clone());
    let from_now = Interval::new(Some(transaction.store().clock().now_us()), None);
    let people = people(transaction, tenant).await?;
    let before = !holders((stored, rules), &people, from_now).is_empty();
    Ok(before && holders((&held, rules), &people, from_now).is_empty())
}

fn unless_left(
    transaction: &Transaction,
    before: (&Stored, &Rules),
    after: (&Stored, &Rules),
    (all, remaining): (&[Principal], &[Principal]),
) -> Result<(), Refusal> {
    let from_now = Interval::new(Some(transaction.store().clock().now_us()), None);
    let is_left = !holders(after, remaining, from_now).is_empty();
    match is_left || holders(before, all, from_now).is_empty() {
        true => Ok(()),
        false => Err(Refusal::new(
            &kind::LAST_ADMINISTRATOR,
            "Nobody would be left to administer it. Give somebody else `tenant_admin` first.",
        )),
    }
}

fn holders((stored, rules): (&Stored, &Rules), people: &[Principal], interval: Interval) -> Vec<UserId> {
    let holders = stored.model(rules).administrators(&stored.compile(rules), people, interval);
    holders.into_iter().map(|principal| UserId(principal.id)).collect()
}

async fn people(transaction: &Transaction, tenant: TenantId) -> Result<Vec<Principal>, StoreError> {
    let people = identity::active_people(transaction, &[tenant.0]).await?;
    Ok(people.into_iter().map(|(_, id)| Principal { kind: PrincipalKind::User, id: id.0 }).collect())
}
