//! The HTTP face of this feature.

mod frame;
mod operations;
mod tenants;

use utoipa_axum::router::OpenApiRouter;

use crate::Shared;

/// The routes of this feature.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().merge(tenants::routes()).merge(operations::routes())
}
