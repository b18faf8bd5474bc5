//! Numbers of a tenant's own in place of a limit's. Only the operator gives them: they may loosen.

use jiff::Timestamp;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{RequestId, TenantId};
use rowhouse_domain::limits::{BadNumbers, LimitDefinition, LimitValue};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Notice, Transaction};
use serde_json::json;

use super::queries;
use crate::{Control, catalog};

/// Longest reason, in characters.
const REASON_MAX: usize = 500;

/// A tenant's own numbers for a limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// The limit.
    pub limit: String,
    /// Its numbers.
    pub value: LimitValue,
    /// In words.
    pub reason: String,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// The principal.
    pub set_by: String,
    /// When.
    pub set_at: Timestamp,
}

/// What to set.
pub(super) struct Wanted {
    pub limit: String,
    pub value: LimitValue,
    pub reason: String,
    pub until: Option<Timestamp>,
}

/// The overrides of a limit that hold.
///
/// # Errors
/// 404 if there is no such limit.
pub(super) async fn list(
    control: &Control,
    permit: &Permit,
    limit: &str,
) -> Result<Vec<(TenantId, Override)>, Refusal> {
    let transaction = control.store.read(permit).await?;
    definition(&transaction, limit).await?;
    let all = queries::of_limit(&transaction, limit, control.clock().now()).await?;
    transaction.finish().await?;
    Ok(all)
}

/// Gives a tenant numbers of its own. The same again changes nothing.
///
/// # Errors
/// 404 if there is no such limit, 422 for numbers that it cannot have, for a limit that counts over all tenants, for a
/// missing reason or a time that has passed.
pub(super) async fn put(
    control: &Control,
    permit: &Permit,
    tenant: TenantId,
    wanted: Wanted,
    request_id: RequestId,
) -> Result<Override, Refusal> {
    let now = control.clock().now();
    let transaction = control.store.write(permit).await?;
    let limit = definition(&transaction, &wanted.limit).await?;
    check(&limit, &wanted, now)?;
    let own = Override {
        limit: wanted.limit,
        value: wanted.value,
        reason: wanted.reason,
        until: wanted.until,
        set_by: permit.principal().to_string(),
        set_at: now,
    };
    let stored = queries::get(&transaction, tenant, &own.limit).await?;
    if let Some(stored) = stored.filter(|stored| same(stored, &own)) {
        transaction.rollback().await?;
        return Ok(stored);
    }
    queries::put(&transaction, tenant, &own).await?;
    let details = json!({ "value": own.value, "until": own.until.map(|until| until.to_string()) });
    let change =
        Change::new(tenant, "limits.override_changed", "update", permit.principal()).details(details);
    transaction.commit(noted(change, tenant, &own.limit, request_id)).await?;
    Ok(own)
}

/// Takes a tenant's own numbers away.
///
/// # Errors
/// 404 if there are none.
pub(super) async fn delete(
    control: &Control,
    permit: &Permit,
    tenant: TenantId,
    limit: &str,
    request_id: RequestId,
) -> Result<(), Refusal> {
    let transaction = control.store.write(permit).await?;
    if !queries::delete(&transaction, tenant, limit).await? {
        return Err(Refusal::new(&kind::NOT_FOUND, "The tenant has no numbers of its own for this limit."));
    }
    let change = Change::new(tenant, "limits.override_changed", "delete", permit.principal());
    transaction.commit(noted(change, tenant, limit, request_id)).await?;
    Ok(())
}

fn noted(change: Change, tenant: TenantId, limit: &str, request_id: RequestId) -> Change {
    change.on("limit", limit).request(request_id).notify(Notice::tenant(tenant))
}

async fn definition(transaction: &Transaction, limit: &str) -> Result<LimitDefinition, Refusal> {
    let definitions = catalog::load(transaction).await.map_err(|error| {
        tracing::error!(%error, "the catalogue could not be loaded");
        Refusal::new(&kind::INTERNAL, "The catalogue could not be loaded.")
    })?;
    let found = definitions.limits.into_iter().find(|own| own.name == limit);
    found.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, format!("There is no limit `{limit}`.")))
}

fn check(limit: &LimitDefinition, wanted: &Wanted, now: Timestamp) -> Result<(), Refusal> {
    if let Err(numbers) = limit.rule_with(None, Some(&wanted.value)) {
        return Err(bad_numbers(&numbers, ""));
    }
    let mut refusal = Refusal::new(&kind::LIMIT_BAD_VALUE, "The override is wrong.");
    if wanted.value == LimitValue::default() {
        refusal = refusal.field("", "empty", "quota, window_ms, burst or unlimited");
    }
    if wanted.value.burst.is_some() && !limit.algorithm.is_bucket() {
        refusal = refusal.field("/burst", "malformed", "a window has no burst");
    }
    if !limit.scope.within_tenant() {
        refusal = refusal.field("", "malformed", "this limit counts over all tenants");
    }
    if !(1..=REASON_MAX).contains(&wanted.reason.trim().chars().count()) {
        refusal = refusal.field("/reason", "out_of_bounds", "1 to 500 characters");
    }
    if wanted.until.is_some_and(|until| until <= now) {
        refusal = refusal.field("/until", "past", "a time in the future");
    }
    if refusal.errors().is_empty() { Ok(()) } else { Err(refusal) }
}

/// Numbers that no limit can have, as a refusal; `at` is the JSON pointer of the limit.
pub(super) fn bad_numbers(numbers: &BadNumbers, at: &str) -> Refusal {
    let (kind, field) = match numbers {
        BadNumbers::OutOfBounds { name, .. } => (&kind::LIMIT_BAD_VALUE, format!("{at}/{name}")),
        BadNumbers::TooSlow { .. } => (&kind::LIMIT_TOO_SLOW, at.to_owned()),
        BadNumbers::TooFine { .. } => (&kind::LIMIT_TOO_FINE, at.to_owned()),
    };
    Refusal::new(kind, format!("{numbers}.")).field(field, "out_of_bounds", numbers.to_string())
}

fn same(stored: &Override, new: &Override) -> bool {
    let micros = |at: Option<Timestamp>| at.map(Timestamp::as_microsecond);
    (stored.value, &stored.reason, micros(stored.until)) == (new.value, &new.reason, micros(new.until))
}
