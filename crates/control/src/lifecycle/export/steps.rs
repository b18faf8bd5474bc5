//! The steps of an export.

use rowhouse_domain::access::Permit;
use rowhouse_store::sagas::{Done, Run, StepError, StepResult};
use rowhouse_store::{Change, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::backup::{Folder, TakeError};
use super::super::provision::{failure, tenant_of};
use super::begin::Params;
use super::queries::{self, Entry};
use super::write::write as write_file;
use crate::Shared;
use crate::tenancy::{TenantKeyError, residency};

/// What was written.
#[derive(Debug, Serialize, Deserialize)]
struct Wrote {
    file: String,
    contents: Vec<Entry>,
    bytes: u64,
}

/// Writes the file under a name of its own; what an earlier try has left goes first.
pub async fn write(run: &Run<'_, Shared>) -> StepResult {
    let (params, tenant): (Params, _) = (run.params()?, tenant_of(run));
    let resident = resident(run, &params).await?;
    let folder = Folder::open(&run.context.settings.backups, &resident).await.map_err(StepError::again)?;
    folder.remove(&params.export.to_string()).await.map_err(StepError::again)?;
    let nonce = u64::from_be_bytes(run.context.entropy().bytes());
    let file = format!("{}-{nonce:016x}.rhseal", params.export);
    let written = write_file(run.context, tenant, params.export, &folder.file(&file)).await;
    let (contents, bytes) = written.map_err(|error| match error {
        TakeError::Key(TenantKeyError::Destroyed) => {
            StepError::never("lifecycle.shredded", error.to_string())
        }
        other => StepError::again(other),
    })?;
    Ok(Done::with(&Wrote { file, contents, bytes }))
}

/// Removes the file, and says that there is none.
pub async fn take_away(run: &Run<'_, Shared>) -> StepResult {
    let params: Params = run.params()?;
    let resident = resident(run, &params).await?;
    let folder = Folder::of(&run.context.settings.backups, &resident);
    folder.remove(&params.export.to_string()).await.map_err(StepError::again)?;
    let transaction = run.write().await?;
    queries::end(&transaction, params.export, "failed").await?;
    transaction.commit_telemetry().await?;
    Ok(Done::plainly())
}

async fn resident(
    run: &Run<'_, Shared>,
    params: &Params,
) -> Result<rowhouse_domain::tenancy::residency::Resident, StepError> {
    let tenant = tenant_of(run);
    let transaction = run.context.store.read(&Permit::for_system(Some(tenant), "an export")).await?;
    let resident = residency::resident(run.context, &transaction, tenant, &params.region).await;
    transaction.finish().await?;
    resident.map_err(failure)
}

/// From here on it can be fetched.
pub async fn ready(run: &Run<'_, Shared>, transaction: &Transaction) -> StepResult {
    let (params, wrote): (Params, Wrote) = (run.params()?, run.expect_output("export_write")?);
    let bytes = i64::try_from(wrote.bytes).unwrap_or(i64::MAX);
    queries::ready(transaction, params.export, &wrote.file, &wrote.contents, bytes).await?;
    let change = Change::new(tenant_of(run), "lifecycle.export_finished", "create", transaction.principal())
        .on("export", params.export)
        .details(json!({ "files": wrote.contents.len(), "bytes": bytes, "operation": run.saga.operation() }));
    let told =
        json!({ "export": params.export, "download": format!("/v1/exports/{}/download", params.export) });
    Ok(Done::with(&told).change(change))
}
