//! The policies of tenants, as they are in force.

use jiff::{SignedDuration, Timestamp};
use rowhouse_domain::id::{OPERATOR_TENANT, TenantId, UserId};
use rowhouse_domain::identity::{Elsewhere, LockoutPolicy, SignInPolicy};
use rowhouse_store::{StoreError, Transaction};
use tokio_postgres::types::Json;

use crate::identity::queries;

/// A tenant's policy.
#[derive(Debug, Clone)]
pub struct InForce {
    /// The stricter of the tenant's own and the floor.
    pub policy: SignInPolicy,
    /// From when on people have time to enrol.
    pub grace_from: Option<Timestamp>,
    /// 0 for the default, which nobody has set.
    pub version: i64,
}

impl InForce {
    /// Until when a person has time to enrol a second factor.
    pub async fn grace_until(
        &self,
        transaction: &Transaction,
        (tenant, user): (TenantId, UserId),
    ) -> Result<Option<Timestamp>, StoreError> {
        let member = queries::find_member(transaction, tenant, user).await?;
        let days = SignedDuration::from_hours(24 * self.policy.mfa_grace_days);
        Ok(member.map(|member| self.grace_from.map_or(member.since, |from| from.max(member.since)) + days))
    }

    /// Whether a person still has time to enrol one.
    pub async fn in_grace(
        &self,
        transaction: &Transaction,
        tenant: TenantId,
        user: UserId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        Ok(self.grace_until(transaction, (tenant, user)).await?.is_some_and(|until| now < until))
    }
}

/// What nobody may be laxer than.
pub fn floor(tenant: TenantId) -> Option<SignInPolicy> {
    (tenant == OPERATOR_TENANT).then(SignInPolicy::operator)
}

/// What is asked in a tenant now.
pub async fn in_force(transaction: &Transaction, tenant: TenantId) -> Result<InForce, StoreError> {
    let sql = "SELECT policy, grace_from, version FROM identity.sign_in_policies WHERE tenant_id = $1";
    let own = transaction.query_opt(sql, &[&tenant.0]).await?;
    let (policy, grace_from, version) = match own {
        Some(row) => (row.get::<_, Json<SignInPolicy>>(0).0, Some(row.get(1)), row.get(2)),
        None => (SignInPolicy::default(), None, 0),
    };
    let policy = floor(tenant).map_or_else(|| policy.clone(), |floor| policy.stricter(&floor));
    Ok(InForce { policy, grace_from, version })
}

/// What each tenant asks that a person belongs to, those that have suspended them too: what opens one opens it again when it resumes
/// them. Nobody (`None`) belongs to none, and is looked up all the same.
pub async fn of_all(
    transaction: &Transaction,
    user: Option<UserId>,
) -> Result<Vec<(TenantId, SignInPolicy)>, StoreError> {
    let sql = "SELECT m.tenant_id, p.policy FROM identity.memberships m \
               LEFT JOIN identity.sign_in_policies p ON p.tenant_id = m.tenant_id \
               WHERE m.user_id = $1 AND m.status <> 'removed' ORDER BY m.tenant_id";
    let id = user.map_or(uuid::Uuid::nil(), |user| user.0);
    let rows = transaction.query(sql, &[&id]).await?;
    let in_force = rows.iter().map(|row| {
        let tenant = TenantId(row.get(0));
        let own = row.get::<_, Option<Json<SignInPolicy>>>(1).map_or_else(SignInPolicy::default, |own| own.0);
        (tenant, floor(tenant).map_or_else(|| own.clone(), |floor| own.stricter(&floor)))
    });
    Ok(in_force.collect())
}

/// When tries of a person's password are stopped: by the strictest of their own tenants, whichever a try names; by the default for nobody.
pub async fn lockout_of(
    transaction: &Transaction,
    user: Option<UserId>,
) -> Result<LockoutPolicy, StoreError> {
    let all = of_all(transaction, user).await?;
    let strictest = all.iter().map(|(_, policy)| policy.lockout).reduce(LockoutPolicy::stricter);
    Ok(strictest.unwrap_or_default().bounded())
}

/// The tenants of `all` besides `here`.
pub fn elsewhere(all: &[(TenantId, SignInPolicy)], here: TenantId) -> Elsewhere {
    let mut others = all.iter().filter(|(tenant, _)| *tenant != here);
    Elsewhere { asks_second: others.any(|(_, policy)| policy.needed() > 1) }
}

/// Sets a tenant's policy if it is still at `version`; whether it was.
pub async fn put(
    transaction: &Transaction,
    tenant: TenantId,
    (policy, version): (&SignInPolicy, i64),
    (grace_from, now): (Timestamp, Timestamp),
) -> Result<bool, StoreError> {
    let by = transaction.principal().to_string();
    let sql = "INSERT INTO identity.sign_in_policies AS p (tenant_id, policy, grace_from, version, changed_at, changed_by) \
               SELECT $1, $2, $4, 1, $5, $6 WHERE $3::bigint = 0 \
               ON CONFLICT ON CONSTRAINT sign_in_policies_pkey DO NOTHING";
    let values: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
        &[&tenant.0, &Json(policy), &version, &grace_from, &now, &by];
    if version == 0 {
        return Ok(transaction.execute(sql, values).await? == 1);
    }
    let sql = "UPDATE identity.sign_in_policies SET policy = $2, grace_from = $4, version = version + 1, changed_at = $5, \
               changed_by = $6 WHERE tenant_id = $1 AND version = $3";
    Ok(transaction.execute(sql, values).await? == 1)
}
