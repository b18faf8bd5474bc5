//! Ending sessions, for every reason there is.

use rowhouse_domain::access::Principal;
use rowhouse_domain::id::{SessionId, TenantId, UserId};
use rowhouse_store::{Change, Notice, StoreError, Transaction};
use serde_json::json;

use super::queries;

/// The event of a session that has ended, with the notice that makes gateways refuse its tokens.
pub fn ended(tenant: TenantId, session: SessionId, because: &str, by: Principal) -> Change {
    Change::new(tenant, "identity.session_ended", "delete", by)
        .on("session", session)
        .details(json!({ "because": because }))
        .notify(Notice::tenant(tenant))
}

/// Ends one session; what is to be committed with it, none if it was ended before.
pub async fn end_one(
    transaction: &Transaction,
    (tenant, session): (TenantId, SessionId),
    because: &str,
    by: Principal,
) -> Result<Option<Change>, StoreError> {
    let now = transaction.store().clock().now();
    let is_new = queries::end(transaction, session, because, now).await?;
    Ok(is_new.then(|| ended(tenant, session, because, by)))
}

/// Ends the sessions of a person in one tenant.
pub async fn end_all(
    transaction: &Transaction,
    (tenant, user): (TenantId, UserId),
    because: &str,
    by: Principal,
) -> Result<Vec<Change>, StoreError> {
    let now = transaction.store().clock().now();
    let all = queries::end_of_user(transaction, user, (Some(tenant), None), because, now).await?;
    Ok(all.into_iter().map(|(tenant, session)| ended(tenant, session, because, by)).collect())
}

/// Ends the sessions of a person in all tenants, but one. The transaction must see the platform.
pub async fn end_every(
    transaction: &Transaction,
    user: UserId,
    but: Option<SessionId>,
    because: &str,
    by: Principal,
) -> Result<Vec<Change>, StoreError> {
    let now = transaction.store().clock().now();
    let all = queries::end_of_user(transaction, user, (None, but), because, now).await?;
    Ok(all.into_iter().map(|(tenant, session)| ended(tenant, session, because, by)).collect())
}
