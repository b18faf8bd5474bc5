//! Where bytes of tenants may rest, by what is on record: mints the proofs of `domain::tenancy::residency`.

use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::tenancy::residency::{Region, Regions, Replication, Residence, Resident, reside};
use rowhouse_store::{StoreError, Transaction};

use super::queries;
use crate::Control;

/// The regions of this installation. It is one region so far, whose tenants' bytes stay in it.
pub fn regions(control: &Control) -> Regions {
    let own = control.settings.region.clone();
    [(own.clone(), Region { zone: own, replicates_to: Replication::OwnZone })].into()
}

/// Proves that bytes of `tenant` may rest in `region`.
///
/// # Errors
/// 404; 422 `tenancy.residency` with the regions where they may.
pub async fn resident(
    control: &Control,
    transaction: &Transaction,
    tenant: TenantId,
    region: &str,
) -> Result<Resident, Refusal> {
    let record = queries::get(transaction, tenant).await?;
    let record = record.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such tenant."))?;
    let residency = residency_of(transaction, tenant).await?;
    let residence = Residence { home: &record.tenant.region, residency: &residency, by_contract: false };
    reside(&regions(control), tenant, &residence, region)
}

/// The same for the tenant's home region.
///
/// # Errors
/// As [`resident`].
pub async fn at_home(
    control: &Control,
    transaction: &Transaction,
    tenant: TenantId,
) -> Result<Resident, Refusal> {
    let record = queries::get(transaction, tenant).await?;
    let home =
        record.ok_or_else(|| Refusal::new(&kind::NOT_FOUND, "There is no such tenant."))?.tenant.region;
    resident(control, transaction, tenant, &home).await
}

async fn residency_of(transaction: &Transaction, tenant: TenantId) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT residency FROM tenancy.tenants WHERE tenant_id = $1";
    let row = transaction.query_opt(sql, &[&tenant.0]).await?;
    Ok(row.map(|row| row.get(0)).unwrap_or_default())
}
