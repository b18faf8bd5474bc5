//! Erasing everything that was copied of a tenant: what decommissioning calls, and its certificate tells.

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::Refusal;
use serde::{Deserialize, Serialize};

use super::folder::Folder;
use super::{queries, unremovable};
use crate::Control;
use crate::tenancy::residency;

/// What was erased.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Erased {
    /// Backups that cannot be opened any more, as of now; a second call tells the same.
    pub backups: u64,
    /// Exports that could have been fetched.
    pub exports: u64,
    /// Restored copies that were open.
    pub restored_places: u64,
    /// Of files.
    pub bytes: u64,
}

/// Erases all backups, exports and restored copies of `tenant`. No new one may be asked for meanwhile: the tenant's
/// status sees to that. Twice is once. Destroying the tenant's key
/// (`tenancy::destroy_tenant_key`) is the caller's: it is the last thing, and the erasure of copies that nobody knows of.
///
/// # Errors
/// If a file or a restored copy cannot be removed; calling again goes on.
pub async fn erase_all(control: &Control, tenant: TenantId) -> Result<Erased, Refusal> {
    let restored_places = super::super::restore::remove_all(control, tenant).await?;
    let permit = Permit::for_system(Some(tenant), "erasure of a tenant");
    let transaction = control.store.write(&permit).await?;
    let backups = queries::shred_all(&transaction, tenant).await?;
    let exports = super::super::export::queries::expire_all(&transaction, tenant).await?;
    let mut bytes = 0;
    // Files of every region where the tenant's data may lie.
    for region in residency::regions(control).into_keys() {
        if let Ok(resident) = residency::resident(control, &transaction, tenant, &region).await {
            let folder = Folder::of(&control.settings.backups, &resident);
            bytes += folder.remove_all().await.map_err(unremovable)?;
        }
    }
    transaction.commit_telemetry().await?;
    Ok(Erased { backups, exports, restored_places, bytes })
}
