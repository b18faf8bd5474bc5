//! Brings the control database to the schema of this binary.

use refinery::embed_migrations;

embed_migrations!("../../migrations");

/// The schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
#[error("the control database could not be migrated")]
pub struct MigrateError(#[from] refinery::Error);

/// Applies what is missing, in order; nothing if all is there. `client` must own the schemas.
pub async fn migrate(client: &mut tokio_postgres::Client) -> Result<usize, MigrateError> {
    let report = migrations::runner().run_async(client).await?;
    Ok(report.applied_migrations().len())
}
