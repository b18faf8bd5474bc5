//! `/v1/me/devices`: browsers that the person trusts.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use rowhouse_domain::access::Permit;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Shared;
use crate::api::{Answer, Caller};
use crate::identity::sign_in::devices::{self, DeviceRow};

pub fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(my_devices)).routes(routes!(forget_device))
}

/// A browser that is trusted.
#[derive(Debug, Serialize, ToSchema)]
struct TrustedDeviceAnswer {
    id: String,
    tenant: String,
    /// The program, as it named itself.
    agent: String,
    created_at: String,
    /// From when on it is trusted no more.
    expires_at: String,
}

impl From<&DeviceRow> for TrustedDeviceAnswer {
    fn from(row: &DeviceRow) -> Self {
        TrustedDeviceAnswer {
            id: row.id.clone(),
            tenant: row.tenant.to_string(),
            agent: row.agent.clone(),
            created_at: row.created_at.to_string(),
            expires_at: row.expires_at.to_string(),
        }
    }
}

#[derive(Serialize, ToSchema)]
struct TrustedDevicesAnswer {
    items: Vec<TrustedDeviceAnswer>,
}

/// Browsers that the person trusts, newest first: wrong passwords elsewhere lock none of them out. To who is signed in by a tenant's provider
/// alone, those of that tenant.
#[utoipa::path(get, path = "/v1/me/devices", operation_id = "identity.list_my_devices", tag = "identity",
    responses((status = 200, body = TrustedDevicesAnswer)))]
async fn my_devices(State(control): State<Shared>, caller: Caller) -> Answer<Json<TrustedDevicesAnswer>> {
    let person = caller.person()?;
    let transaction = control.store.read(&Permit::for_system(None, "a person's own browsers")).await?;
    let rows = devices::of_person(&transaction, (person.user, person.reach()), control.clock().now()).await?;
    transaction.finish().await?;
    Ok(Json(TrustedDevicesAnswer { items: rows.iter().map(TrustedDeviceAnswer::from).collect() }))
}

/// Trusts a browser no more. Its sessions go on.
#[utoipa::path(delete, path = "/v1/me/devices/{id}", operation_id = "identity.forget_my_device", tag = "identity",
    params(("id" = String, Path)), responses((status = 204)))]
async fn forget_device(
    State(control): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    let person = caller.person()?;
    devices::forget(&control, (person.user, person.reach()), &id, caller.request_id).await?;
    Ok(StatusCode::NO_CONTENT)
}
