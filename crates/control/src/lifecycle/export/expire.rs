//! The end of exports.

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{ExportId, TenantId};
use rowhouse_domain::refusal::Refusal;
use rowhouse_store::{Change, StoreError, Transaction};

use super::super::backup::{Folder, single, unremovable, whole};
use super::queries::{self, ExportRow};
use crate::Control;
use crate::audit::holds;
use crate::tenancy::residency;

/// Removes the exports whose time is over; how many.
///
/// # Errors
/// With the first that could not be removed; the others wait for the next call.
pub async fn expire(control: &Control) -> Result<usize, Refusal> {
    let transaction = control.store.read(&Permit::for_system(None, "expiry")).await?;
    let held = holds::in_force(&transaction).await?;
    let over =
        queries::expiring(&transaction, (&whole(&held), &single(&held, "export", |id: ExportId| id.0)))
            .await?;
    transaction.finish().await?;
    for row in &over {
        expire_one(control, row).await?;
    }
    Ok(over.len())
}

async fn expire_one(control: &Control, row: &ExportRow) -> Result<(), Refusal> {
    let permit = Permit::for_system(Some(row.tenant), "expiry");
    let transaction = control.store.write(&permit).await?;
    let resident = residency::resident(control, &transaction, row.tenant, &row.region).await?;
    let folder = Folder::of(&control.settings.backups, &resident);
    folder.remove(&row.id.to_string()).await.map_err(unremovable)?;
    if !queries::end(&transaction, row.id, "expired").await? {
        return Ok(transaction.rollback().await?);
    }
    let change = Change::new(row.tenant, "lifecycle.export_expired", "delete", transaction.principal());
    Ok(transaction.commit(change.on("export", row.id)).await?)
}

/// Whether the tenant has this export, and it can be fetched.
///
/// # Errors
/// If the control database failed.
pub async fn is_there(transaction: &Transaction, tenant: TenantId, id: ExportId) -> Result<bool, StoreError> {
    let found = queries::get(transaction, id).await?;
    Ok(found.is_some_and(|row| row.tenant == tenant && row.state == "ok"))
}
