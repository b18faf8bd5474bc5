//! Making and revoking secrets. Whoever makes one stands in for the account, so it needs all that the account holds.

use jiff::SignedDuration;
use rowhouse_domain::access::{Principal, PrincipalKind};
use rowhouse_domain::id::{ServiceAccountId, SessionId, TenantId};
use rowhouse_domain::identity::client_secret;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Notice, Transaction};
use serde_json::json;

use super::queries::{self, SecretRow};
use crate::access::{Authority, Rules};
use crate::identity::token;
use crate::{Control, keys};

/// Secrets that an account may have at once: the one in use, and the one that follows it.
const MOST: usize = 2;
const LABEL_MAX: usize = 60;
const DAYS_MAX: i64 = 365;
pub const PURPOSE: &str = "client_secret";

/// A secret to be made.
#[derive(Debug)]
pub struct NewSecret {
    pub label: String,
    /// 1 to 365.
    pub days: i64,
}

/// Makes one: what is kept, its text, and what to commit it with.
///
/// # Errors
/// 404 for an account of another tenant; 409 `keys.wrong_state` for one that is disabled; 409 `identity.too_many_secrets`; 403
/// `access.escalation`; 422.
pub async fn make(
    control: &Control,
    transaction: &Transaction,
    (tenant, account): (TenantId, ServiceAccountId),
    new: NewSecret,
    authority: &Authority,
) -> Result<(SecretRow, String, Change), Refusal> {
    check(&new)?;
    let owner = keys::service_account_of(transaction, tenant, account.0).await?;
    if owner.disabled {
        return Err(Refusal::new(&kind::KEY_WRONG_STATE, "The service account is disabled."));
    }
    let principal = Principal { kind: PrincipalKind::ServiceAccount, id: account.0 };
    Rules::refuse_standing_in(transaction, authority, (tenant, principal)).await?;
    queries::lock_account(transaction, account).await?;
    let now = control.clock().now();
    let present = queries::of_account(transaction, account).await?;
    if present.iter().filter(|row| row.expires_at > now).count() >= MOST {
        return Err(Refusal::new(&kind::TOO_MANY_SECRETS, "The account has two secrets already."));
    }
    let text = client_secret(control.entropy().bytes());
    let row = SecretRow {
        id: SessionId(control.entropy().uuid_v7(now.as_microsecond())),
        tenant,
        account,
        label: new.label.trim().to_owned(),
        created_at: now,
        created_by: transaction.principal().to_string(),
        expires_at: now + SignedDuration::from_hours(24 * new.days),
        used_at: None,
    };
    queries::insert(transaction, &row, &token::digest(control, PURPOSE, &text)).await?;
    let change = Change::new(tenant, "identity.client_secret_created", "create", transaction.principal())
        .on("service_account", account)
        .on("client_secret", row.id)
        .details(json!({ "expires_at_us": row.expires_at.as_microsecond() }));
    Ok((row, text, change))
}

fn check(new: &NewSecret) -> Result<(), Refusal> {
    let refusal = Refusal::new(&kind::INVALID, "The secret is not well-formed.");
    if new.label.chars().count() > LABEL_MAX || new.label.chars().any(char::is_control) {
        return Err(refusal.field("/label", "malformed", "at most 60 characters"));
    }
    match (1..=DAYS_MAX).contains(&new.days) {
        true => Ok(()),
        false => Err(refusal.field("/days", "out_of_bounds", "1 to 365")),
    }
}

/// Revokes one: its tokens end with it.
///
/// # Errors
/// 404.
pub async fn revoke(
    control: &Control,
    transaction: &Transaction,
    (tenant, account): (TenantId, ServiceAccountId),
    id: SessionId,
) -> Result<Change, Refusal> {
    keys::service_account_of(transaction, tenant, account.0).await?;
    if !queries::revoke(transaction, (account, id), control.clock().now()).await? {
        return Err(Refusal::new(&kind::NOT_FOUND, "There is no such secret."));
    }
    Ok(Change::new(tenant, "identity.client_secret_revoked", "delete", transaction.principal())
        .on("service_account", account)
        .on("client_secret", id)
        .details(json!({}))
        .notify(Notice::tenant(tenant)))
}
