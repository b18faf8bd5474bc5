//! `/v1/instances`.

use axum::Json;
use axum::extract::State;
use rowhouse_domain::id::TenantId;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::queries::{self, InstanceRow};
use super::{Desired, Observed};
use crate::Shared;
use crate::api::{Answer, Caller, List, Page, Parameters, cursor};

/// The routes of this feature.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list_instances))
}

/// The server and processes of a dedicated tenant.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Instance {
    /// Whose.
    tenant: String,
    /// The cell that its server is.
    cell: String,
    /// What keeps it: `local`.
    runner: &'static str,
    /// What it is to be.
    desired: Desired,
    /// What it was found to be.
    observed: Observed,
}

impl From<InstanceRow> for Instance {
    fn from(row: InstanceRow) -> Self {
        let InstanceRow { tenant, cell, desired, observed } = row;
        Instance { tenant: tenant.to_string(), cell, runner: "local", desired, observed }
    }
}

/// Lists instances. For the operator.
#[utoipa::path(get, path = "/v1/instances", operation_id = "deploy.list_instances", tag = "deploy", params(Page),
    responses((status = 200, body = List<Instance>)))]
async fn list_instances(
    State(control): State<Shared>,
    caller: Caller,
    Parameters(page): Parameters<Page>,
) -> Answer<Json<List<Instance>>> {
    let permit = caller.permit("instance:read", None)?;
    let tenant = caller.scope(page.tenant.as_deref())?;
    let size = page.size()?;
    let query = format!("instances {tenant:?}");
    let after: Option<TenantId> = cursor::after(&control, &query, page.cursor.as_deref())?;
    let transaction = control.store.read(&permit).await?;
    let mut rows = queries::list(&transaction, tenant, after.map(|id| id.0), size + 1).await?;
    transaction.finish().await?;
    let next_cursor = cursor::cut(&control, &query, &mut rows, size, |row| row.tenant.to_string());
    Ok(Json(List { items: rows.into_iter().map(Instance::from).collect(), next_cursor }))
}
