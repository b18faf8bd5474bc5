//! A member of a tenant as the API shows them: who they are, what they may there, and how they sign in.

use std::collections::HashMap;

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{TenantId, UserId};
use rowhouse_domain::refusal::Refusal;
use rowhouse_store::{StoreError, Transaction};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::queries::MemberRow;
use super::sign_in::Lock;
use super::{factor, sign_in};
use crate::{Control, access};

/// A member of a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserAnswer {
    id: String,
    tenant: String,
    email: Option<String>,
    email_verified: bool,
    full_name: String,
    timezone: String,
    language: String,
    /// Roles granted in this tenant, now or later.
    roles: Vec<String>,
    /// Of the membership: `active`, `suspended`, `removed`.
    status: &'static str,
    /// How the person came: `invitation`, `operator`.
    source: String,
    /// Whether the person has a second factor.
    mfa_enabled: bool,
    /// Which kinds: `totp`, `passkey`, `security_key`, `sms_code`.
    factors: Vec<String>,
    /// Whether the password is not looked at just now, after too many wrong ones.
    locked: bool,
    /// When that ends by itself; none if it does not, or nothing is locked.
    locked_until: Option<String>,
    last_sign_in_at: Option<String>,
    created_at: String,
    created_by: String,
    version: i64,
}

/// The members as they are shown; the transaction, which must see their tenants, ends.
///
/// # Errors
/// If the database fails.
pub async fn answers(
    control: &Control,
    transaction: Transaction,
    rows: &[MemberRow],
) -> Result<Vec<UserAnswer>, Refusal> {
    let mut roles = roles(control, &transaction, rows).await?;
    transaction.finish().await?;
    // What proves a person is the platform's: a tenant sees of it that it is there.
    let platform = control.store.read(&Permit::for_system(None, "how members sign in")).await?;
    let people: Vec<Uuid> = rows.iter().map(|row| row.user.id.0).collect();
    let mut factors = HashMap::<UserId, Vec<String>>::new();
    for (user, kind) in factor::kinds_of(&platform, &people).await? {
        factors.entry(user).or_default().push(kind);
    }
    let emails: Vec<&str> = rows.iter().map(|row| row.user.email.as_deref().unwrap_or_default()).collect();
    let locks = sign_in::locks(control, &platform, &emails).await?;
    platform.finish().await?;
    let answer = |(row, lock): (&MemberRow, Option<Lock>)| {
        let roles = roles.remove(&(row.tenant, row.user.id)).unwrap_or_default();
        let factors = factors.get(&row.user.id).cloned().unwrap_or_default();
        shown(row, roles, (factors, lock.filter(|_| row.user.email.is_some())))
    };
    Ok(rows.iter().zip(locks).map(answer).collect())
}

/// [`answers`] of one.
///
/// # Errors
/// If the database fails.
pub async fn one_answer(
    control: &Control,
    transaction: Transaction,
    row: MemberRow,
) -> Result<UserAnswer, Refusal> {
    let mut all = answers(control, transaction, &[row]).await?;
    Ok(all.remove(0))
}

type Roles = HashMap<(TenantId, UserId), Vec<String>>;

async fn roles(
    control: &Control,
    transaction: &Transaction,
    rows: &[MemberRow],
) -> Result<Roles, StoreError> {
    let (tenants, people): (Vec<Uuid>, Vec<Uuid>) =
        rows.iter().map(|row| (row.tenant.0, row.user.id.0)).unzip();
    let found = access::roles_of_people(transaction, (&tenants, &people), control.clock().now()).await?;
    let mut all = Roles::new();
    for (tenant, user, role) in found {
        all.entry((tenant, UserId(user))).or_default().push(role);
    }
    Ok(all)
}

fn shown(row: &MemberRow, roles: Vec<String>, (factors, lock): (Vec<String>, Option<Lock>)) -> UserAnswer {
    let user = &row.user;
    UserAnswer {
        id: user.id.to_string(),
        tenant: row.tenant.to_string(),
        email: user.email.clone(),
        email_verified: user.email_verified_at.is_some(),
        full_name: user.full_name.clone(),
        timezone: user.timezone.clone(),
        language: user.language.clone(),
        roles,
        status: row.status.as_str(),
        source: row.source.clone(),
        mfa_enabled: !factors.is_empty(),
        factors,
        locked: lock.is_some(),
        locked_until: match lock {
            Some(Lock::Until(time)) => Some(time.to_string()),
            Some(Lock::ForGood) | None => None,
        },
        last_sign_in_at: user.last_sign_in_at.map(|time| time.to_string()),
        created_at: row.since.to_string(),
        created_by: user.created_by.clone(),
        version: row.version,
    }
}
