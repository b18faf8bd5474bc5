//! Which provider somebody goes to: by the domain of an address or by the tenant, never by whether somebody exists.

use rowhouse_domain::access::Permit;
use rowhouse_domain::id::{ConnectionId, TenantId};
use rowhouse_domain::refusal::Refusal;

use super::connection::ConnectionRow;
use super::queries;
use crate::identity::sign_in::Source;
use crate::{Control, tenancy};

/// Where an address leads; the same for everybody of its domain.
///
/// # Errors
/// If the database fails.
async fn by_address(control: &Control, address: &str) -> Result<Option<ConnectionRow>, Refusal> {
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

/// Where whoever enters this address goes first, into the tenant that they name or into any. The same for everybody of a domain, whether
/// or not they exist.
///
/// # Errors
/// 429 for an address that tries too much.
pub async fn lead(
    control: &Control,
    source: &Source,
    (address, tenant): (&str, &str),
) -> Result<Option<ConnectionRow>, Refusal> {
    if !address.contains('@') {
        return Ok(None);
    }
    control.sign_in_sources.admit(source, "", control.clock().now_us())?;
    let way = by_address(control, address).await?;
    let directory = control.directory.current();
    let is_meant = |row: &ConnectionRow| {
        tenant.is_empty()
            || row.tenant.to_string() == tenant
            || directory.tenant_by_code(tenant).is_some_and(|own| own.id == row.tenant)
    };
    Ok(way.filter(is_meant))
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
