//! The end of restored copies: after seven days, when somebody wants it, with the tenant's server, with the tenant.

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_store::{Change, Transaction};
use rowhouse_tenantdb::place::{self, PlaceError};

use super::queries::{self, RestoreRow};
use crate::Control;
use crate::tenancy::{cells, places};

/// Removes the copies whose time is over; how many.
///
/// # Errors
/// With the first that could not be removed; the others wait for the next call.
pub async fn expire(control: &Control) -> Result<usize, Refusal> {
    let transaction = control.store.read(&Permit::for_system(None, "expiry")).await?;
    let over = queries::expiring(&transaction).await?;
    transaction.finish().await?;
    for row in &over {
        let permit = Permit::for_system(Some(row.tenant), "expiry");
        remove(control, &permit, row, None).await?;
    }
    Ok(over.len())
}

/// Removes every copy of a tenant; how many there were.
///
/// # Errors
/// If one cannot be removed; calling again goes on.
pub async fn remove_all(control: &Control, tenant: TenantId) -> Result<u64, Refusal> {
    let permit = Permit::for_system(Some(tenant), "erasure of a tenant");
    let transaction = control.store.read(&permit).await?;
    let there = queries::open_ones(&transaction, tenant).await?;
    transaction.finish().await?;
    for row in &there {
        remove(control, &permit, row, None).await?;
    }
    Ok(there.len() as u64)
}

/// Removes one copy. Twice is once.
///
/// # Errors
/// If its server is away.
pub async fn remove(
    control: &Control,
    permit: &Permit,
    row: &RestoreRow,
    request_id: Option<String>,
) -> Result<(), Refusal> {
    // First on record: who ends half-way leaves it to the expiry, and nobody finds a copy on record that is not there.
    let transaction = control.store.write(permit).await?;
    queries::is_over(&transaction, row.id).await?;
    transaction.commit_telemetry().await?;
    let transaction = control.store.write(permit).await?;
    // A server that is gone has taken the copy with it.
    if let Some(cell) = cells::get(&transaction, &row.cell).await? {
        place::drop(&cell, &row.place).await.map_err(unremovable)?;
    }
    forget(&transaction, row).await?;
    if !queries::end(&transaction, row.id, "expired").await? {
        return Ok(transaction.rollback().await?);
    }
    let mut change = Change::new(row.tenant, "lifecycle.restore_expired", "delete", transaction.principal());
    change.request_id = request_id;
    Ok(transaction.commit(change.on("restore", row.id)).await?)
}

/// Forgets the copies in a cell that goes away with everything in it.
///
/// # Errors
/// If the control database is away.
pub async fn forget_in_cell(
    transaction: &Transaction,
    tenant: TenantId,
    cell: &str,
) -> Result<(), rowhouse_store::StoreError> {
    for row in queries::open_ones(transaction, tenant).await? {
        if row.cell == cell {
            forget(transaction, &row).await?;
            queries::end(transaction, row.id, "expired").await?;
        }
    }
    Ok(())
}

async fn forget(transaction: &Transaction, row: &RestoreRow) -> Result<(), rowhouse_store::StoreError> {
    places::forget_other(transaction, &row.cell, &row.place).await?;
    queries::are_gone(transaction, row.tenant, &row.place.login).await
}

fn unremovable(error: PlaceError) -> Refusal {
    let refusal = Refusal::new(&kind::UNAVAILABLE, "The restored copy could not be removed.");
    refusal.private(error.to_string())
}
