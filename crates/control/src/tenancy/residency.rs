//! Where bytes of tenants may rest, by what is on record: mints the proofs of `domain::tenancy::residency`, and lets a tenant's residency be
//! narrowed only as far as everything that it has lies inside.

use std::collections::BTreeSet;

use rowhouse_domain::id::TenantId;
use rowhouse_domain::refusal::{Refusal, kind};
use rowhouse_domain::tenancy::residency::{
    Region, Regions, Replication, Residence, Resident, allowed, reside,
};
use rowhouse_store::{StoreError, Transaction};
use serde::Serialize;
use utoipa::ToSchema;

use super::features::Standing;
use super::queries::{self, TenantRecord};
use super::{cells, places};
use crate::catalog::{self, LoadError};
use crate::{Control, lifecycle};

/// Most regions or zones in a residency.
const RESIDENCY_MAX: usize = 16;
/// The tier's feature that lets a tenant list what its home region does not permit.
const BY_CONTRACT: &str = "custom_residency";

/// Something that keeps bytes of a tenant, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct KeptIn {
    /// `place`, `restore`, `backup`, `export`, `journal` or `audit_log`.
    pub store: &'static str,
    /// The cell, or the id of the copy.
    pub name: String,
    /// The region.
    pub region: String,
}

/// What another residency of a tenant would come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ResidencyEffect {
    /// As asked for.
    pub residency: Vec<String>,
    /// The regions where the tenant's bytes could rest then.
    pub allowed: Vec<String>,
    /// What would lie outside; while there is anything, the change is refused.
    pub outside: Vec<KeptIn>,
}

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
    // Without a residency nothing is listed, whatever the contract says, and the catalogue need not be asked.
    let by_contract = !record.residency.is_empty() && is_by_contract(transaction, &record).await?;
    let residence = Residence { home: &record.tenant.region, residency: &record.residency, by_contract };
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

/// Checks the residency that a new tenant of the region `home` is to have; the refusal names `/residency`.
///
/// # Errors
/// 422 for unknown names and too many; 422 `tenancy.residency` if it excludes `home`.
pub fn check_new(control: &Control, home: &str, residency: &[String]) -> Result<(), Refusal> {
    let regions = regions(control);
    check_names(&regions, residency)?;
    let residence = Residence { home, residency, by_contract: false };
    match allowed(&regions, &residence).contains(home) {
        true => Ok(()),
        false => {
            let words = format!("The residency excludes `{home}`, the tenant's home.");
            Err(Refusal::new(&kind::RESIDENCY, words).field(
                "/residency",
                "not_allowed",
                "name it, or its zone",
            ))
        }
    }
}

/// What it would come to if `record` had this residency.
///
/// # Errors
/// 422 for unknown names and too many, or if the control database failed.
pub async fn effect(
    control: &Control,
    transaction: &Transaction,
    record: &TenantRecord,
    residency: &[String],
) -> Result<ResidencyEffect, Refusal> {
    let regions = regions(control);
    check_names(&regions, residency)?;
    let by_contract = is_by_contract(transaction, record).await?;
    let residence = Residence { home: &record.tenant.region, residency, by_contract };
    let allowed = allowed(&regions, &residence);
    let mut outside = kept(control, transaction, record).await?;
    outside.retain(|kept| !allowed.contains(&kept.region));
    Ok(ResidencyEffect { residency: residency.to_vec(), allowed: allowed.into_iter().collect(), outside })
}

impl ResidencyEffect {
    /// Refuses the change while anything would lie outside.
    ///
    /// # Errors
    /// 409 `tenancy.residency_conflict` with every such store.
    pub fn require_nothing_outside(&self) -> Result<(), Refusal> {
        let mut refusal =
            Refusal::new(&kind::RESIDENCY_CONFLICT, "Bytes of the tenant lie where they might not any more.");
        for KeptIn { store, name, region } in &self.outside {
            refusal = refusal.field("/residency", "outside", format!("{store} {name} is in {region}"));
        }
        if self.outside.is_empty() { Ok(()) } else { Err(refusal) }
    }
}

fn check_names(regions: &Regions, residency: &[String]) -> Result<(), Refusal> {
    let mut refusal = Refusal::new(&kind::INVALID, "The residency is wrong.");
    if residency.len() > RESIDENCY_MAX {
        refusal = refusal.field("/residency", "too_many", format!("at most {RESIDENCY_MAX}"));
    }
    let known: BTreeSet<&str> =
        regions.iter().flat_map(|(name, region)| [name.as_str(), region.zone.as_str()]).collect();
    let mut seen = BTreeSet::new();
    for (at, name) in residency.iter().enumerate() {
        let pointer = format!("/residency/{at}");
        if !known.contains(name.as_str()) {
            let names = known.iter().copied().collect::<Vec<_>>().join(", ");
            refusal = refusal.field(pointer, "unknown", format!("one of: {names}"));
        } else if !seen.insert(name) {
            refusal = refusal.field(pointer, "duplicate", "named twice");
        }
    }
    if refusal.errors().is_empty() { Ok(()) } else { Err(refusal) }
}

/// Whether the tenant's tier lets it list what its home region does not permit.
async fn is_by_contract(transaction: &Transaction, record: &TenantRecord) -> Result<bool, Refusal> {
    let definitions = catalog::load(transaction).await.map_err(|error: LoadError| Refusal::from(error))?;
    let standing = Standing::of(transaction, &definitions, record.tenant.id, &record.tenant.tier).await?;
    Ok(standing.is_on(BY_CONTRACT))
}

/// Everything that keeps bytes of the tenant.
async fn kept(
    control: &Control,
    transaction: &Transaction,
    record: &TenantRecord,
) -> Result<Vec<KeptIn>, StoreError> {
    let tenant = record.tenant.id;
    let here = &control.settings.region;
    let mut kept: Vec<KeptIn> = ["journal", "audit_log"]
        .map(|store| KeptIn { store, name: tenant.to_string(), region: here.clone() })
        .into();
    let place = places::get(transaction, tenant).await?;
    kept.extend(in_cell(transaction, "place", place.map(|row| row.cell)).await?);
    let copies = lifecycle::kept(transaction, tenant).await?;
    for (restore, cell) in copies.restores {
        let found = in_cell(transaction, "restore", Some(cell)).await?;
        kept.extend(found.map(|kept| KeptIn { name: restore, ..kept }));
    }
    let files = copies.files.into_iter();
    kept.extend(files.map(|(store, name, region)| KeptIn { store, name, region }));
    Ok(kept)
}

async fn in_cell(
    transaction: &Transaction,
    store: &'static str,
    cell: Option<String>,
) -> Result<Option<KeptIn>, StoreError> {
    let Some(name) = cell else { return Ok(None) };
    let region = cells::region_of(transaction, &name).await?;
    Ok(region.map(|region| KeptIn { store, name, region }))
}
