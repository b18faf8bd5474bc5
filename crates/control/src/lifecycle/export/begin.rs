//! Asking for an export.

use jiff::SignedDuration;
use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{ExportId, OperationId, RequestId, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::sagas::{self, Start, StartError};
use rowhouse_store::{Change, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::backup::is_backed_up;
use super::queries::{self, NewExport};
use super::{KIND, VERSION};
use crate::Control;
use crate::tenancy::{self, residency};

/// How long an export can be fetched.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What the saga is started with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Params {
    /// Which one.
    pub export: ExportId,
    /// Where it will lie.
    pub region: String,
}

/// Starts an export of `tenant` in `transaction`, which is to be committed with the change that comes back.
///
/// # Errors
/// 404; 409 `lifecycle.busy` or `lifecycle.wrong_status`; 422 for a region where the tenant's data may not rest.
pub async fn begin(
    control: &Control,
    transaction: &Transaction,
    permit: &Permit,
    tenant: TenantId,
    request_id: RequestId,
) -> Result<(OperationId, Change), Refusal> {
    let record = tenancy::get(transaction, tenant).await?;
    let record = record.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such tenant."))?;
    if !is_backed_up(record.tenant.status) {
        let words = format!("The tenant is {}.", record.tenant.status.as_str());
        return Err(Refusal::new(&kind::WRONG_STATUS, words));
    }
    let resident = residency::at_home(control, transaction, tenant).await?;
    let now = control.clock().now();
    let operation = OperationId(control.entropy().uuid_v7(now.as_microsecond()));
    let export = ExportId(control.entropy().uuid_v7(now.as_microsecond()));
    let by = permit.principal().to_string();
    let params = Params { export, region: resident.region().to_owned() };
    let start = Start {
        id: operation.0,
        kind: KIND,
        kind_version: VERSION,
        tenant: Some(tenant),
        params: serde_json::to_value(&params).expect("plain data"),
        created_by: by.clone(),
    };
    sagas::start(transaction, &start).await.map_err(|error| match error {
        StartError::Store(error) => error.into(),
        StartError::Busy { other } => Refusal::new(&kind::LIFECYCLE_BUSY, format!("`{other}` is not over.")),
    })?;
    let new = NewExport {
        id: export,
        tenant,
        operation: operation.0,
        region: resident.region(),
        created_by: &by,
        expires_at: now + KEPT,
    };
    queries::insert(transaction, &new).await?;
    let change = Change::new(tenant, "lifecycle.export_requested", "create", permit.principal())
        .on("export", export)
        .details(json!({ "format": "jsonl", "operation": operation }))
        .request(request_id);
    Ok((operation, change))
}
