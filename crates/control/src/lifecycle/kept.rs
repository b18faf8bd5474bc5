//! What this feature keeps of a tenant outside its place: copies and files, with where they lie.

use rowhouse_domain::id::{BackupId, ExportId, RestoreId, TenantId};
use rowhouse_store::{StoreError, Transaction};

/// Copies and files of a tenant that are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// `backup` or `export`, its id, and its region.
    pub files: Vec<(&'static str, String, String)>,
    /// Id and cell of each restored copy.
    pub restores: Vec<(String, String)>,
}

/// What is kept of `tenant`, or about to be.
///
/// # Errors
/// If the control database failed.
pub async fn kept(transaction: &Transaction, tenant: TenantId) -> Result<Kept, StoreError> {
    let backups = "SELECT backup_id, region FROM lifecycle.backups WHERE tenant_id = $1 AND state IN ('running', 'ok') ORDER BY 1";
    let exports = "SELECT export_id, region FROM lifecycle.exports WHERE tenant_id = $1 AND state IN ('running', 'ok') ORDER BY 1";
    let restores = "SELECT restore_id, cell FROM lifecycle.restores WHERE tenant_id = $1 AND state IN ('running', 'open') ORDER BY 1";
    let mut kept = Kept::default();
    for row in transaction.query(backups, &[&tenant.0]).await? {
        kept.files.push(("backup", BackupId(row.get(0)).to_string(), row.get(1)));
    }
    for row in transaction.query(exports, &[&tenant.0]).await? {
        kept.files.push(("export", ExportId(row.get(0)).to_string(), row.get(1)));
    }
    for row in transaction.query(restores, &[&tenant.0]).await? {
        kept.restores.push((RestoreId(row.get(0)).to_string(), row.get(1)));
    }
    Ok(kept)
}
