//! What inventory and reality disagree about, and how a tenant is.

use axum::Json;
use axum::extract::{Path, State};
use rowhouse_domain::refusal::{Refusal, kind};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Shared;
use crate::api::{Answer, Caller, List};
use crate::lifecycle::health::{self, Health};
use crate::lifecycle::queries;
use crate::lifecycle::reconcile::{Finding, KeptFinding, reconcile};
use crate::tenancy::named;

/// Findings and health.
pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(check_inventory))
        .routes(routes!(list_findings))
        .routes(routes!(read_health))
}

/// A comparison.
#[derive(Debug, Serialize, ToSchema)]
struct Checked {
    /// RFC 3339.
    checked_at: String,
    /// What was found; nothing was removed.
    findings: Vec<Finding>,
}

/// Compares the inventory with what is there, now. It is done every day anyway.
#[utoipa::path(post, path = "/v1/inventory/check", operation_id = "lifecycle.check_inventory", tag = "lifecycle",
    responses((status = 200, body = Checked)))]
async fn check_inventory(State(control): State<Shared>, caller: Caller) -> Answer<Json<Checked>> {
    caller.permit("operation:resume", None)?;
    let failed = |error: crate::lifecycle::reconcile::ReconcileError| {
        Refusal::new(&kind::UNAVAILABLE, "Not everything could be looked at.").private(error.to_string())
    };
    let findings = reconcile(&control).await.map_err(failed)?;
    Ok(Json(Checked { checked_at: control.clock().now().to_string(), findings }))
}

/// What the last comparison of inventory and reality has found.
#[utoipa::path(get, path = "/v1/inventory/findings", operation_id = "lifecycle.list_findings", tag = "lifecycle",
    responses((status = 200, body = List<KeptFinding>)))]
async fn list_findings(State(control): State<Shared>, caller: Caller) -> Answer<Json<List<KeptFinding>>> {
    let permit = caller.permit("operation:read", None)?;
    let transaction = control.store.read(&permit).await?;
    let findings = queries::kept_findings(&transaction).await?;
    transaction.finish().await?;
    Ok(Json(List::whole(findings)))
}

/// How a tenant is: its database, tables, quotas, operations, instance. The worst check wins.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/health", operation_id = "lifecycle.read_health", tag = "lifecycle",
    params(("tenant" = String, Path, description = "Id or code")), responses((status = 200, body = Health)))]
async fn read_health(
    State(control): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
) -> Answer<Json<Health>> {
    let (permit, tenant) = named(&control, &caller, "tenant:read", &name).await?;
    Ok(Json(health::health(&control, &permit, tenant).await?))
}
