//! Asking for a move.

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{OperationId, RequestId, TenantId};
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::tenancy::{Isolation, Status};
use rowhouse_store::sagas::{self, Start, StartError};
use rowhouse_store::{Change, Transaction};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{KIND, OnLongTransactions, VERSION, Wanted, check_level};
use crate::tenancy::{self, cells, residency};
use crate::{Control, catalog};

/// A move that is wanted.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveBody {
    /// `shared`, `schema`, `database` or `instance`.
    pub isolation: String,
    /// The cell; the emptiest of the region, if not said. Not for `instance`.
    #[serde(default)]
    pub cell: Option<String>,
    /// The region; only the tenant's own so far.
    #[serde(default)]
    pub region: Option<String>,
    /// `wait` (let writers go on and try later), `cancel` (end them) or `abort`.
    #[serde(default)]
    pub on_long_transactions: OnLongTransactions,
}

/// Starts a move in `transaction`, which is to be committed with the change that comes back.
///
/// # Errors
/// 404; 409 `lifecycle.busy` or `lifecycle.wrong_status`; 422 `lifecycle.nothing_to_do`, an isolation that the tier does
/// not allow, a region or cell where the tenant may not lie.
pub async fn begin(
    control: &Control,
    transaction: &Transaction,
    permit: &Permit,
    tenant: TenantId,
    wanted: MoveBody,
    request_id: RequestId,
) -> Result<(OperationId, Change), Refusal> {
    let record = tenancy::lock(transaction, tenant).await?;
    let record = record.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such tenant."))?;
    if !matches!(record.tenant.status, Status::Active | Status::Suspended) {
        let words = format!("The tenant is {}.", record.tenant.status.as_str());
        return Err(Refusal::new(&kind::WRONG_STATUS, words));
    }
    let isolation = Isolation::parse(&wanted.isolation).ok_or_else(|| {
        let words = format!("There is no isolation `{}`.", wanted.isolation);
        Refusal::new(&kind::INVALID, words).field(
            "/isolation",
            "unknown",
            "shared, schema, database or instance",
        )
    })?;
    if isolation == record.tenant.isolation {
        let words = format!("The tenant lies on `{}` already.", isolation.as_str());
        return Err(Refusal::new(&kind::NOTHING_TO_DO, words));
    }
    let tier = catalog::load_tier(transaction, &record.tenant.tier).await?;
    let gone = || Refusal::new(&kind::UNKNOWN_TIER, "The tenant's tier is gone.");
    check_level(&tier.ok_or_else(gone)?, isolation)?;
    let region = wanted.region.as_deref().unwrap_or(&record.tenant.region);
    let resident = residency::resident(control, transaction, tenant, region).await?;
    if region != record.tenant.region {
        let refusal = Refusal::new(&kind::INVALID, "Tenants are not moved between regions yet.");
        return Err(refusal.field("/region", "not_supported", record.tenant.region));
    }
    if let Some(cell) = &wanted.cell
        && cells::named(transaction, cell, &resident).await?.is_none()
    {
        let refusal = Refusal::new(&kind::INVALID, format!("No cell `{cell}` of `{region}` is open."));
        return Err(refusal.field("/cell", "unknown", "leave it out for the emptiest one"));
    }
    let wanted = Wanted { isolation, cell: wanted.cell, on_long_transactions: wanted.on_long_transactions };
    let now_us = control.clock().now_us();
    let operation = OperationId(control.entropy().uuid_v7(now_us));
    let start = Start {
        id: operation.0,
        kind: KIND,
        kind_version: VERSION,
        tenant: Some(tenant),
        params: json!({ "relocation": wanted }),
        created_by: permit.principal().to_string(),
    };
    sagas::start(transaction, &start).await.map_err(|error| match error {
        StartError::Store(error) => error.into(),
        StartError::Busy { other } => Refusal::new(&kind::LIFECYCLE_BUSY, format!("`{other}` is not over.")),
    })?;
    let change = Change::new(tenant, "lifecycle.move_requested", "update", permit.principal())
        .on("tenant", tenant)
        .details(json!({ "to": isolation, "operation": operation }))
        .request(request_id);
    Ok((operation, change))
}
