//! A tenant and its context as they stand on the wire.

use std::collections::BTreeMap;

use rowhouse_domain::directory::{Directory, Tenant as Compiled};
use rowhouse_domain::metering::quantity::Quantity;
use rowhouse_domain::tenancy::features::FlagValue;
use rowhouse_domain::tenancy::{Isolation, Tier};
use rowhouse_store::{StoreError, Transaction};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::features::Standing;
use super::{Suspension, TenantRecord, cells, places};
use crate::catalog::{self, LoadError};

/// A tenant.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Tenant {
    /// `tenant_…`.
    pub id: String,
    /// Unique for ever.
    pub code: String,
    /// Its name.
    pub company_name: String,
    /// Its tier.
    pub tier: String,
    /// `shared`, `schema`, `database` or `instance`.
    pub isolation: &'static str,
    /// Its home region.
    pub region: String,
    /// Regions or zones that narrow where its bytes may rest; empty: wherever its home region permits.
    pub residency: Vec<String>,
    /// Meter → decimal string or `unlimited`: what is in force.
    pub quotas: BTreeMap<String, String>,
    /// What of it is the tenant's own.
    pub quota_overrides: BTreeMap<String, String>,
    /// Flag → the value that holds.
    #[schema(value_type = BTreeMap<String, Object>)]
    pub features: BTreeMap<String, FlagValue>,
    /// Where it lies; `null` for callers of a tenant, and before it lies anywhere.
    pub placement: Option<Placement>,
    /// Whom bills go to.
    pub billing_contact: Value,
    /// `provisioning`, `failed`, `active`, `suspended`, `migrating`, `leaving` or `terminated`.
    pub status: &'static str,
    /// The status before a migration.
    pub status_before: Option<&'static str>,
    /// The running suspension.
    pub suspension: Option<Suspension>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub activated_at: Option<String>,
    /// RFC 3339.
    pub suspended_at: Option<String>,
    /// RFC 3339.
    pub terminated_at: Option<String>,
    /// RFC 3339.
    pub updated_at: String,
    /// The principal that asked for it.
    pub created_by: String,
    /// The operator's own.
    pub metadata: Value,
    /// The ETag.
    pub version: i64,
}

/// Where a tenant lies.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Placement {
    /// The cell.
    pub cell: String,
    /// Directory of the socket, or a loopback address; `null` while its server is being made.
    pub database_host: Option<String>,
    /// The port.
    pub database_port: Option<u16>,
    /// The database.
    pub database_name: String,
    /// The schema, on level `schema`.
    pub schema_name: Option<String>,
    /// Connections at once.
    pub connection_pool_size: u32,
    /// Raised by each move.
    pub epoch: u64,
}

/// What a tenant looks like, with its tier and place. `with_placement` is for the operator only.
///
/// # Errors
/// If the control database is away, or the tier cannot be read.
pub async fn view(
    transaction: &Transaction,
    record: TenantRecord,
    with_placement: bool,
) -> Result<Tenant, LoadError> {
    let definitions = catalog::load(transaction).await?;
    let standing = Standing::of(transaction, &definitions, record.tenant.id, &record.tenant.tier).await?;
    let tier = definitions.tiers.iter().find(|tier| tier.name == record.tenant.tier);
    let placement = match with_placement {
        true => placement(transaction, &record, tier).await?,
        false => None,
    };
    Ok(tenant(record, tier, standing.values(), placement))
}

fn tenant(
    record: TenantRecord,
    tier: Option<&Tier>,
    features: BTreeMap<String, FlagValue>,
    placement: Option<Placement>,
) -> Tenant {
    let TenantRecord { tenant, .. } = record;
    let mut quotas = tier.map(|tier| tier.quotas.clone()).unwrap_or_default();
    quotas.extend(tenant.quota_overrides.clone());
    Tenant {
        id: tenant.id.to_string(),
        code: tenant.code,
        company_name: tenant.company_name,
        isolation: tenant.isolation.as_str(),
        region: tenant.region,
        residency: record.residency,
        quotas,
        quota_overrides: tenant.quota_overrides,
        features,
        tier: tenant.tier,
        placement,
        billing_contact: record.billing_contact,
        status: tenant.status.as_str(),
        status_before: tenant.status_before.map(|status| status.as_str()),
        suspension: record.suspension,
        created_at: record.created_at.to_string(),
        activated_at: record.activated_at.map(|at| at.to_string()),
        suspended_at: record.suspended_at.map(|at| at.to_string()),
        terminated_at: record.terminated_at.map(|at| at.to_string()),
        updated_at: record.updated_at.to_string(),
        created_by: record.created_by,
        metadata: record.metadata,
        version: tenant.version,
    }
}

async fn placement(
    transaction: &Transaction,
    record: &TenantRecord,
    tier: Option<&Tier>,
) -> Result<Option<Placement>, StoreError> {
    let Some(row) = places::get(transaction, record.tenant.id).await? else { return Ok(None) };
    let cell = cells::get(transaction, &row.cell).await?;
    Ok(Some(Placement {
        database_host: cell.as_ref().map(|cell| cell.host.clone()),
        database_port: cell.as_ref().map(|cell| cell.port),
        database_name: row.place.database,
        schema_name: (record.tenant.isolation == Isolation::Schema).then_some(row.place.login),
        connection_pool_size: tier.map_or(10, |tier| tier.connection_pool_size),
        epoch: row.place.epoch,
        cell: row.cell,
    }))
}

/// Category → key → value.
pub(super) type Configuration = BTreeMap<String, BTreeMap<String, Value>>;

/// Everything that a service may need to know about a tenant at once.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Context {
    /// `tenant_…`.
    pub tenant_id: String,
    /// Its code.
    pub tenant_code: String,
    /// Its name.
    pub tenant_name: String,
    /// Its tier.
    pub tier: String,
    /// Its level.
    pub isolation: &'static str,
    /// Its home region.
    pub region: String,
    /// Flag → the value that holds.
    #[schema(value_type = BTreeMap<String, Object>)]
    pub features: BTreeMap<String, FlagValue>,
    /// Category → key → value of the items that services may see; sealed ones are not here.
    #[schema(value_type = BTreeMap<String, BTreeMap<String, Object>>)]
    pub configuration: Configuration,
    /// What is imposed on it.
    pub enforcements: Vec<String>,
    /// Meter → used in the running window, as a decimal string.
    pub usage: BTreeMap<String, String>,
    /// Meter → limit and what is left of it; unlimited ones are not here.
    pub limits: BTreeMap<String, LimitLeft>,
    /// The version of the directory that usage and limits are from.
    pub directory_version: u64,
}

/// A limit and what is left of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LimitLeft {
    /// Decimal string.
    pub limit: String,
    /// Decimal string, not below 0.
    pub available: String,
}

/// The context of `tenant`, whose compiled entry is in `directory`.
pub(super) fn context(
    (tenant, configuration): (Tenant, Configuration),
    compiled: &Compiled,
    directory: &Directory,
    now_us: i64,
) -> Context {
    // Usage of a window that is over is nothing in the one that runs.
    let used = |quota: &rowhouse_domain::directory::Quota| {
        let (from_us, _) = quota.bounds_us(now_us);
        if quota.used_from_us < from_us { 0 } else { quota.used }
    };
    let usage = compiled.quotas.iter().map(|quota| (quota.meter.to_string(), decimal(used(quota)))).collect();
    let left = |quota: &rowhouse_domain::directory::Quota| {
        let limit = quota.limit?;
        let available = limit.saturating_sub(used(quota)).max(0);
        Some((quota.meter.to_string(), LimitLeft { limit: decimal(limit), available: decimal(available) }))
    };
    Context {
        tenant_id: tenant.id,
        tenant_code: tenant.code,
        tenant_name: tenant.company_name,
        tier: tenant.tier,
        isolation: tenant.isolation,
        region: tenant.region,
        features: tenant.features,
        configuration,
        enforcements: compiled.enforcements.iter().map(|name| name.to_string()).collect(),
        usage,
        limits: compiled.quotas.iter().filter_map(left).collect(),
        directory_version: directory.version,
    }
}

/// Units of 10⁻¹² as a decimal string.
fn decimal(units: i128) -> String {
    Quantity::from_units(units).map_or_else(|| "0".to_owned(), |quantity| quantity.to_string())
}
