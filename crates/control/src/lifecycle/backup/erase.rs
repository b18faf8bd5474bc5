//! Erasing everything that was copied of a tenant: what decommissioning calls, and its certificate tells.

use std::path::PathBuf;

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::Refusal;
use serde::{Deserialize, Serialize};

use super::folder::Folder;
use super::{queries, unremovable};
use crate::Control;

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
    transaction.commit_telemetry().await?;
    // After that: a backup that was being taken finds that it is not wanted any more, and removes its own file.
    let bytes = remove_files(control, tenant).await?;
    Ok(Erased { backups, exports, restored_places, bytes })
}

/// Removes the tenant's folder in every region, with everything in it; how many bytes that was. Nothing may be wanted any more
/// of what is there.
///
/// # Errors
/// If a file cannot be removed.
pub async fn remove_files(control: &Control, tenant: TenantId) -> Result<u64, Refusal> {
    let mut bytes = 0;
    for folder in Folder::everywhere(&control.settings.backups, tenant).await.map_err(unremovable)? {
        bytes += folder.remove_all().await.map_err(unremovable)?;
    }
    Ok(bytes)
}

/// Every file and folder of the tenant's copies, in every region.
///
/// # Errors
/// If a folder cannot be read.
pub async fn files_of(control: &Control, tenant: TenantId) -> Result<Vec<PathBuf>, Refusal> {
    let folders = Folder::everywhere(&control.settings.backups, tenant).await.map_err(unremovable)?;
    Ok(folders.into_iter().map(|folder| folder.file("")).collect())
}
