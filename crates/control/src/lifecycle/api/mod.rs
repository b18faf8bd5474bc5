//! The HTTP face of this feature.

mod change_tier;
mod decommission;
pub(super) mod frame;
mod inventory;
mod operations;
mod tenants;

use utoipa_axum::router::OpenApiRouter;

use super::{backup, export, relocate, restore};
use crate::Shared;

/// The routes of this feature.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .merge(tenants::routes())
        .merge(operations::routes())
        .merge(change_tier::routes())
        .merge(decommission::routes())
        .merge(inventory::routes())
        .merge(relocate::routes())
        .merge(backup::routes())
        .merge(restore::routes())
        .merge(export::routes())
}
