//! Long changes of tenants, and what stops and starts them: provision, suspend, resume. Long ones are sagas
//! (`rowhouse_store::sagas`), which clients follow as operations.
//!
//! This feature alone changes a tenant's status. It writes the schema `lifecycle` and asks the other features for the rest.

mod api;
pub mod backup;
pub mod change_tier;
mod copies;
mod decisions;
pub mod decommission;
mod due;
mod explain;
pub mod export;
mod health;
mod kept;
mod operations;
pub mod provision;
mod queries;
mod reconcile;
pub mod relocate;
pub mod restore;
mod sealed;
mod suspension;
mod tell;

pub use api::routes;
pub use copies::Copies;
pub use due::begin_due;
pub use kept::{Kept, kept};
pub use operations::{Operation, OperationState};
pub use reconcile::{Finding, reconcile};
pub use suspension::{Resumption, Suspend, resume, suspend};
pub use tell::remind_leaving;

use std::time::Duration;

use rowhouse_store::sagas::{Engine, Kind, UnknownKind};
use rowhouse_store::{StoreError, Topic};
use tokio::sync::watch;
use tokio::time::interval;

use crate::Shared;
use crate::tenancy::places;

/// How often rights are compared when nothing says that some were changed.
const BACKSTOP: Duration = Duration::from_secs(1);

/// Sagas cannot be executed here.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// One under way needs code that this binary does not have.
    #[error(transparent)]
    Unknown(#[from] UnknownKind),
    /// The control database failed before anything began.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// All kinds of sagas that this binary knows.
pub fn kinds() -> Vec<Kind<Shared>> {
    vec![
        provision::kind(),
        relocate::kind(),
        change_tier::kind(),
        decommission::kind(),
        restore::kind(),
        restore::verify_kind(),
        export::kind(),
    ]
}

/// The executor of this process.
pub fn engine(control: &Shared) -> Engine<Shared> {
    Engine::new(control.store.clone(), control.clone(), kinds()).on_node(control.settings.node.clone())
}

/// Executes sagas, four at a time, and brings rights to places, until `shutdown`.
///
/// # Errors
/// At once, if a saga is under way that this binary cannot continue: it must not run then.
pub async fn run(control: Shared, shutdown: watch::Receiver<bool>) -> Result<(), RunError> {
    let engine = engine(&control);
    if let Some(unknown) = engine.check().await? {
        return Err(unknown.into());
    }
    let taken = engine.take_over().await?;
    if taken > 0 {
        tracing::info!(taken, "long changes that were under way here go on");
    }
    tokio::join!(
        engine.run(shutdown.clone()),
        engine.run(shutdown.clone()),
        engine.run(shutdown.clone()),
        engine.run(shutdown.clone()),
        due::run(&control, shutdown.clone()),
        reconcile::run(&control, shutdown.clone()),
        bring_rights(&control, shutdown)
    );
    Ok(())
}

/// What a crash has left between the record of a tenant's rights and its place is brought about here.
async fn bring_rights(control: &Shared, mut shutdown: watch::Receiver<bool>) {
    let mut committed = control.store.touched(Topic::Places);
    let mut backstop = interval(BACKSTOP);
    loop {
        if let Err(error) = places::apply_rights(control, None).await {
            tracing::error!(%error, "rights of a place could not be brought to what they are to be");
        }
        tokio::select! {
            _ = committed.changed() => {}
            _ = backstop.tick() => {}
            _ = shutdown.wait_for(|wanted| *wanted) => return,
        }
    }
}
