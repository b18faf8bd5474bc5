//! A service's tables: a manifest (`rowhouse-tables.toml`) that says what kind each table is, and numbered SQL
//! migrations with unqualified names. Installing them in a schema runs the migrations and then generates what keeps
//! tenants apart on that level (policies, checks, grants), in one transaction with the record of the version.

mod generate;
mod install;
mod manifest;
mod owner;
mod partition;

pub use install::{InstallError, Installed, Target, TryOut, install, repair, try_anew, try_out};
pub use manifest::{Manifest, ManifestError, Migration, ServiceTables, Subject, Table, TableKind};

/// A table of this kind is in every schema, besides the service's own; `place::verify` writes its probes to it.
pub const PROBE_TABLE: &str = "rh_probe";
