//! Writing an export into its sealed file: one section for each file of the tar to come.

use std::path::Path;

use futures_util::StreamExt;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{ExportId, TenantId};
use rowhouse_tenantdb::copy::{RowSplitter, Snapshot, Table};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::super::backup::{Shape, TakeError, hexadecimal};
use super::super::sealed::{Names, Writer};
use super::queries::Entry;
use crate::Control;
use crate::tenancy::{self, cells, places, service_tables, tenant_key};

/// Which key seals exports.
pub const KEY_LABEL: &str = "export/v1";

/// The names that an export's file is bound to.
pub fn names_of(tenant: TenantId, export: ExportId) -> Names {
    Names { tenant, id: export.0, kind: "export" }
}

/// Writes `export` of `tenant` into the file `path`: what is in it, and how long it is.
///
/// # Errors
/// As for a backup.
pub async fn write(
    control: &Control,
    tenant: TenantId,
    export: ExportId,
    path: &Path,
) -> Result<(Vec<Entry>, u64), TakeError> {
    let permit = Permit::for_system(Some(tenant), "an export");
    let transaction = control.store.read(&permit).await?;
    let record = tenancy::get(&transaction, tenant).await?.ok_or(TakeError::Nowhere)?;
    let row = places::get(&transaction, tenant).await?.ok_or(TakeError::Nowhere)?;
    let cell = cells::get(&transaction, &row.cell).await?.ok_or(TakeError::Nowhere)?;
    let recorded = service_tables::all(&transaction).await?;
    transaction.finish().await?;
    let key = tenant_key(control, tenant).await?.derive(KEY_LABEL);
    let snapshot = Snapshot::open(&cell, &row.place).await?;
    let shape = Shape::of(snapshot.services(), &recorded);
    let taken_at = control.clock().now().to_string();
    let mut writer = Writer::create(path, &key, names_of(tenant, export), control.entropy()).await?;
    let about = json!({
        "tenant": tenant, "code": record.tenant.code, "company_name": record.tenant.company_name,
        "export": export, "taken_at": taken_at, "format": "jsonl",
    });
    match write_all(&snapshot, &shape, about, &mut writer).await {
        Ok((mut entries, manifest)) => {
            entries.push(Entry { name: MANIFEST.to_owned(), bytes: manifest.len() as u64 });
            let written = writer.finish(MANIFEST, &manifest).await?;
            snapshot.close().await;
            Ok((entries, written.bytes))
        }
        Err(error) => {
            writer.abandon().await;
            Err(error)
        }
    }
}

const SCHEMA: &str = "schema.json";
const MANIFEST: &str = "manifest.json";

async fn write_all(
    snapshot: &Snapshot,
    shape: &Shape,
    mut about: serde_json::Value,
    writer: &mut Writer,
) -> Result<(Vec<Entry>, Vec<u8>), TakeError> {
    let schema = serde_json::to_vec_pretty(shape).expect("plain data");
    writer.section(SCHEMA).await?;
    writer.write(&schema).await?;
    let mut entries = vec![Entry { name: SCHEMA.to_owned(), bytes: schema.len() as u64 }];
    let mut tables = Vec::new();
    for table in shape.services.iter().flat_map(|then| &then.copied) {
        let (entry, rows, sha256) = write_table(snapshot, table, writer).await?;
        tables.push(json!({
            "service": table.service, "table": table.name, "file": entry.name, "rows": rows,
            "bytes": entry.bytes, "sha256": sha256,
        }));
        entries.push(entry);
    }
    about["services"] = json!(shape.versions());
    about["tables"] = json!(tables);
    Ok((entries, serde_json::to_vec_pretty(&about).expect("plain data")))
}

async fn write_table(
    snapshot: &Snapshot,
    table: &Table,
    writer: &mut Writer,
) -> Result<(Entry, u64, String), TakeError> {
    let name = format!("{}/{}.jsonl", table.service, table.name);
    writer.section(&name).await?;
    let (mut digest, mut bytes, mut count) = (Sha256::new(), 0, 0);
    let mut splitter = RowSplitter::default();
    let mut rows = snapshot.json(table).await?;
    let mut lines = Vec::new();
    while let Some(piece) = rows.next().await {
        let fed: Result<(), std::convert::Infallible> = splitter.feed(&piece?, |line| {
            lines.extend_from_slice(line);
            lines.push(b'\n');
            count += 1;
            Ok(())
        });
        let Ok(()) = fed;
        digest.update(&lines);
        bytes += lines.len() as u64;
        writer.write(&lines).await?;
        lines.clear();
    }
    Ok((Entry { name, bytes }, count, hexadecimal(&digest.finalize())))
}
