//! What stands in a backup besides rows.

use std::collections::BTreeMap;

use rowhouse_tenantdb::copy::{ServiceShape, Sum, Table};
use rowhouse_tenantdb::tables::ServiceTables;
use serde::{Deserialize, Serialize};

/// The first section: how the tables were then, so that they can be made again and migrated forward.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// In the order of their names.
    pub services: Vec<ServiceThen>,
}

/// One service as it was installed then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceThen {
    /// Its manifest and migrations up to that version.
    pub tables: ServiceTables,
    /// Tables whose rows follow, and their columns.
    pub copied: Vec<Table>,
}

impl Shape {
    /// `installed`, with the migrations that made it.
    pub fn of(installed: &[ServiceShape], recorded: &[ServiceTables]) -> Shape {
        let services = installed.iter().filter_map(|shape| {
            let known = recorded.iter().find(|known| known.service == shape.service)?;
            Some(ServiceThen { tables: as_of(known, shape), copied: shape.tables.clone() })
        });
        Shape { services: services.collect() }
    }

    /// Versions by service.
    pub fn versions(&self) -> BTreeMap<String, i32> {
        self.services.iter().map(|then| (then.tables.service.clone(), then.tables.version())).collect()
    }
}

/// The migrations that were run, and the tables that were there.
fn as_of(known: &ServiceTables, shape: &ServiceShape) -> ServiceTables {
    let mut tables = known.clone();
    tables.migrations.retain(|migration| migration.number <= shape.version);
    tables.manifest.tables.retain(|name, _| shape.kinds.contains_key(name));
    for (name, table) in &mut tables.manifest.tables {
        table.kind = shape.kinds[name];
    }
    tables
}

/// The last section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Whose.
    pub tenant: String,
    /// The backup.
    pub backup: String,
    /// RFC 3339.
    pub taken_at: String,
    /// The level that the tenant lay on.
    pub isolation: String,
    /// Raised by each move.
    pub epoch: u64,
    /// The version of each service's tables.
    pub services: BTreeMap<String, i32>,
    /// In the order of their sections.
    pub tables: Vec<TableLine>,
}

/// A table of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableLine {
    /// The service.
    pub service: String,
    /// Its name.
    pub table: String,
    /// Number of rows, and their sum.
    pub sum: Sum,
    /// Of the text of COPY.
    pub bytes: u64,
    /// Of the text of COPY, hexadecimal.
    pub sha256: String,
}

/// The section that holds the rows of a table; it binds them to the version of the tables.
pub fn row_section(service: &str, version: i32, table: &str) -> String {
    format!("rows/{service}/{version}/{table}")
}
