//! The catalogue: everything that the operator declares, as one whole.
//!
//! A catalogue is a named list of services, routes, resource types, roles, flags, tiers, limits, meters and plans. It is
//! compared with what is stored ([`plan`]), then applied all or nothing ([`apply`]), and only if everything that
//! would then be stored compiles ([`compile`]): a stored catalogue is always one that a directory can be built from.
//! Things of other catalogues are left alone. [`shipped`] is what a fresh installation starts with.

mod api;
mod apply;
mod check;
mod compile;
mod definitions;
mod finding;
mod folder;
mod kind;
mod known_fields;
mod meters_and_plans;
mod nearest;
mod plan;
mod queries;
mod shipped;

pub use api::routes;
pub use apply::{Applied, apply};
pub use compile::{Compiled, CompiledAccess, QuotaLimit, compile, compile_access};
pub use definitions::{Definitions, Items, Unreadable};
pub use finding::{Finding, refuse};
pub use folder::{CatalogError, CatalogFile, Place, parse_folder};
pub use kind::Kind;
pub use meters_and_plans::{Meter, Plan as BillingPlan};
pub use nearest::nearest;
pub use plan::{Action, FieldChange, Plan, PlanItem, plan};
pub use shipped::{prepare, shipped};

use rowhouse_domain::refusal::{Refusal, kind as refusal_kind};
use rowhouse_store::{StoreError, Transaction};

/// Definitions could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row is not of a form that this binary reads.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// What is stored does not compile; it was written past the catalogue.
    #[error("the stored definitions do not compile: {}", .0.iter().map(|finding| format!("{}: {}", finding.pointer(), finding.detail)).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Finding>),
}

impl From<LoadError> for Refusal {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Store(error) => error.into(),
            other => Refusal::new(&refusal_kind::INTERNAL, "The stored catalogue cannot be read.")
                .private(other.to_string()),
        }
    }
}

/// All stored definitions, each list in the order of names.
pub async fn load(transaction: &Transaction) -> Result<Definitions, LoadError> {
    load_kinds(transaction, &Kind::ALL).await
}

/// What rights are made of, as stored now, for decisions within a transaction.
pub async fn load_access(transaction: &Transaction) -> Result<CompiledAccess, LoadError> {
    let definitions = load_kinds(transaction, &[Kind::ResourceType, Kind::Role]).await?;
    compile_access(&definitions).map_err(LoadError::Invalid)
}

/// One tier as stored now, if there is one with that name.
pub async fn load_tier(
    transaction: &Transaction,
    name: &str,
) -> Result<Option<rowhouse_domain::tenancy::Tier>, LoadError> {
    let rows = queries::list(transaction, Kind::Tier, Some(name)).await?;
    let items = rows.into_iter().map(|row| ((row.kind, row.name), row.definition)).collect();
    Ok(Definitions::of_items(&items)?.tiers.pop())
}

async fn load_kinds(transaction: &Transaction, kinds: &[Kind]) -> Result<Definitions, LoadError> {
    let mut items = Items::new();
    for kind in kinds {
        for row in queries::list(transaction, *kind, None).await? {
            items.insert((row.kind, row.name), row.definition);
        }
    }
    Ok(Definitions::of_items(&items)?)
}
