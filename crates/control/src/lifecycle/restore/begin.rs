//! Asking for a restore, or for the proof that one would succeed.

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{OperationId, RequestId, RestoreId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::sagas::{self, Start, StartError};
use rowhouse_store::{Change, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::backup::queries::BackupRow;
use super::{KIND, VERIFY_KIND, VERSION};
use crate::Control;

/// What becomes of the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It stays for seven days, beside the living.
    Beside,
    /// It goes when it was found whole.
    Verify,
}

impl Mode {
    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Beside => "beside",
            Mode::Verify => "verify",
        }
    }
}

/// What the saga is started with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Params {
    /// The copy's id.
    pub restore: RestoreId,
    /// Of what.
    pub backup: rowhouse_domain::id::BackupId,
    /// What becomes of it.
    pub mode: Mode,
}

/// Starts a restore of `backup` in `transaction`, which is to be committed with the change that comes back.
///
/// # Errors
/// 409 `lifecycle.busy`; 409 `lifecycle.backup_unfinished`; 410 `lifecycle.expired` or `lifecycle.shredded`.
pub async fn begin(
    control: &Control,
    transaction: &Transaction,
    permit: &Permit,
    (backup, mode): (&BackupRow, Mode),
    request_id: RequestId,
) -> Result<(OperationId, Change), Refusal> {
    match backup.state.as_str() {
        "ok" => {}
        "expired" => return Err(Refusal::new(&kind::LIFECYCLE_EXPIRED, "The backup has expired.")),
        "shredded" => return Err(Refusal::new(&kind::SHREDDED, "The tenant's key was destroyed.")),
        other => {
            let words = format!("The backup is {other}.");
            return Err(Refusal::new(&kind::BACKUP_UNFINISHED, words));
        }
    }
    let now_us = control.clock().now_us();
    let operation = OperationId(control.entropy().uuid_v7(now_us));
    let restore = RestoreId(control.entropy().uuid_v7(now_us));
    let start = Start {
        id: operation.0,
        kind: if mode == Mode::Beside { KIND } else { VERIFY_KIND },
        kind_version: VERSION,
        tenant: Some(backup.tenant),
        params: serde_json::to_value(Params { restore, backup: backup.id, mode }).expect("plain data"),
        created_by: permit.principal().to_string(),
    };
    sagas::start(transaction, &start).await.map_err(|error| match error {
        StartError::Store(error) => error.into(),
        StartError::Busy { other } => Refusal::new(&kind::LIFECYCLE_BUSY, format!("`{other}` is not over.")),
    })?;
    let change = Change::new(backup.tenant, "lifecycle.restore_requested", "create", permit.principal())
        .on("backup", backup.id)
        .on("restore", restore)
        .details(json!({ "mode": mode, "operation": operation }))
        .request(request_id);
    Ok((operation, change))
}
