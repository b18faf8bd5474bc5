//! Taking a snapshot of one tenant into a sealed file. Memory does not depend on how much there is.

use std::path::Path;

use futures_util::StreamExt;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{BackupId, TenantId};
use rowhouse_store::StoreError;
use rowhouse_tenantdb::copy::{CopyError, Snapshot, Table};
use sha2::{Digest, Sha256};

use super::super::sealed::{Names, Writer, Written};
use super::contents::{Manifest, Shape, TableLine, row_section};
use crate::Control;
use crate::tenancy::places::PlaceRow;
use crate::tenancy::{TenantKeyError, cells, places, service_tables, tenant_key};

/// Which key seals snapshots.
pub const KEY_LABEL: &str = "snapshot/v1";

/// A snapshot was not taken; nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// The control database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The tenant's database failed.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The file could not be written.
    #[error("the backup's file could not be written")]
    File(#[from] std::io::Error),
    /// The tenant's key cannot be used.
    #[error(transparent)]
    Key(#[from] TenantKeyError),
    /// There is nothing to copy from.
    #[error("the tenant lies nowhere that can be reached")]
    Nowhere,
}

/// What was taken.
#[derive(Debug, Clone)]
pub struct Taken {
    /// The file.
    pub written: Written,
    /// What it says at its end.
    pub manifest: Manifest,
    /// SHA-256 of that, hexadecimal.
    pub manifest_sha256: String,
    /// Where the tenant lay.
    pub cell: String,
}

/// The names that a backup's file is bound to.
pub fn names_of(tenant: TenantId, backup: BackupId) -> Names {
    Names { tenant, id: backup.0, kind: "snapshot" }
}

/// Takes `backup` of `tenant` into the file `path`.
///
/// # Errors
/// See [`TakeError`].
pub async fn take(
    control: &Control,
    tenant: TenantId,
    backup: BackupId,
    path: &Path,
) -> Result<Taken, TakeError> {
    let permit = Permit::for_system(Some(tenant), "a backup");
    let transaction = control.store.read(&permit).await?;
    let row = places::get(&transaction, tenant).await?.ok_or(TakeError::Nowhere)?;
    let cell = cells::get(&transaction, &row.cell).await?.ok_or(TakeError::Nowhere)?;
    let recorded = service_tables::all(&transaction).await?;
    transaction.finish().await?;
    let key = tenant_key(control, tenant).await?.derive(KEY_LABEL);
    let snapshot = Snapshot::open(&cell, &row.place).await?;
    let shape = Shape::of(snapshot.services(), &recorded);
    let taken_at = control.clock().now().to_string();
    let mut writer = Writer::create(path, &key, names_of(tenant, backup), control.entropy()).await?;
    let written = match write_tables(&snapshot, &shape, &mut writer).await {
        Ok(tables) => {
            let manifest = manifest_of((tenant, backup), &row, (taken_at, &shape), tables);
            let text = serde_json::to_vec(&manifest).expect("plain data");
            writer.finish("manifest", &text).await.map(|written| (written, manifest, text))?
        }
        Err(error) => {
            writer.abandon().await;
            return Err(error);
        }
    };
    snapshot.close().await;
    let (written, manifest, text) = written;
    Ok(Taken { written, manifest_sha256: hexadecimal(&Sha256::digest(&text)), manifest, cell: row.cell })
}

fn manifest_of(
    (tenant, backup): (TenantId, BackupId),
    row: &PlaceRow,
    (taken_at, shape): (String, &Shape),
    tables: Vec<TableLine>,
) -> Manifest {
    Manifest {
        tenant: tenant.to_string(),
        backup: backup.to_string(),
        taken_at,
        isolation: row.place.isolation.as_str().to_owned(),
        epoch: row.place.epoch,
        services: shape.versions(),
        tables,
    }
}

async fn write_tables(
    snapshot: &Snapshot,
    shape: &Shape,
    writer: &mut Writer,
) -> Result<Vec<TableLine>, TakeError> {
    writer.section("shape").await?;
    writer.write(&serde_json::to_vec(shape).expect("plain data")).await?;
    let mut lines = Vec::new();
    for service in &shape.services {
        for table in &service.copied {
            lines.push(write_table(snapshot, service.tables.version(), table, writer).await?);
        }
    }
    Ok(lines)
}

async fn write_table(
    snapshot: &Snapshot,
    version: i32,
    table: &Table,
    writer: &mut Writer,
) -> Result<TableLine, TakeError> {
    writer.section(&row_section(&table.service, version, &table.name)).await?;
    let (mut digest, mut bytes) = (Sha256::new(), 0);
    let mut rows = snapshot.rows(table).await?;
    while let Some(piece) = rows.next().await {
        let piece = piece?;
        digest.update(&piece);
        bytes += piece.len() as u64;
        writer.write(&piece).await?;
    }
    Ok(TableLine {
        service: table.service.clone(),
        table: table.name.clone(),
        sum: snapshot.sum(table).await?,
        bytes,
        sha256: hexadecimal(&digest.finalize()),
    })
}

/// Lower-case digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
