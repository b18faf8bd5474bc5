//! Loading and compiling, of everything or of some tenants. One query for each kind of row, never one for each row.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use rowhouse_domain::access::Permit;
use rowhouse_domain::directory::Directory;
use rowhouse_domain::id::TenantId;
use rowhouse_domain::tenancy::Status;
use rowhouse_store::{StoreError, Transaction};

use super::tenant::{Belongings, Compiler};
use super::{certificates, notices};
use crate::catalog::{self, Compiled, LoadError};
use crate::{Control, access, deploy, identity, keys, limits, resources, routing, tenancy};

/// The directory could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The catalogue could not be loaded.
    #[error("the catalogue could not be loaded: {0}")]
    Catalog(#[from] LoadError),
    /// The database failed.
    #[error("the directory could not be loaded: {0}")]
    Store(#[from] StoreError),
}

/// A directory, and what it takes to make the next version from it.
pub(super) struct Built {
    pub directory: Directory,
    pub catalogue: Compiled,
    pub last_notice: i64,
    /// The time that overrides of features were looked at.
    pub as_of: Timestamp,
    /// When the next of them ends.
    pub next_expiry: Option<Timestamp>,
}

/// The version that has read notices up to `last_notice` and was made anew `remakes` times since, without a notice.
/// The empty directory before the first is version 0.
pub(super) fn version(last_notice: i64, remakes: u16) -> u64 {
    (last_notice as u64 + 1) << 16 | u64::from(remakes)
}

/// The whole directory as the database is now.
pub async fn build(control: &Control) -> Result<Directory, BuildError> {
    Ok(build_all(control).await?.directory)
}

pub(super) async fn begin(control: &Control) -> Result<Transaction, StoreError> {
    control.store.read(&Permit::for_system(None, "the directory")).await
}

pub(super) async fn build_all(control: &Control) -> Result<Built, BuildError> {
    let transaction = begin(control).await?;
    let as_of = control.clock().now();
    let last_notice = notices::last(&transaction).await?;
    let catalogue = compiled(&transaction).await?;
    let mut directory = Directory {
        version: version(last_notice, 0),
        naming: Arc::new(control.settings.naming.clone()),
        services: catalogue.services.clone(),
        traffic: routing::load_splits(&transaction, &catalogue.services).await?,
        routes: catalogue.routes.clone(),
        limits: catalogue.limits.clone(),
        permissions: catalogue.permissions.clone(),
        tokens: Arc::new(identity::token_keys(control, &transaction).await?),
        ..Directory::empty()
    };
    put(control, &mut directory, &catalogue, &transaction, (None, as_of)).await?;
    let next_expiry = next_expiry(&transaction, as_of).await?;
    transaction.finish().await?;
    Ok(Built { directory, catalogue, last_notice, as_of, next_expiry })
}

/// When the next override of a tenant ends by itself, after `now`.
pub(super) async fn next_expiry(
    transaction: &Transaction,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let of_features = tenancy::features::next_expiry(transaction, now).await?;
    let of_limits = limits::next_expiry(transaction, now).await?;
    Ok(of_features.into_iter().chain(of_limits).min())
}

/// The tenants that had an override which ended after `since`, and not after `now`.
pub(super) async fn expired(
    transaction: &Transaction,
    since: Timestamp,
    now: Timestamp,
) -> Result<Vec<TenantId>, StoreError> {
    let mut tenants = tenancy::features::expired(transaction, since, now).await?;
    tenants.extend(limits::expired(transaction, since, now).await?);
    Ok(tenants)
}

async fn compiled(transaction: &Transaction) -> Result<Compiled, LoadError> {
    let definitions = catalog::load(transaction).await?;
    catalog::compile(&definitions).map_err(LoadError::Invalid)
}

/// Puts all tenants, or one, with their keys into `directory`, as the database has them, and as it is at `now`.
pub(super) async fn put(
    control: &Control,
    directory: &mut Directory,
    catalogue: &Compiled,
    transaction: &Transaction,
    (tenant, now): (Option<TenantId>, Timestamp),
) -> Result<(), StoreError> {
    // Side by side, so that the database is asked everything in one round trip or two.
    let (tenants, mut belongings, keys, hosts) = tokio::try_join!(
        tenancy::load_tenants(transaction, tenant),
        load(control, transaction, catalogue, tenant, now),
        keys::load_keys(transaction, tenant),
        tenancy::load_hosts(transaction, tenant),
    )?;
    belongings.quotas = resources::quotas(transaction, &tenants, &catalogue.tiers, tenant, now).await?;
    let mut compiler = Compiler::new(catalogue, &belongings, directory.version);
    if let Some(gone) = tenant.filter(|_| tenants.is_empty()) {
        forget(directory, gone);
    }
    for row in &tenants {
        // As if it had never been.
        if row.status == Status::Terminated {
            forget(directory, row.id);
            continue;
        }
        forget_code(directory, row.id, &row.code);
        directory.put_tenant(compiler.tenant(row));
    }
    for (name, tenant) in hosts {
        directory.hosts.insert(name.into(), tenant);
    }
    for row in keys {
        let public_id = row.public_id;
        directory.keys.insert(public_id, Arc::new(compiler.key(row)));
    }
    Ok(())
}

/// What belongs to them, but for their quotas, which need their rows.
async fn load(
    control: &Control,
    transaction: &Transaction,
    catalogue: &Compiled,
    tenant: Option<TenantId>,
    now: Timestamp,
) -> Result<Belongings, StoreError> {
    let (authorities, revoked, rules) = tokio::try_join!(
        identity::authorities::load_authorities(transaction, tenant),
        identity::authorities::load_revoked(transaction, tenant),
        keys::load_certificates(transaction, tenant),
    )?;
    let (upstreams, roles, enforcements, access, overrides, limits, ended, issuers, trusts) = tokio::try_join!(
        deploy::upstreams(transaction, tenant),
        access::load_roles(transaction, tenant),
        resources::load_enforcements(transaction, tenant, now),
        access::load_stored(transaction, tenant, &catalogue.roles),
        tenancy::features::load_overrides(transaction, tenant, now),
        limits::load_overrides(transaction, tenant, now),
        identity::load_ended_sessions(transaction, tenant, now),
        identity::issuers::load_issuers(transaction, tenant),
        keys::load_trusts(transaction, tenant),
    )?;
    let storing =
        if enforcements.is_empty() { Box::default() } else { storing(transaction, catalogue).await? };
    Ok(Belongings {
        access,
        roles: by_tenant(roles.into_iter().map(|row| (row.tenant, row.definition))),
        overrides: by_tenant(overrides),
        limits: by_tenant(limits),
        upstreams: by_tenant(upstreams.into_iter().map(|(tenant, service, at)| (tenant, (service, at)))),
        quotas: HashMap::new(),
        enforcements: by_tenant(enforcements.into_iter().map(|own| (own.tenant, own))),
        ended_sessions: by_tenant(ended),
        issuers: issuers.iter().map(|row| (row.tenant, row.compiled(control))).collect(),
        trusts: by_tenant(trusts),
        authorities: certificates::believed(authorities, revoked, rules),
        storing,
    })
}

/// Services with tables, by their place in the directory.
async fn storing(transaction: &Transaction, catalogue: &Compiled) -> Result<Box<[usize]>, StoreError> {
    let names = tenancy::service_tables::services(transaction).await?;
    let services = catalogue.services.iter().enumerate();
    Ok(services.filter(|(_, service)| names.contains(&service.name)).map(|(index, _)| index).collect())
}

fn by_tenant<T>(rows: impl IntoIterator<Item = (TenantId, T)>) -> HashMap<TenantId, Vec<T>> {
    let mut all: HashMap<TenantId, Vec<T>> = HashMap::new();
    for (tenant, row) in rows {
        all.entry(tenant).or_default().push(row);
    }
    all
}

/// A tenant has left, or its row is gone because it never was served.
fn forget(directory: &mut Directory, tenant: TenantId) {
    let Some(entry) = directory.tenants.get(&tenant).cloned() else { return };
    directory.tenants.remove(&tenant);
    let own = directory.keys.iter().filter(|(_, key)| key.tenant == tenant).map(|(id, _)| *id);
    for public_id in own.collect::<Vec<_>>() {
        directory.keys.remove(&public_id);
    }
    let own = directory.hosts.iter().filter(|(_, owner)| **owner == tenant).map(|(name, _)| name.clone());
    for name in own.collect::<Vec<_>>() {
        directory.hosts.remove(&name);
    }
    if directory.tenant_by_code(&entry.code).is_some_and(|holder| holder.id == tenant) {
        directory.codes.remove(&entry.code);
    }
}

/// Takes the code out that a tenant had before, unless it is another's by now.
fn forget_code(directory: &mut Directory, tenant: TenantId, code: &str) {
    let Some(entry) = directory.tenants.get(&tenant).cloned() else { return };
    let holds = || directory.tenant_by_code(&entry.code).is_some_and(|holder| holder.id == tenant);
    if &*entry.code != code && holds() {
        directory.codes.remove(&entry.code);
    }
}
