//! Reading what the author of a service wrote: the manifest and the migrations.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::name::{NameError, is_plain, schema_of_service};

/// Most partitions a table may ask for.
const PARTITIONS_MAX: u32 = 1024;
/// Largest migration, in bytes.
const MIGRATION_MAX: usize = 1024 * 1024;

/// What a table is to tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableKind {
    /// Has `tenant_id`; each tenant sees its own rows.
    Tenant,
    /// The same rows for all; tenants may only read.
    Reference,
    /// Nothing for tenants.
    Internal,
}

impl TableKind {
    /// The word used in manifests and in `rh.relation`.
    pub fn as_str(self) -> &'static str {
        match self {
            TableKind::Tenant => "tenant",
            TableKind::Reference => "reference",
            TableKind::Internal => "internal",
        }
    }
}

/// Which column names a person, and what becomes of the row when that person is erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// Column that holds the subject.
    pub column: String,
    /// As in `anonymise`.
    pub on_erasure: String,
}

/// One table of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// What it is to tenants.
    pub kind: TableKind,
    /// Number of hash partitions by `tenant_id`, on the level `shared` only; 2 to 1,024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<u32>,
    /// Whose personal data it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
}

/// All tables of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Tables by name.
    #[serde(default, rename = "table")]
    pub tables: BTreeMap<String, Table>,
}

/// One numbered migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// 1 and up.
    pub number: i32,
    /// What it does, from the file's name.
    pub name: String,
    /// SQL with unqualified names; may not begin or end a transaction.
    pub sql: String,
}

impl Migration {
    /// SHA-256 of the SQL, hexadecimal.
    pub fn checksum(&self) -> String {
        hexadecimal(&Sha256::digest(&self.sql))
    }
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A service's manifest and migrations, read and checked. Serializable, so that it can be kept and sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceTables {
    /// The service's name, as in the catalogue.
    pub service: String,
    /// Kinds of its tables.
    pub manifest: Manifest,
    /// In ascending order of number.
    pub migrations: Vec<Migration>,
}

/// What is wrong with a manifest or its migrations.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A file could not be read.
    #[error("reading {path}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not a manifest.
    #[error("rowhouse-tables.toml is not a manifest")]
    Toml(#[from] toml::de::Error),
    /// A table or service whose name cannot stand in SQL.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A file that is not `<number>_<name>.sql`.
    #[error("`{0}` is not named like 0001_stamps.sql")]
    FileName(String),
    /// Two migrations of one number.
    #[error("two migrations have the number {0}")]
    SameNumber(i32),
    /// A value out of bounds.
    #[error("{0}")]
    Bounds(String),
}

impl ServiceTables {
    /// Checks a manifest's text and migrations in any order.
    ///
    /// # Errors
    /// If the manifest is malformed, a name is not plain, a number stands twice or a value is out of bounds.
    pub fn parse(
        service: &str,
        manifest: &str,
        mut migrations: Vec<Migration>,
    ) -> Result<Self, ManifestError> {
        let manifest: Manifest = toml::from_str(manifest)?;
        for name in manifest.tables.keys().chain([&schema_of_service(service)]) {
            if !is_plain(name) || name.starts_with("rh_") {
                return Err(NameError(name.clone()).into());
            }
        }
        for (name, table) in &manifest.tables {
            if table.partitions.is_some_and(|count| !(2..=PARTITIONS_MAX).contains(&count)) {
                let why = format!("table {name}: partitions must be 2 to {PARTITIONS_MAX}");
                return Err(ManifestError::Bounds(why));
            }
        }
        migrations.sort_by_key(|migration| migration.number);
        for pair in migrations.windows(2) {
            if pair[0].number == pair[1].number {
                return Err(ManifestError::SameNumber(pair[0].number));
            }
        }
        for migration in &migrations {
            if migration.number < 1 || migration.sql.len() > MIGRATION_MAX {
                let why = format!("migration {}: numbers start at 1, texts end at 1 MiB", migration.number);
                return Err(ManifestError::Bounds(why));
            }
        }
        Ok(ServiceTables { service: service.to_owned(), manifest, migrations })
    }

    /// Reads `rowhouse-tables.toml` and `*.sql` from `directory` (migrations may lie in its `migrations/`).
    ///
    /// # Errors
    /// As [`ServiceTables::parse`], and if a file cannot be read or is not named like a migration.
    pub fn load(service: &str, directory: &Path) -> Result<Self, ManifestError> {
        let manifest = read(&directory.join("rowhouse-tables.toml"))?;
        let nested = directory.join("migrations");
        let source = if nested.is_dir() { nested } else { directory.to_owned() };
        let mut migrations = Vec::new();
        let unreadable =
            |source_error| ManifestError::Read { path: source.display().to_string(), source: source_error };
        for entry in std::fs::read_dir(&source).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|extension| extension == "sql") {
                migrations.push(migration_of(&path)?);
            }
        }
        ServiceTables::parse(service, &manifest, migrations)
    }

    /// The number of the last migration; 0 without one.
    pub fn version(&self) -> i32 {
        self.migrations.last().map_or(0, |migration| migration.number)
    }
}

fn read(path: &Path) -> Result<String, ManifestError> {
    std::fs::read_to_string(path)
        .map_err(|source| ManifestError::Read { path: path.display().to_string(), source })
}

fn migration_of(path: &Path) -> Result<Migration, ManifestError> {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let named = stem.split_once('_').and_then(|(number, name)| Some((number.parse().ok()?, name)));
    let (number, name) = named.ok_or_else(|| ManifestError::FileName(path.display().to_string()))?;
    Ok(Migration { number, name: name.to_owned(), sql: read(path)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migration(number: i32) -> Migration {
        Migration { number, name: "x".to_owned(), sql: "SELECT 1".to_owned() }
    }

    #[test]
    fn a_manifest_is_read_and_migrations_are_put_in_order() {
        let text = r#"
            [table.stamps]
            kind = "tenant"
            partitions = 64
            subject = { column = "created_by", on_erasure = "anonymise" }
            [table.countries]
            kind = "reference"
        "#;
        let tables = ServiceTables::parse("stamping", text, vec![migration(2), migration(1)]).expect("valid");
        assert_eq!(tables.manifest.tables["stamps"].partitions, Some(64));
        assert_eq!(tables.manifest.tables["countries"].kind, TableKind::Reference);
        assert_eq!((tables.migrations[0].number, tables.version()), (1, 2));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for (service, text) in [
            ("stamping", "[table.stamps]\nkind = \"other\""),
            ("stamping", "[table.stamps]\nkind = \"tenant\"\nrls = false"),
            ("stamping", "[table.\"a;b\"]\nkind = \"tenant\""),
            ("stamping", "[table.rh_probe]\nkind = \"tenant\""),
            ("stamping", "[table.a]\nkind = \"tenant\"\npartitions = 1"),
            ("St amping", ""),
        ] {
            assert!(ServiceTables::parse(service, text, Vec::new()).is_err(), "{service} {text}");
        }
        let twice = ServiceTables::parse("s", "", vec![migration(1), migration(1)]);
        assert!(matches!(twice, Err(ManifestError::SameNumber(1))));
        assert!(matches!(ServiceTables::parse("s", "", vec![migration(0)]), Err(ManifestError::Bounds(_))));
    }
}
