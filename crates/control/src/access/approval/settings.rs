//! What a tenant asks of its own administrators: two of them for grants of what is sensitive. One alone can ask for that; it takes
//! two to be asked no more.

use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::Refusal;
use rowhouse_store::{Change, StoreError, Transaction};
use serde_json::json;

use super::queries;

/// Whether the tenant wants two people for grants of what is sensitive.
pub(super) async fn is_by_two(tx: &Transaction, tenant: TenantId) -> Result<bool, StoreError> {
    queries::is_by_two(tx, tenant).await
}

/// Sets it; what to commit it with.
pub(super) async fn set(
    transaction: &Transaction,
    tenant: TenantId,
    wanted: bool,
) -> Result<Change, Refusal> {
    let now = transaction.store().clock().now();
    queries::set_by_two(transaction, tenant, (wanted, now)).await?;
    let change = Change::new(tenant, "access.settings_changed", "update", transaction.principal());
    Ok(change.on("tenant", tenant).details(json!({ "approve_sensitive_grants": wanted })))
}
