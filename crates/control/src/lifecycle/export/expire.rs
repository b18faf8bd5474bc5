//! The end of exports.

use rowhouse_domain::access::Permit;
use rowhouse_domain::refusal::Refusal;
use rowhouse_store::Change;

use super::super::backup::{Folder, unremovable};
use super::queries::{self, ExportRow};
use crate::Control;
use crate::tenancy::residency;

/// Removes the exports whose time is over; how many.
///
/// # Errors
/// With the first that could not be removed; the others wait for the next call.
pub async fn expire(control: &Control) -> Result<usize, Refusal> {
    let transaction = control.store.read(&Permit::for_system(None, "expiry")).await?;
    let over = queries::expiring(&transaction).await?;
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
