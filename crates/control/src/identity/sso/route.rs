//! Which provider somebody goes to: by the domain of an address or by the tenant, never by whether somebody exists.

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{ConnectionId, TenantId};
use rowhouse_domain::refusal::Refusal;

use super::connection::ConnectionRow;
use super::queries;
use crate::{Control, tenancy};

/// Where an address leads; the same for everybody of its domain.
///
/// # Errors
/// If the database fails.
pub async fn by_address(control: &Control, address: &str) -> Result<Option<ConnectionRow>, Refusal> {
    let Some((_, domain)) = address.trim().rsplit_once('@') else { return Ok(None) };
    let domain = domain.to_ascii_lowercase();
    if domain.len() > 253 {
        return Ok(None);
    }
    let transaction = control.store.read(&Permit::for_system(None, "where an address leads")).await?;
    let holder = tenancy::tenant_of_host(&transaction, &domain).await?;
    let all = queries::of_domain(&transaction, &domain).await?;
    transaction.finish().await?;
    Ok(all.into_iter().find(|row| Some(row.tenant) == holder))
}

/// One connection.
///
/// # Errors
/// If the database fails.
pub async fn find(control: &Control, id: ConnectionId) -> Result<Option<ConnectionRow>, Refusal> {
    let transaction = control.store.read(&Permit::for_system(None, "a way in")).await?;
    let row = queries::find(&transaction, id).await?;
    transaction.finish().await?;
    Ok(row)
}

/// The ways into a tenant.
///
/// # Errors
/// If the database fails.
pub async fn of_tenant(control: &Control, tenant: TenantId) -> Result<Vec<ConnectionRow>, Refusal> {
    let transaction = control.store.read(&Permit::for_system(None, "ways into a tenant")).await?;
    let all = queries::active_of(&transaction, tenant).await?;
    transaction.finish().await?;
    Ok(all)
}
