//! Feature flags of tenants: which value holds, and a tenant's own values over what its tier gives.
//!
//! An override whose time is over is without effect by itself: whoever loads takes only those that hold, and the
//! directory asks when the next one ends.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{RequestId, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::tenancy::features::{self, Decision, Flag, FlagType, FlagValue};
use rowhouse_store::{Change, Notice, StoreError, Transaction};
use serde::Deserialize;
use serde_json::json;
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use utoipa::ToSchema;

use super::queries;
use crate::Control;
use crate::catalog::{self, Definitions, LoadError};

/// Longest reason, in characters.
const REASON_MAX: usize = 500;

/// A tenant's own value of a flag.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// The flag.
    pub flag: String,
    /// Its value.
    pub value: FlagValue,
    /// In words.
    pub reason: String,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// Whether the operator set it; then only the operator takes it away.
    pub by_operator: bool,
    /// The principal.
    pub set_by: String,
    /// When.
    pub set_at: Timestamp,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT tenant_id, flag, value, reason, until, by_operator, set_by, set_at \
             FROM tenancy.feature_overrides ",
            $rest
        )
    };
}

fn own(row: &Row) -> Override {
    Override {
        flag: row.get(1),
        value: row.get::<_, Json<FlagValue>>(2).0,
        reason: row.get(3),
        until: row.get(4),
        by_operator: row.get(5),
        set_by: row.get(6),
        set_at: row.get(7),
    }
}

/// The overrides that hold at `now`: of all tenants, or of one.
pub async fn load_overrides(
    transaction: &Transaction,
    tenant: Option<TenantId>,
    now: Timestamp,
) -> Result<Vec<(TenantId, Override)>, StoreError> {
    let sql = select!("WHERE ($1::uuid IS NULL OR tenant_id = $1) AND (until IS NULL OR until > $2)");
    let rows = transaction.query(sql, &[&tenant.map(|tenant| tenant.0), &now]).await?;
    Ok(rows.iter().map(|row| (TenantId(row.get(0)), own(row))).collect())
}

/// When the next override ends, after `now`.
pub async fn next_expiry(transaction: &Transaction, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let sql = "SELECT min(until) FROM tenancy.feature_overrides WHERE until > $1";
    Ok(transaction.query_one(sql, &[&now]).await?.get(0))
}

/// The tenants that had an override which ended after `since`, and not after `now`.
pub async fn expired(
    transaction: &Transaction,
    since: Timestamp,
    now: Timestamp,
) -> Result<Vec<TenantId>, StoreError> {
    let sql = "SELECT DISTINCT tenant_id FROM tenancy.feature_overrides WHERE until > $1 AND until <= $2";
    let rows = transaction.query(sql, &[&since, &now]).await?;
    Ok(rows.iter().map(|row| TenantId(row.get(0))).collect())
}

/// Where a tenant stands with every flag.
#[derive(Debug, Clone)]
pub struct Standing {
    tenant: TenantId,
    /// What its tier gives.
    given: Vec<String>,
    /// All flags, by name.
    pub flags: Vec<Flag>,
    /// The overrides that hold, by flag.
    pub own: HashMap<String, Override>,
}

impl Standing {
    /// Of a tenant of `tier`, as `definitions` say and its overrides hold now.
    pub async fn of(
        transaction: &Transaction,
        definitions: &Definitions,
        tenant: TenantId,
        tier: &str,
    ) -> Result<Self, StoreError> {
        let now = transaction.store().clock().now();
        let own = load_overrides(transaction, Some(tenant), now).await?;
        let given = definitions.tiers.iter().find(|own| own.name == tier).map(|own| own.features.clone());
        Ok(Standing {
            tenant,
            given: given.unwrap_or_default(),
            flags: features::flags(&definitions.flags, &definitions.tiers),
            own: own.into_iter().map(|(_, own)| (own.flag.clone(), own)).collect(),
        })
    }

    /// Of a tenant, with everything that takes loaded here; `None` if there is no such tenant.
    pub async fn load(transaction: &Transaction, tenant: TenantId) -> Result<Option<Self>, LoadError> {
        let Some(record) = queries::get(transaction, tenant).await? else { return Ok(None) };
        let definitions = catalog::load(transaction).await?;
        Ok(Some(Standing::of(transaction, &definitions, tenant, &record.tenant.tier).await?))
    }

    /// The flag with this name.
    ///
    /// # Errors
    /// 422 `tenancy.unknown_feature`.
    pub fn flag(&self, name: &str) -> Result<&Flag, Refusal> {
        let unknown = || Refusal::new(&kind::UNKNOWN_FEATURE, format!("There is no feature flag `{name}`."));
        self.flags.iter().find(|flag| flag.name == name).ok_or_else(unknown)
    }

    /// Which value of a flag holds.
    pub fn decide(&self, flag: &Flag) -> Decision {
        let own = self.own.get(&flag.name).map(|own| &own.value);
        features::decide(flag, self.tenant, &self.given, own)
    }

    /// Whether the tier gives a flag.
    pub fn tier_gives(&self, flag: &Flag) -> bool {
        flag.kind == FlagType::Bool && self.given.contains(&flag.name)
    }

    /// Every flag's value.
    pub fn values(&self) -> BTreeMap<String, FlagValue> {
        self.flags.iter().map(|flag| (flag.name.clone(), self.decide(flag).value)).collect()
    }

    /// Whether a flag is on.
    pub fn is_on(&self, name: &str) -> bool {
        self.flag(name).is_ok_and(|flag| self.decide(flag).value == FlagValue::Bool(true))
    }
}

/// A value to set.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewFlagOverride)]
pub struct NewOverride {
    /// Of the flag's type.
    #[schema(value_type = Object)]
    pub value: FlagValue,
    /// In words, 1 to 500 characters.
    pub reason: String,
    /// When it ends by itself; RFC 3339, in the future.
    #[schema(value_type = Option<String>)]
    pub until: Option<Timestamp>,
}

/// Who asks for a change.
#[derive(Debug, Clone, Copy)]
pub struct Asking {
    /// Whether it is one of the operator's principals.
    pub operator: bool,
    /// The request.
    pub request_id: RequestId,
}

/// Gives a tenant a value of its own. The same value again changes nothing.
///
/// # Errors
/// 404, 422 for an unknown flag or a value that does not fit, 403 where a tenant's principal may not: it can only turn
/// off what its tier gives, and not where the operator has spoken.
pub(super) async fn put(
    control: &Control,
    permit: &Permit,
    (tenant, name): (TenantId, &str),
    new: NewOverride,
    asking: Asking,
) -> Result<Standing, Refusal> {
    let transaction = control.store.write(permit).await?;
    let (mut standing, stored) = locked(&transaction, tenant, name).await?;
    let flag = standing.flag(name)?;
    check(flag, &new, control.clock().now())?;
    if !asking.operator {
        let narrows = new.value == FlagValue::Bool(false) && standing.tier_gives(flag);
        refuse_beyond_tenant(narrows, standing.own.get(name))?;
    }
    let own = Override {
        flag: name.to_owned(),
        value: new.value,
        reason: new.reason,
        until: new.until,
        by_operator: asking.operator,
        set_by: permit.principal().to_string(),
        set_at: control.clock().now(),
    };
    if stored.as_ref().is_some_and(|stored| same(stored, &own)) {
        transaction.rollback().await?;
        return Ok(standing);
    }
    store(&transaction, tenant, &own).await?;
    let details = json!({ "value": own.value, "until": own.until.map(|until| until.to_string()) });
    let change =
        Change::new(tenant, "tenancy.feature_changed", "update", permit.principal()).details(details);
    standing.own.insert(own.flag.clone(), own);
    transaction.commit(noted(change, tenant, name, asking)).await?;
    Ok(standing)
}

/// Takes a tenant's own value away.
///
/// # Errors
/// 404 if there is none, 403 where it is the operator's and a tenant's principal asks.
pub(super) async fn delete(
    control: &Control,
    permit: &Permit,
    (tenant, name): (TenantId, &str),
    asking: Asking,
) -> Result<(), Refusal> {
    let transaction = control.store.write(permit).await?;
    let (standing, stored) = locked(&transaction, tenant, name).await?;
    let none = || Refusal::new(&kind::NOT_FOUND, "The tenant has no value of its own for this flag.");
    stored.ok_or_else(none)?;
    if !asking.operator {
        refuse_beyond_tenant(true, standing.own.get(name))?;
    }
    let sql = "DELETE FROM tenancy.feature_overrides WHERE tenant_id = $1 AND flag = $2";
    transaction.execute(sql, &[&tenant.0, &name]).await?;
    let change = Change::new(tenant, "tenancy.feature_changed", "delete", permit.principal());
    transaction.commit(noted(change, tenant, name, asking)).await?;
    Ok(())
}

fn noted(change: Change, tenant: TenantId, name: &str, asking: Asking) -> Change {
    change.on("feature", name).request(asking.request_id).notify(Notice::tenant(tenant))
}

/// Where the tenant stands, with nobody else changing it, and what is stored of its own, ended or not.
async fn locked(
    transaction: &Transaction,
    tenant: TenantId,
    name: &str,
) -> Result<(Standing, Option<Override>), Refusal> {
    let gone = || Refusal::new(&kind::NOT_FOUND, "There is no such tenant.");
    queries::lock(transaction, tenant).await?.ok_or_else(gone)?;
    let standing = Standing::load(transaction, tenant).await?.ok_or_else(gone)?;
    let row =
        transaction.query_opt(select!("WHERE tenant_id = $1 AND flag = $2"), &[&tenant.0, &name]).await?;
    Ok((standing, row.as_ref().map(own)))
}

fn check(flag: &Flag, new: &NewOverride, now: Timestamp) -> Result<(), Refusal> {
    let mut refusal = Refusal::new(&kind::CONFIGURATION_INVALID, "The override is wrong.");
    if !new.value.fits(flag.kind) {
        refusal = refusal.field("/value", "malformed", flag.kind.expected());
    }
    if !(1..=REASON_MAX).contains(&new.reason.trim().chars().count()) {
        refusal = refusal.field("/reason", "out_of_bounds", "1 to 500 characters");
    }
    if new.until.is_some_and(|until| until <= now) {
        refusal = refusal.field("/until", "past", "a time in the future");
    }
    if refusal.errors().is_empty() { Ok(()) } else { Err(refusal) }
}

fn refuse_beyond_tenant(narrows: bool, holds: Option<&Override>) -> Result<(), Refusal> {
    let denied = |words: &str| Err(Refusal::new(&kind::ACCESS_DENIED, words));
    match holds {
        Some(own) if own.by_operator => {
            denied("The operator has set this flag; only the operator changes it.")
        }
        _ if !narrows => denied("A tenant can only turn off what its tier gives."),
        _ => Ok(()),
    }
}

/// Whether nothing about what holds would change.
fn same(stored: &Override, new: &Override) -> bool {
    (&stored.value, &stored.reason, stored.by_operator) == (&new.value, &new.reason, new.by_operator)
        && micros(stored.until) == micros(new.until)
}

/// Times are kept in whole microseconds.
fn micros(at: Option<Timestamp>) -> Option<i64> {
    at.map(Timestamp::as_microsecond)
}

async fn store(transaction: &Transaction, tenant: TenantId, own: &Override) -> Result<(), StoreError> {
    transaction
        .execute(
            "INSERT INTO tenancy.feature_overrides \
               (tenant_id, flag, value, reason, until, by_operator, set_by, set_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
             ON CONFLICT (tenant_id, flag) DO UPDATE SET value = excluded.value, reason = excluded.reason, \
               until = excluded.until, by_operator = excluded.by_operator, set_by = excluded.set_by, \
               set_at = excluded.set_at",
            &[
                &tenant.0,
                &own.flag,
                &Json(&own.value),
                &own.reason,
                &own.until,
                &own.by_operator,
                &own.set_by,
                &own.set_at,
            ],
        )
        .await?;
    Ok(())
}
