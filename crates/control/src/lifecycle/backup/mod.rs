//! Backups of single tenants, on every level: a snapshot of all rows at one instant, sealed with the tenant's key.
//!
//! `POST /v1/backups` and the daily schedule enter a row; the worker ([`run`]) takes what is due, one at a time. A backup
//! is a job: the living tenant is only read, so it may be taken while anything else happens to the tenant, and what was
//! cut short is begun anew under another file name. A row is `ok` only once its file is on disk, whole.
//!
//! ```text
//! <data>/backups/<region>/<tenant>/<backup>-<attempt>.rhseal      lifecycle::sealed; key HKDF(tenant key, "snapshot/v1")
//!   shape                                 services' manifests and migrations as they were then
//!   rows/<service>/<version>/<table>      the text of COPY
//!   manifest                              rows, sums and SHA-256 of each table
//! ```

mod api;
mod begin;
mod contents;
mod erase;
mod folder;
mod held;
pub mod queries;
mod run;
mod take;

use std::path::PathBuf;

use super::Copies;

pub use api::{no_such_backup, routes};
pub(in crate::lifecycle) use begin::is_backed_up;
pub use contents::{Manifest, Shape, TableLine, row_section};
pub use erase::{Erased, erase_all, files_of, remove_files};
pub use folder::Folder;
pub use held::is_there;
pub(in crate::lifecycle) use held::{single, whole};
pub use queries::kept;
pub(in crate::lifecycle) use run::unremovable;
pub use run::{expire, run, schedule, take_one, take_over};
pub use take::{KEY_LABEL, TakeError, hexadecimal, names_of};

/// Settings of backups and exports.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where files lie: a folder for each region.
    pub directory: PathBuf,
    /// When the day's backups are taken: minutes after midnight, UTC.
    pub at_minute: u16,
    /// How many copies of its rows a tenant may have.
    pub copies: Copies,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { directory: PathBuf::new(), at_minute: 120, copies: Copies::default() }
    }
}
