//! What legal holds keep from expiring.

use std::str::FromStr;

use rowhouse_domain::id::{BackupId, TenantId};
use rowhouse_store::{StoreError, Transaction};
use uuid::Uuid;

use super::queries;
use crate::audit::holds::HoldRow;

/// Tenants of which everything is held.
pub fn whole(holds: &[HoldRow]) -> Vec<Uuid> {
    holds.iter().filter(|hold| hold.resource.is_none()).map(|hold| hold.tenant.0).collect()
}

/// Things of `kind` that are held one by one.
pub fn single<Id: FromStr>(holds: &[HoldRow], kind: &str, uuid: fn(Id) -> Uuid) -> Vec<Uuid> {
    let resources = holds.iter().filter_map(|hold| hold.resource.as_ref());
    let ids = resources.filter(|held| held.kind == kind).filter_map(|held| held.id.parse::<Id>().ok());
    ids.map(uuid).collect()
}

/// Whether the tenant has this backup, and it is not over.
///
/// # Errors
/// If the control database failed.
pub async fn is_there(transaction: &Transaction, tenant: TenantId, id: BackupId) -> Result<bool, StoreError> {
    let found = queries::get(transaction, id).await?;
    Ok(found.is_some_and(|row| row.tenant == tenant && ["running", "ok"].contains(&&*row.state)))
}
