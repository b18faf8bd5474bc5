//! What an empty installation gets: the catalogue, the operator's tenant with its first key, the local cell.

use std::path::Path;

use anyhow::Context;
use rowhouse_control::{Shared, catalog, keys, tenancy};

use crate::config::Config;
use crate::secrets::{OPERATOR_KEY_FILE, write_private};

/// Fills what is empty; what is there stays, but for what a newer binary needs.
pub async fn run(
    control: &Shared,
    config: &Config,
    data_dir: &Path,
    cell: Option<(String, u16)>,
) -> anyhow::Result<()> {
    let first = match &config.catalog.path {
        Some(folder) => crate::cli::read_catalog(folder)?,
        None => catalog::shipped().clone(),
    };
    catalog::prepare(control, &first).await.map_err(explain)?;
    let file = data_dir.join(OPERATOR_KEY_FILE);
    let key = match keys::bootstrap_operator(control).await.map_err(explain)? {
        None if !file.exists() => Some(keys::recover_operator(control).await.map_err(explain)?),
        made => made,
    };
    if let Some(key) = key {
        write_private(&file, &key)?;
        tracing::info!(file = %file.display(), "made a key for the operator");
    }
    match cell {
        Some((host, port)) => {
            tenancy::register_local_cell(control, &host, port).await.with_context(|| {
                format!("cannot place tenants on the server at {host}:{port}; it needs a superuser `rowhouse_super` that is let in there without a password")
            })?;
        }
        None => tracing::warn!("the control database is on another machine; tenants need a cell on this one"),
    }
    Ok(())
}

/// A refusal at the start, with what only the log may know.
fn explain(refusal: rowhouse_domain::refusal::Refusal) -> anyhow::Error {
    let private = refusal.private_detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
    anyhow::anyhow!("{refusal}{private}")
}
