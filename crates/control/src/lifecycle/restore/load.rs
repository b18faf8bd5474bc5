//! From a sealed file into an empty place: tables as they were then, rows, proof, and forward to the tables of now.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use rowhouse_tenantdb::copy::{CopyError, Loading, Table};
use rowhouse_tenantdb::tables::{InstallError, ServiceTables, install};
use rowhouse_tenantdb::{Cell, Place};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::super::backup::{Manifest, Shape, hexadecimal, row_section};
use super::super::sealed::{Chunk, Names, Reader, SealedError};

/// Longest shape or manifest: a service's migrations are at most a MiB each.
const TEXT_MAX: usize = 256 * 1024 * 1024;

/// What was loaded and proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// Of all tables.
    pub rows: i64,
    /// How many.
    pub tables: usize,
    /// Version of each service's tables then.
    pub services: BTreeMap<String, i32>,
    /// SHA-256 of the manifest, hexadecimal.
    pub manifest_sha256: String,
}

/// Why a backup could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is not what was written.
    #[error("the backup cannot be used: {0}")]
    Sealed(#[from] SealedError),
    /// The file is whole, and says something that this code does not understand.
    #[error("the backup cannot be used: its {0} cannot be read")]
    Contents(&'static str),
    /// What was loaded is not what was taken.
    #[error("the backup cannot be used: {table} differs from what its manifest says")]
    Differs {
        /// Service and table.
        table: String,
    },
    /// The place's server failed.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The tables could not be made.
    #[error("the tables of {service} could not be made")]
    Install {
        /// The service.
        service: String,
        /// Why.
        #[source]
        source: InstallError,
    },
}

impl LoadError {
    /// Whether it will be the same however often it is tried.
    pub fn is_final(&self) -> bool {
        let stands = |error: &SealedError| !matches!(error, SealedError::Io(_));
        match self {
            LoadError::Sealed(error) => stands(error),
            LoadError::Contents(_) | LoadError::Differs { .. } => true,
            LoadError::Copy(_) => false,
            LoadError::Install { source, .. } => {
                !matches!(source, InstallError::Connect(_) | InstallError::Server { .. })
            }
        }
    }
}

/// Loads the file `path` into `place`, which was just made, and brings its tables to `current`.
///
/// # Errors
/// See [`LoadError`]; what stands in the place then is for nobody.
pub async fn load(
    (path, key, names): (&Path, &[u8; 32], Names),
    cell: &Cell,
    place: &Place,
    current: &[ServiceTables],
) -> Result<Loaded, LoadError> {
    let mut reader = Reader::open(path, key, names).await?;
    let first = reader.next().await?.ok_or(LoadError::Contents("shape"))?;
    let (shape, next) = text(&mut reader, first, "shape").await?;
    let shape: Shape = serde_json::from_slice(&shape).map_err(|_| LoadError::Contents("shape"))?;
    for then in &shape.services {
        install_at(cell, place, &then.tables).await?;
    }
    let loading = Loading::begin(cell, place).await?;
    let (digests, last) = rows(&mut reader, next, (&shape, place), &loading).await?;
    let (manifest, end) = text(&mut reader, last, "manifest").await?;
    if end.is_some() {
        return Err(LoadError::Contents("end"));
    }
    let manifest_sha256 = hexadecimal(&Sha256::digest(&manifest));
    let manifest: Manifest =
        serde_json::from_slice(&manifest).map_err(|_| LoadError::Contents("manifest"))?;
    prove(&manifest, (&shape, place), &loading, &digests).await?;
    loading.commit().await?;
    for tables in current {
        install_at(cell, place, tables).await?;
    }
    let rows = manifest.tables.iter().map(|line| line.sum.rows).sum();
    Ok(Loaded { rows, tables: manifest.tables.len(), services: manifest.services, manifest_sha256 })
}

async fn install_at(cell: &Cell, place: &Place, tables: &ServiceTables) -> Result<(), LoadError> {
    // A database of its own: every service has the schema of its name.
    let schema = place.schema(&tables.service, true);
    match install(cell, &place.target(&schema), tables).await {
        Ok(_) => Ok(()),
        Err(source) => Err(LoadError::Install { service: tables.service.clone(), source }),
    }
}

/// All of one section that is a text, and the chunk behind it.
async fn text(
    reader: &mut Reader,
    first: Chunk,
    section: &'static str,
) -> Result<(Vec<u8>, Option<Chunk>), LoadError> {
    if first.section != section {
        return Err(LoadError::Contents(section));
    }
    let mut bytes = first.bytes;
    loop {
        match reader.next().await? {
            Some(chunk) if chunk.section == section => bytes.extend(chunk.bytes),
            other => return Ok((bytes, other)),
        }
        if bytes.len() > TEXT_MAX {
            return Err(LoadError::Contents(section));
        }
    }
}

/// What each section held, and the first chunk of the manifest.
async fn rows(
    reader: &mut Reader,
    mut next: Option<Chunk>,
    (shape, place): (&Shape, &Place),
    loading: &Loading,
) -> Result<(BTreeMap<String, String>, Chunk), LoadError> {
    let mut digests = BTreeMap::new();
    while let Some(chunk) = next {
        if chunk.section == "manifest" {
            return Ok((digests, chunk));
        }
        let section = chunk.section.clone();
        let table = table_of(shape, place, &section).ok_or(LoadError::Contents("list of tables"))?;
        let mut digest = Sha256::new();
        let mut sink = loading.open(&table).await?;
        let mut current = Some(chunk);
        while let Some(chunk) = current.take_if(|chunk| chunk.section == section) {
            digest.update(&chunk.bytes);
            sink.write(Bytes::from(chunk.bytes)).await?;
            current = reader.next().await?;
        }
        sink.finish().await?;
        if digests.insert(section, hexadecimal(&digest.finalize())).is_some() {
            return Err(LoadError::Contents("list of tables"));
        }
        next = current;
    }
    Err(LoadError::Contents("manifest"))
}

/// The table of a section, in the schema where it lies now.
fn table_of(shape: &Shape, place: &Place, section: &str) -> Option<Table> {
    shape.services.iter().find_map(|then| {
        let is_it =
            |table: &&Table| row_section(&table.service, then.tables.version(), &table.name) == section;
        let table = then.copied.iter().find(is_it)?;
        Some(table.within(&place.schema(&table.service, true)))
    })
}

/// Every table of the manifest is there with its rows and sums, and no other was in the file.
async fn prove(
    manifest: &Manifest,
    (shape, place): (&Shape, &Place),
    loading: &Loading,
    digests: &BTreeMap<String, String>,
) -> Result<(), LoadError> {
    let mut found = 0;
    for line in &manifest.tables {
        let differs = || LoadError::Differs { table: format!("{}.{}", line.service, line.table) };
        let version = manifest.services.get(&line.service).copied().ok_or_else(differs)?;
        let section = row_section(&line.service, version, &line.table);
        let table = table_of(shape, place, &section).ok_or_else(differs)?;
        let digest = digests.get(&section);
        found += usize::from(digest.is_some());
        let empty = hexadecimal(&Sha256::digest([]));
        if digest.unwrap_or(&empty) != &line.sha256 || loading.sum(&table).await? != line.sum {
            return Err(differs());
        }
        loading.advance_counters(&table).await?;
    }
    match found == digests.len() {
        true => Ok(()),
        false => Err(LoadError::Contents("list of tables")),
    }
}
